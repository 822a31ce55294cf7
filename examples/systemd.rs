//! A service of systemd: it is given its sockets, and tells when it is ready, how it is, and when it stops.
//!
//! ```sh
//! cargo build --release --example systemd
//! systemd-socket-activate -l 127.0.0.1:8000 target/release/examples/systemd
//! curl http://127.0.0.1:8000/
//! ```
//!
//! Started by itself it binds the address that it is given (`systemd [ADDRESS]`). SIGTERM drains it. Unit
//! files to go with it stand in `docs/guide/systemd.md`.

#![expect(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::{env, error::Error};

use anteroom::systemd::Notifier;
use anteroom::{Listener, Server, Signals};
use anteroom_http::Http;
use axum::{Router, routing::get};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut listeners = anteroom::activated()?;
    if listeners.is_empty() {
        let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".into());
        listeners = Listener::builder().name("http").bind(address)?.into();
    }
    for listener in listeners.iter() {
        println!("{}: listening on {}, {}", listener.name(), listener.local_addr(), listener.backlog());
    }
    let app = Router::new().route("/", get(async || "hello from the anteroom\n"));
    let server =
        Server::builder().config(anteroom_http::config()).serve(listeners, Http::new(app)).start()?;
    let _signals = Signals::install(&server.handle())?;
    // `None` where nobody asked for notifications.
    let _notifier = Notifier::start(&server.handle())?;
    println!("{}", server.await?);
    Ok(())
}
