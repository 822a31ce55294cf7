//! Under the policy for HTTP, who sent a request and closed before accept has left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anteroom_http::Http;
use axum::Router;
use axum::routing::get;

use crate::client::{BOUND, Client, serve, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_sent_and_closed_while_nobody_accepted_cost_no_handler() {
    const LEFT: u64 = 100;
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let count = async move || {
        counted.fetch_add(1, Ordering::Relaxed);
        "hello"
    };
    let (server, address) = serve(Http::new(Router::new().route("/", get(count))));
    let handle = server.handle();
    handle.pause();
    // One that was accepted before the pause took hold could be served; the acceptor has obeyed once
    // somebody stays in the queue.
    let mut live = Vec::new();
    let queued = || handle.snapshot().listeners[0].queue.and_then(|queue| queue.depth).unwrap_or(0);
    while queued() == 0 {
        live.push(Client::connect(address).await);
    }
    for _ in 0..LEFT {
        let mut client = Client::connect(address).await;
        client.send("/").await;
    }
    handle.resume();
    until(|| handle.snapshot().report.dead_on_arrival.in_queue.gone == LEFT).await;
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    for client in &mut live {
        assert_eq!(client.ask("/").await.body, "hello");
    }
    assert_eq!(calls.load(Ordering::Relaxed), live.len() as u64);
    let report = within(handle.drain(BOUND)).await.expect("a drain is no error");
    assert!(report.is_balanced(), "{report}");
    assert_eq!(report.accepted, LEFT + live.len() as u64, "{report}");
}
