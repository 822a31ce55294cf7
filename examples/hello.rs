//! The main job: a hardened HTTP server that tells how its accept queue is.
//!
//! ```sh
//! cargo run --release --example hello [ADDRESS [METRICS-ADDRESS]]
//! curl http://127.0.0.1:8000/
//! curl http://127.0.0.1:9000/metrics
//! ```
//!
//! Ctrl-C or SIGTERM drains it, a second one cuts what is still open; then it prints where every connection went.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example speaks to its reader")]

use std::{env, error::Error, io, pin::pin, process::ExitCode, time::Duration};

use anteroom::{Listener, Report, Server, Snapshot};
use anteroom_http::Http;
use axum::{Router, routing::get};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let ended = run().await;
    match &ended {
        Ok(report) => println!("{report}"),
        Err(error) => {
            eprintln!(
                "hello: {error}{}",
                error.source().map_or_else(String::new, |cause| format!(": {cause}"))
            );
        }
    }
    if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run() -> Result<Report, Box<dyn Error>> {
    let argument = |at, default: &str| env::args().nth(at).unwrap_or_else(|| default.into());
    let public = Listener::builder().backlog(4096).name("public").bind(argument(1, "127.0.0.1:8000"))?;
    let admin = Listener::builder().name("admin").bind(argument(2, "127.0.0.1:9000"))?;
    for listener in [&public, &admin] {
        println!(
            "{}: listening on http://{}, {}",
            listener.name(),
            listener.local_addr(),
            listener.backlog()
        );
    }

    let recorder = PrometheusBuilder::new().install_recorder()?;
    let scraped = recorder.clone();
    let hello = Router::new().route("/", get(async || "hello from the anteroom\n"));
    let metrics = Router::new().route("/metrics", get(async move || scraped.render()));
    // Two services, two lanes: whoever floods the first does not hold up the second.
    let mut server = Server::builder()
        .config(anteroom_http::config())
        .serve(public, Http::new(hello))
        .serve(admin, Http::new(metrics))
        .start()?;

    let handle = server.handle();
    let (mut clock, mut last) = (tokio::time::interval(Duration::from_secs(2)), String::new());
    let mut stop = pin!(told_to_stop());
    loop {
        tokio::select! {
            _ = clock.tick() => {
                recorder.run_upkeep();
                let now = status(&handle.snapshot());
                if now != last {
                    println!("{now}");
                    last = now;
                }
            }
            told = &mut stop => break told?,
            ended = &mut server => return Ok(ended?),
        }
    }
    println!("draining; once more cuts what is open");
    tokio::select! {
        report = handle.drain(Duration::from_secs(30)) => Ok(report?),
        _ = told_to_stop() => Ok(handle.drain(Duration::ZERO).await?),
    }
}

async fn told_to_stop() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

/// The accept queue of the first listener, and where its connections are.
fn status(snapshot: &Snapshot) -> String {
    let Some(public) = snapshot.listeners.first() else { return String::new() };
    let facts = public.queue.and_then(|queue| queue.depth.zip(queue.limit).zip(queue.drops));
    let queue = facts.map_or_else(
        || "unknown to this platform".into(),
        |((depth, limit), drops)| format!("{depth} of {limit}, dropped {drops}"),
    );
    format!("queue {queue}; waiting {}, open {}; {}", snapshot.waiting, snapshot.open, public.report)
}
