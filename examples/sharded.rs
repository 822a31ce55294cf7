//! HTTP with one thread per core: each shard accepts, routes and answers by itself, and no request changes its thread.
//!
//! ```sh
//! cargo run --release --example sharded          # http://127.0.0.1:8000, a shard for each core
//! curl http://127.0.0.1:8000/                    # which shard answers
//! curl http://127.0.0.1:8000/stuck               # holds its shard for ten seconds: the others serve on
//! ```

#![expect(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::cell::Cell;
use std::env::args;
use std::io;
use std::thread;
use std::time::Duration;

use anteroom::{Listener, Server};
use anteroom_http::Http;
use axum::Router;
use axum::routing::get;

thread_local! {
    /// No lock: every shard counts for itself.
    static ANSWERED: Cell<u64> = const { Cell::new(0) };
}

fn app(shard: usize) -> Router {
    let answer = move || async move {
        ANSWERED.set(ANSWERED.get() + 1);
        format!("shard {shard} answers, for the {}th time\n", ANSWERED.get())
    };
    let stuck = move || async move {
        thread::sleep(Duration::from_secs(10));
        format!("shard {shard} was stuck\n")
    };
    Router::new().route("/", get(answer)).route("/stuck", get(stuck))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let cores = match args().nth(2).and_then(|cores| cores.parse().ok()) {
        Some(cores) => cores,
        None => thread::available_parallelism()?,
    };
    let shards = Listener::builder().bind_group(address.as_str(), cores)?;
    if let [first, ..] = &*shards {
        println!("listening on http://{}, {} shards", first.local_addr(), shards.len());
    }
    let server = Server::builder()
        .config(anteroom_http::config())
        .serve_sharded(shards, |shard| Http::new(app(shard)))
        .start()?;
    let handle = server.handle();
    tokio::signal::ctrl_c().await?;
    let listeners = handle.snapshot().listeners;
    for listener in &listeners {
        let (accepted, left) = (listener.report.accepted, listener.left_standing);
        println!("{}: {accepted} accepted, {left} of them while its shard was stuck", listener.name);
    }
    println!("{}", handle.drain(Duration::from_secs(10)).await?);
    Ok(())
}
