//! An upgraded socket keeps the place of its connection: a drain waits for it, and cuts it at its deadline.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anteroom::{Handle, Server};
use anteroom_http::Http;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{any, get};
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::header::{CONNECTION, UPGRADE};
use http::{Method, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::client::{BOUND, Client, serve, until, within};

/// Given to a drain that cuts.
const SHORT: Duration = Duration::from_millis(200);

/// Agrees to speak another protocol, and has it spoken. To HTTP/2, whose streams are upgraded, agreement
/// is a success.
fn upgrade<F>(request: Request, speak: impl FnOnce(TokioIo<Upgraded>) -> F + Send + 'static) -> Response
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let response = match *request.method() {
        Method::CONNECT => Response::builder(),
        _ => Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(UPGRADE, "websocket")
            .header(CONNECTION, "upgrade"),
    };
    let upgrading = hyper::upgrade::on(request);
    tokio::spawn(async { speak(TokioIo::new(upgrading.await.map_err(io::Error::other)?)).await });
    response.body(Body::empty()).expect("it is a response")
}

/// `/` echoes; `/last` says something, half-closes, and waits for a byte before it says no more.
fn app() -> Router {
    let echo = async |request| {
        upgrade(request, async |io| {
            let (mut read, mut write) = split(io);
            copy(&mut read, &mut write).await.map(drop)
        })
    };
    let last = async |request| {
        upgrade(request, async |mut io| {
            io.write_all(b"last").await?;
            io.shutdown().await?;
            io.read_u8().await.map(drop)
        })
    };
    Router::new().route("/", any(echo)).route("/last", get(last))
}

/// A server with that, one of the two kinds.
#[derive(Debug)]
struct Start {
    handle: Handle,
    address: SocketAddr,
    _server: Option<Server>,
    serving: Option<JoinHandle<io::Result<()>>>,
}

fn by_http() -> Start {
    let (server, address) = serve(Http::new(app()));
    Start { handle: server.handle(), address, _server: Some(server), serving: None }
}

fn by_axum() -> Start {
    let listener = anteroom_http::bind("127.0.0.1:0").expect("a free port");
    let (handle, address) = (listener.handle(), listener.local_addr().tcp().expect("it is tcp"));
    let exhausted = handle.exhausted();
    let serving =
        tokio::spawn(async { axum::serve(listener, app()).with_graceful_shutdown(exhausted).await });
    Start { handle, address, _server: None, serving: Some(serving) }
}

/// A client that speaks another protocol from here on.
async fn upgraded(address: SocketAddr, path: &str) -> TcpStream {
    let mut client = Client::connect(address).await.0;
    let head = "host: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    client.write_all(format!("GET {path} HTTP/1.1\r\n{head}").as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(within(client.read_u8()).await.expect("an answer"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{:?}", String::from_utf8_lossy(&answer));
    client
}

async fn echoes(client: &mut TcpStream) {
    let mut echoed = [0; 5];
    client.write_all(b"still").await.expect("it is open");
    within(client.read_exact(&mut echoed)).await.expect("nobody has cut it");
    assert_eq!(&echoed, b"still");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_place_is_free_when_the_upgraded_socket_is_dropped() {
    let started = by_http();
    let handle = started.handle;
    let mut client = upgraded(started.address, "/").await;
    until(|| handle.snapshot().report.served.done == 1).await;
    assert_eq!(handle.snapshot().open, 1, "its task has ended, its place is taken");
    echoes(&mut client).await;
    drop(client);
    until(|| handle.snapshot().open == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_what_was_upgraded() {
    for start in [by_http, by_axum] {
        let started = start();
        let mut client = upgraded(started.address, "/").await;
        let stopped = started.handle.drain(BOUND);
        within(started.handle.exhausted()).await;
        if let Some(serving) = started.serving {
            within(serving).await.expect("no panic").expect("axum has ended");
        }
        echoes(&mut client).await;
        assert_eq!(started.handle.snapshot().open, 1);
        drop(client);
        let report = within(stopped).await.expect("a drain is no error");
        assert_eq!((report.served.done, report.served.total()), (1, 1), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_cuts_it_at_its_deadline() {
    for start in [by_http, by_axum] {
        let started = start();
        let mut client = upgraded(started.address, "/").await;
        echoes(&mut client).await;
        let stopped = started.handle.drain(SHORT);
        let report = within(stopped).await.expect("a drain is no error");
        assert_eq!((report.accepted, report.served.total()), (1, 1), "{report}");
        assert_eq!(within(client.read(&mut [0])).await.expect("a clean end"), 0);
    }
}

/// What the server does when it closes an HTTP connection is not for others: throwing away what comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_half_closes_what_was_upgraded_still_reads() {
    for start in [by_http, by_axum] {
        let started = start();
        let mut client = upgraded(started.address, "/last").await;
        let mut said = Vec::new();
        within(client.read_to_end(&mut said)).await.expect("a half-close");
        assert_eq!(said, b"last");
        assert_eq!(started.handle.snapshot().open, 1, "it waits for a byte");
        client.write_all(b"x").await.expect("it reads");
        until(|| started.handle.snapshot().open == 0).await;
    }
}

/// WebSocket over HTTP/2 (RFC 8441): a stream of its connection.
struct Stream {
    requests: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
    send: SendStream<Bytes>,
    receive: RecvStream,
}

impl Stream {
    async fn upgraded(address: SocketAddr) -> Self {
        let stream = Client::connect(address).await.0;
        let (mut requests, connection) =
            within(h2::client::handshake(stream)).await.expect("it needs no answer");
        let driver = tokio::spawn(connection);
        until(|| requests.is_extended_connect_protocol_enabled()).await;
        let request = http::Request::connect("http://localhost/");
        let request = request.extension(Protocol::from_static("websocket")).body(()).expect("a request");
        let (response, send) = requests.send_request(request, false).expect("it is open");
        let receive = within(response).await.expect("it agrees").into_body();
        Self { requests, driver, send, receive }
    }

    async fn echoes(&mut self) {
        self.send.send_data("still".into(), false).expect("it is open");
        let echoed = within(self.receive.data()).await.expect("it is open").expect("nobody has cut it");
        assert_eq!(echoed, "still");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_an_upgraded_stream_of_http2() {
    let (server, address) = serve(Http::new(app()));
    let mut stream = Stream::upgraded(address).await;
    let stopped = server.handle().drain(BOUND);
    // Its client has been told, and speaks on.
    while within(stream.requests.clone().ready()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.echoes().await;
    assert_eq!(server.handle().snapshot().open, 1);
    stream.send.send_data(Bytes::new(), true).expect("it is open");
    while let Some(data) = within(stream.receive.data()).await {
        assert_eq!(data.expect("a clean end"), "");
    }
    within(stream.driver).await.expect("no panic").expect("a clean end");
    let report = within(stopped).await.expect("a drain is no error");
    assert_eq!((report.served.done, report.served.total()), (1, 1), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_cuts_that_at_its_deadline_too() {
    let (server, address) = serve(Http::new(app()));
    let mut stream = Stream::upgraded(address).await;
    stream.echoes().await;
    let report = within(server.handle().drain(SHORT)).await.expect("a drain is no error");
    assert_eq!((report.served.cut, report.served.total()), (1, 1), "{report}");
    assert!(!matches!(within(stream.receive.data()).await, Some(Ok(_))), "it was cut");
}
