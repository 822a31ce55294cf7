//! Refused at the limit, real clients read the whole `503`, also when they have sent a body that nobody
//! reads.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anteroom::{Listener, Server, Share};
use anteroom_http::Http;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::any;
use http::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::client::{BOUND, Client, until, within};

/// Read away in the farewell, and more than a socket takes in one piece.
const BODY: usize = 128 * 1024;
const TOLD: &str = "The server is busy. Please try again in 3 seconds.\n";

/// A server with one place, which the client has that comes with it.
async fn full() -> (Server, SocketAddr, Client) {
    let mut config = anteroom_http::config();
    config.max_connections = Some(1);
    config.max_waiting = 0;
    config.refusal = anteroom_http::unavailable(Duration::from_millis(2_500));
    // Everybody here comes from one address.
    config.share = Share::unlimited();
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is tcp");
    let app = Router::new().route("/", any(async || "hello"));
    let server = Server::builder().config(config).serve(listener, Http::new(app)).start().expect("it starts");
    let mut holder = Client::connect(address).await;
    assert_eq!(holder.ask("/").await.body, "hello");
    (server, address, holder)
}

/// The one who was let in is served to the end, and so many were refused for want of room.
async fn ends(server: Server, mut holder: Client, refused: u64) {
    assert_eq!(holder.ask("/").await.body, "hello");
    let report = within(server.handle().drain(BOUND)).await.expect("a drain is no error");
    assert_eq!(
        (report.served.done, report.refused.full, report.accepted),
        (1, refused, refused + 1),
        "{report}"
    );
}

/// What `curl` prints, given `input`.
fn curl(address: SocketAddr, options: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--max-time", "30", "--noproxy", "*"])
        .args(options)
        .arg(format!("http://{address}/"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("curl is installed");
    // One that was told to go may read no more.
    let _told_to_go = child.stdin.take().expect("it is piped").write_all(input);
    let output = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {told}", output.status);
    String::from_utf8(output.stdout).expect("it is text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_reads_the_answer_with_and_without_a_body_of_its_own() {
    let (server, address, holder) = full().await;
    let asked: [(&[&str], usize); 2] = [(&[], 0), (&["--data-binary", "@-"], BODY)];
    for (options, body) in asked {
        let curl = tokio::task::spawn_blocking(move || curl(address, options, &vec![b'x'; body]));
        let told = within(curl).await.expect("curl reads a whole answer");
        assert!(told.starts_with("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\n"), "{told}");
        assert!(told.ends_with(TOLD), "{told}");
    }
    ends(server, holder, 2).await;
}

/// Counts what is sent.
struct Counted {
    stream: TcpStream,
    sent: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, from))?;
        self.sent.fetch_add(written, Ordering::SeqCst);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Stops accepting: when this returns, the connections that it gives have been refused, but for the last,
/// which is in the queue.
async fn pause(server: &Server, address: SocketAddr) -> Vec<Client> {
    let handle = server.handle();
    handle.pause();
    let mut connected = Vec::new();
    let queued = || handle.snapshot().listeners.first().and_then(|of| of.queue?.depth).unwrap_or(0);
    // The acceptor has obeyed once somebody stays in the queue.
    while queued() == 0 {
        connected.push(Client::connect(address).await);
    }
    connected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hyper_reads_the_answer_to_what_it_has_sent() {
    let (server, address, holder) = full().await;
    let mut refused = 0;
    for body in [0, BODY] {
        let others = pause(&server, address).await;
        let stream = within(TcpStream::connect(address)).await.expect("somebody listens");
        let sent = Arc::new(AtomicUsize::new(0));
        let io = TokioIo::new(Counted { stream, sent: Arc::clone(&sent) });
        let (mut requests, connection) =
            within(hyper::client::conn::http1::handshake(io)).await.expect("it needs no answer");
        let driver = tokio::spawn(connection);
        let request = Request::post("/").header("host", "localhost").body(Body::from(vec![b'x'; body]));
        let answer = tokio::spawn(requests.send_request(request.expect("it is a request")));
        until(|| sent.load(Ordering::SeqCst) > body).await;
        server.handle().resume();
        let answer = within(answer).await.expect("no panic").expect("an answer");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["retry-after"], "3");
        let told = within(to_bytes(Body::new(answer.into_body()), usize::MAX)).await.expect("a whole body");
        assert_eq!(told, TOLD);
        within(driver).await.expect("no panic").expect("a clean end");
        refused += others.len() as u64 + 1;
    }
    ends(server, holder, refused).await;
}

/// An answer to a request that was not sent is none (RFC 9112, section 9.2): the client finds the connection closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_not_asked_yet_takes_it_for_a_connection_that_closed() {
    let (server, address, holder) = full().await;
    let stream = within(TcpStream::connect(address)).await.expect("somebody listens");
    let (mut requests, connection) = within(hyper::client::conn::http1::handshake(TokioIo::new(stream)))
        .await
        .expect("it needs no answer");
    within(connection).await.expect_err("nothing was asked");
    let request = Request::get("/").body(Body::empty()).expect("it is a request");
    let error = within(requests.send_request(request)).await.expect_err("nobody is there");
    assert!(error.is_canceled(), "it was not sent, so it may be sent again elsewhere: {error:?}");
    ends(server, holder, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_was_wholly_sent_before_anybody_accepted_does_not_destroy_the_answer() {
    let (server, address, holder) = full().await;
    let mut refused = pause(&server, address).await;
    refused.push(Client::connect(address).await);
    let head = format!("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {BODY}\r\n\r\n");
    for client in &mut refused {
        within(client.0.write_all(head.as_bytes())).await.expect("it is in the kernel's hands");
        within(client.0.write_all(&vec![b'x'; BODY])).await.expect("it is in the kernel's hands");
    }
    server.handle().resume();
    for client in &mut refused {
        let answer = client.answer().await.expect("no reset");
        assert!(answer.head.starts_with("HTTP/1.1 503 ") && answer.says_close(), "{answer:?}");
        assert_eq!(answer.body, TOLD);
        assert_eq!(client.until_closed().await.expect("no reset"), b"");
    }
    let count = refused.len() as u64;
    drop(refused);
    ends(server, holder, count).await;
}

/// It is told honestly: the bytes are no frames.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_client_fails_at_once_and_the_server_does_not_care() {
    let (server, address, holder) = full().await;
    let stream = within(TcpStream::connect(address)).await.expect("somebody listens");
    let (requests, connection) = within(h2::client::handshake(stream)).await.expect("it needs no answer");
    let error = within(connection).await.expect_err("the bytes are no frames");
    assert!(error.is_io() || error.reason().is_some(), "{error:?}");
    drop(requests);
    let handle = server.handle();
    until(|| handle.snapshot().farewells == 0).await;
    ends(server, holder, 1).await;
}
