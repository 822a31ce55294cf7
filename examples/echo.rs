//! Bare TCP: every connection gets back what it sends.
//!
//! ```sh
//! cargo run --release --example echo [ADDRESS]
//! nc 127.0.0.1 7000
//! ```

#![expect(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::{env, io, time::Duration};

use anteroom::{Connection, Listener, Server, service_fn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".into());
    let listener = Listener::bind(address)?;
    println!("listening on {}, {}", listener.local_addr(), listener.backlog());
    let server = Server::builder().max_connections(10_000).serve(listener, service_fn(echo)).start()?;
    tokio::signal::ctrl_c().await?;
    println!("{}", server.handle().drain(Duration::from_secs(10)).await?);
    Ok(())
}

async fn echo(mut connection: Connection) -> io::Result<()> {
    let mut draining = std::pin::pin!(connection.draining());
    let mut bytes = [0; 4096];
    loop {
        // What has been sent is answered first, also when the server drains.
        let read = tokio::select! {
            biased;
            read = connection.read(&mut bytes) => read?,
            () = &mut draining => return Ok(()),
        };
        match bytes.get(..read) {
            None | Some([]) => return Ok(()),
            Some(sent) => connection.write_all(sent).await?,
        }
    }
}
