//! HTTP/2 with prior knowledge.

use std::net::SocketAddr;
use std::sync::Arc;

use anteroom_http::Http;
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::client::{BOUND, serve, within};

type Driver = JoinHandle<Result<(), h2::Error>>;

async fn connect(address: SocketAddr) -> (SendRequest<Bytes>, Driver) {
    let stream = within(TcpStream::connect(address)).await.expect("somebody listens");
    let (requests, connection) = h2::client::handshake(stream).await.expect("it needs no answer");
    (requests, tokio::spawn(connection))
}

fn send(requests: &mut SendRequest<Bytes>, path: &str) -> ResponseFuture {
    let request = Request::get(format!("http://localhost{path}")).body(()).expect("it is a request");
    requests.send_request(request, true).expect("the connection is open").0
}

async fn body(response: ResponseFuture) -> Bytes {
    let mut body = within(response).await.expect("an answer").into_body();
    within(body.data()).await.expect("a body").expect("it is whole")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_says_goaway_and_lets_the_streams_finish() {
    let held = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&held);
    let wait = async move || wait.acquire().await.map_or("never", |_| "held");
    let app = Router::new().route("/", get(async || "hello")).route("/held", get(wait));
    let (server, address) = serve(Http::new(app));
    let handle = server.handle();
    let (mut requests, driver) = connect(address).await;
    assert_eq!(body(send(&mut requests, "/")).await, "hello");
    let response = send(&mut requests, "/held");
    // The server has the stream once it has answered a later one.
    assert_eq!(body(send(&mut requests, "/")).await, "hello");
    let stopped = handle.drain(BOUND);
    let refused = loop {
        match within(requests.ready()).await {
            Ok(ready) => requests = ready,
            Err(error) => break error,
        }
        tokio::task::yield_now().await;
    };
    assert!(refused.is_go_away() && refused.is_remote(), "{refused:?}");
    assert_eq!(refused.reason(), Some(h2::Reason::NO_ERROR));
    held.add_permits(1);
    assert_eq!(body(response).await, "held");
    within(driver).await.expect("no panic").expect("a clean end");
    let report = within(stopped).await.expect("a drain is no error");
    assert_eq!((report.served.done, report.served.total()), (1, 1), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_were_still_queued_get_their_first_answer() {
    let (server, address) = serve(Http::new(Router::new().route("/", get(async || "hello"))));
    let handle = server.handle();
    handle.pause();
    let mut clients = Vec::new();
    for _ in 0..50 {
        let (mut requests, driver) = connect(address).await;
        clients.push((send(&mut requests, "/"), driver));
    }
    let stopped = handle.drain(BOUND);
    for (response, driver) in clients {
        assert_eq!(body(response).await, "hello");
        within(driver).await.expect("no panic").expect("a clean end");
    }
    let report = within(stopped).await.expect("a drain is no error");
    assert_eq!((report.served.done, report.served.total()), (50, 50), "{report}");
}
