//! What a drain does to HTTP/1 connections served by `Http`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use anteroom::Phase;
use anteroom_http::Http;

use crate::client::{BOUND, Client, serve, until, within};

/// `/` answers at once, `/held` when there is a permit.
fn app(held: &Arc<Semaphore>) -> Router {
    let held = Arc::clone(held);
    let wait = async move || held.acquire().await.map_or("never", |_| "held");
    Router::new().route("/", get(async || "hello")).route("/held", get(wait))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_close_and_the_one_in_flight_finishes_and_says_so() {
    let held = Arc::new(Semaphore::new(0));
    let (server, address) = serve(Http::new(app(&held)));
    let handle = server.handle();
    let mut idle = Vec::new();
    for _ in 0..10 {
        let mut client = Client::connect(address).await;
        assert!(!client.ask("/").await.says_close());
        idle.push(client);
    }
    let mut busy = Client::connect(address).await;
    assert_eq!(busy.ask("/").await.body, "hello");
    busy.send("/held").await;
    let stopped = handle.drain(BOUND);
    for client in &mut idle {
        assert_eq!(client.until_closed().await.expect("no reset"), b"");
    }
    held.add_permits(1);
    let answer = busy.answer().await.expect("it finishes");
    assert_eq!(answer.body, "held");
    assert!(answer.says_close(), "{answer:?}");
    assert_eq!(busy.until_closed().await.expect("no reset"), b"");
    let report = within(stopped).await.expect("a drain is no error");
    assert_eq!((report.served.done, report.served.total()), (11, 11), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_were_still_queued_get_whole_answers() {
    let (server, address) = serve(Http::new(app(&Arc::new(Semaphore::new(0)))));
    let handle = server.handle();
    handle.pause();
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = Client::connect(address).await;
        client.send("/").await;
        clients.push(client);
    }
    let stopped = handle.drain(BOUND);
    for client in &mut clients {
        let answer = client.answer().await.expect("nobody is reset");
        assert_eq!(answer.body, "hello");
        assert!(answer.says_close(), "{answer:?}");
        assert_eq!(client.until_closed().await.expect("no reset"), b"");
    }
    let report = within(stopped).await.expect("a drain is no error");
    assert_eq!((report.served.done, report.served.total()), (50, 50), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_comes_after_the_drain_began_is_served_when_its_connection_was_there() {
    let (server, address) = serve(Http::new(app(&Arc::new(Semaphore::new(0)))).drain_grace(BOUND));
    let handle = server.handle();
    let mut client = Client::connect(address).await;
    let stopped = handle.drain(BOUND);
    until(|| handle.phase() == Phase::Draining && handle.snapshot().open == 1).await;
    client.0.write_all(b"GET / HTTP/1.1\r\nho").await.expect("it reads");
    client.0.write_all(b"st: x\r\n\r\n").await.expect("it reads");
    assert_eq!(client.answer().await.expect("it is served").body, "hello");
    let report = within(stopped).await.expect("a drain is no error");
    assert_eq!(report.served.done, 1, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_speaks_does_not_hold_the_drain_up() {
    let http = Http::new(app(&Arc::new(Semaphore::new(0))))
        .headers_within(None)
        .drain_grace(Duration::from_millis(50));
    let (server, address) = serve(http);
    let handle = server.handle();
    let mut client = Client::connect(address).await;
    let report = within(handle.drain(10 * BOUND)).await.expect("a drain is no error");
    assert_eq!((report.served.done, report.served.total()), (1, 1), "{report}");
    assert_eq!(client.until_closed().await.expect("no reset"), b"");
}
