//! HTTP on a Unix socket, and on TCP beside it when an address is given: one service, one lane for both.
//!
//! ```sh
//! cargo run --release --example unix_socket [PATH [ADDRESS]]
//! curl --unix-socket /tmp/anteroom.sock http://localhost/
//! ```

#![expect(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::{env, io, time::Duration};

use anteroom::{Address, Info, Listener, Server};
use anteroom_http::Http;
use axum::{Extension, Router, routing::get};

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| "/tmp/anteroom.sock".into());
    // A file that a dead process left behind is replaced, a living one's is not; it is removed at the end.
    let mut listeners = vec![Listener::bind(format!("unix:{path}"))?];
    if let Some(address) = arguments.next() {
        listeners.push(Listener::bind(address.parse::<Address>()?)?);
    }
    for listener in &listeners {
        println!("listening on {}, {}", listener.local_addr(), listener.backlog());
    }
    let greet = async |Extension(info): Extension<Info>| format!("hello at {}\n", info.local_addr());
    let app = Router::new().route("/", get(greet));
    let server =
        Server::builder().config(anteroom_http::config()).serve(listeners, Http::new(app)).start()?;
    tokio::signal::ctrl_c().await?;
    println!("{}", server.handle().drain(Duration::from_secs(10)).await?);
    Ok(())
}
