//! The end of a connection destroys no answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anteroom_http::Http;
use axum::Router;
use axum::routing::{get, post};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Sleep, sleep};

use crate::client::{BOUND, Client, serve, within};

/// More than hyper reads of a body that nobody wants, and than the kernel holds of it.
const BODY: usize = 16 << 20;

/// A client that writes all of its request before it reads. The answer comes early, and hyper, which does
/// not read the rest, closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_to_a_body_that_nobody_reads_is_read() {
    let refuse = async || (http::StatusCode::PAYLOAD_TOO_LARGE, "too much");
    let (server, address) = serve(Http::new(Router::new().route("/", post(refuse))));
    for _ in 0..5 {
        let mut client = Client::connect(address).await;
        let head = format!("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {BODY}\r\n\r\n");
        within(client.0.write_all(head.as_bytes())).await.expect("it reads");
        within(client.0.write_all(&vec![b'x'; BODY])).await.expect("it reads, or lets it pass");
        let answer = client.answer().await.expect("no reset");
        assert!(answer.head.starts_with("HTTP/1.1 413 "), "{answer:?}");
        assert_eq!(answer.body, "too much");
        assert_eq!(client.until_closed().await.expect("no reset"), b"");
    }
    let report = within(server.handle().drain(BOUND)).await.expect("a drain is no error");
    assert_eq!((report.served.done, report.served.total()), (5, 5), "{report}");
}

/// Reads no more than this at a time, and no more often.
const SLOWLY: (usize, Duration) = (1024, Duration::from_millis(1));
/// The answer that is read slowly.
const ANSWER: usize = 200 << 10;

/// A client's socket that is slow to read.
struct Slow {
    stream: TcpStream,
    pause: Pin<Box<Sleep>>,
}

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.pause.as_mut().poll(cx));
        let most = SLOWLY.0.min(to.remaining());
        let mut part = ReadBuf::new(to.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        to.advance(read);
        self.pause.set(sleep(SLOWLY.1));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Its client says what it has taken while the end of the answer is still in the server's kernel, and
/// after the server has said all and closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_an_answer_of_http2_reaches_a_slow_client() {
    let large = async || vec![b'x'; ANSWER];
    let (server, address) = serve(Http::new(Router::new().route("/", get(large))));
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("it can be small");
    let stream = within(socket.connect(address)).await.expect("somebody listens");
    let slow = Slow { stream, pause: Box::pin(sleep(Duration::ZERO)) };
    let (mut requests, connection) = within(h2::client::handshake(slow)).await.expect("it needs no answer");
    tokio::spawn(connection);
    let request = Request::get("http://localhost/").body(()).expect("it is a request");
    let (response, _) = requests.send_request(request, true).expect("it is open");
    let mut body = within(response).await.expect("an answer").into_body();
    let stopped = server.handle().drain(BOUND);
    let mut read = 0;
    while let Some(data) = within(body.data()).await {
        let data = data.unwrap_or_else(|error| panic!("after {read}: {error}"));
        body.flow_control().release_capacity(data.len()).expect("it was taken");
        read += data.len();
    }
    assert_eq!(read, ANSWER);
    drop((requests, body));
    let report = within(stopped).await.expect("a drain is no error");
    assert_eq!((report.served.done, report.served.total()), (1, 1), "{report}");
}
