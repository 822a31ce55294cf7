//! tower's own layers around a service of connections: at most 64 at a time, none longer than a minute.
//!
//! ```sh
//! cargo run --release --example tower_stack [ADDRESS]
//! nc 127.0.0.1 7000
//! ```
//!
//! The server asks `poll_ready` before it takes a connection, so the limit is real back-pressure: the 65th waits in the
//! room, where it is bounded, aged, and dropped when its client leaves.

#![expect(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::{env, io, time::Duration};

use anteroom::{Connection, Listener, Server, service_fn};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".into());
    let listener = Listener::bind(address)?;
    println!("listening on {}, {}", listener.local_addr(), listener.backlog());
    let service = ServiceBuilder::new()
        .concurrency_limit(64)
        .timeout(Duration::from_secs(60))
        .service(service_fn(echo_a_line));
    let server = Server::builder().serve(listener, service).start()?;
    tokio::signal::ctrl_c().await?;
    println!("{}", server.handle().drain(Duration::from_secs(10)).await?);
    Ok(())
}

async fn echo_a_line(connection: Connection) -> io::Result<()> {
    let mut connection = BufReader::new(connection);
    let mut line = Vec::new();
    connection.read_until(b'\n', &mut line).await?;
    connection.get_mut().write_all(&line).await
}
