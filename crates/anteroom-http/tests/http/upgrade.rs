//! An upgraded socket keeps the place of its connection.

use std::io;

use anteroom_http::Http;
use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use http::header::{CONNECTION, UPGRADE};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};

use crate::client::{BOUND, Client, serve, until, within};

/// Agrees to speak `echo`, and does.
async fn echo(request: Request) -> Response {
    let upgrading = hyper::upgrade::on(request);
    tokio::spawn(async {
        let (mut read, mut write) = split(TokioIo::new(upgrading.await.map_err(io::Error::other)?));
        copy(&mut read, &mut write).await
    });
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    let response = response.header(UPGRADE, "echo").header(CONNECTION, "upgrade");
    response.body(axum::body::Body::empty()).expect("it is a response")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_place_is_free_when_the_upgraded_socket_is_dropped() {
    let (server, address) = serve(Http::new(Router::new().route("/", get(echo))));
    let handle = server.handle();
    let mut client = Client::connect(address).await.0;
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n";
    client.write_all(request).await.expect("it reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        assert!(within(client.read_buf(&mut answer)).await.expect("an answer") > 0);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{:?}", String::from_utf8_lossy(&answer));
    until(|| handle.snapshot().report.served.done == 1).await;
    assert_eq!(handle.snapshot().open, 1, "its task has ended, its place is taken");

    let stopped = handle.drain(BOUND);
    let mut echoed = [0; 5];
    client.write_all(b"still").await.expect("it is open");
    within(client.read_exact(&mut echoed)).await.expect("a drain does not cut it");
    assert_eq!(&echoed, b"still");
    assert_eq!(handle.snapshot().open, 1);
    drop(client);
    let report = within(stopped).await.expect("a drain is no error");
    assert_eq!(report.served.done, 1, "{report}");
}
