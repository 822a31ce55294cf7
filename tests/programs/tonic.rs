//! tonic over `Incoming`: its shutdown signal is `exhausted()`, so that nobody in the queue is lost.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use anteroom::{AcceptError, Connection, Handle, Incoming, Info};
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::server::Connected;
use tonic::transport::{Endpoint, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::{BOUND, until_queued, within};

/// What tonic wants of its I/O: the facts for the extensions of every request.
struct Io(Connection);

impl Connected for Io {
    type ConnectInfo = Info;

    fn connect_info(&self) -> Info {
        self.0.info().clone()
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct Connections(Incoming);

impl Stream for Connections {
    type Item = Result<Io, AcceptError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(ready!(self.0.poll_accept(cx)).map(|accepted| accepted.map(Io)))
    }
}

async fn serve(incoming: Incoming) -> Result<(), tonic::transport::Error> {
    let exhausted = incoming.handle().exhausted();
    let (_reporter, health) = tonic_health::server::health_reporter();
    Server::builder().add_service(health).serve_with_incoming_shutdown(Connections(incoming), exhausted).await
}

fn start() -> (tokio::task::JoinHandle<Result<(), tonic::transport::Error>>, Handle, SocketAddr) {
    let incoming = Incoming::bind("127.0.0.1:0").expect("a free port");
    let (handle, address) = (incoming.handle(), incoming.local_addr().tcp().expect("it is tcp"));
    (tokio::spawn(serve(incoming)), handle, address)
}

/// One health check on a connection of its own; the name "" is the server as a whole.
async fn check(address: SocketAddr) -> Result<ServingStatus, Box<dyn std::error::Error + Send + Sync>> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let request = HealthCheckRequest { service: String::new() };
    Ok(HealthClient::new(channel).check(request).await?.into_inner().status())
}

/// A health check in the bytes of HTTP/2 (RFC 9113, RFC 7541), so that all of it is sent at once: a client that is told
/// to go away before it has sent its call has lost nothing, and proves nothing.
fn check_in_bytes() -> Vec<u8> {
    let mut head = vec![0x83, 0x86]; // :method POST, :scheme http
    let mut field = |name: &[u8], value: &str| {
        head.extend(name);
        head.push(u8::try_from(value.len()).expect("it is short"));
        head.extend(value.as_bytes());
    };
    field(&[0x04], "/grpc.health.v1.Health/Check"); // :path
    field(&[0x01], "localhost"); // :authority
    field(&[0x0f, 0x10], "application/grpc"); // content-type
    field(b"\x00\x02te", "trailers");
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).expect("it is short");
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let (settings, headers) = (frame(4, 0, 0, &[]), frame(1, 4, 1, &head));
    let message = frame(0, 1, 1, &[0; 5]); // the empty message, and the end of the stream
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], &headers, &message].concat()
}

/// The message of five bytes of gRPC's and two of ours that says `SERVING`.
const SERVING: [u8; 7] = [0, 0, 0, 0, 2, 8, 1];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_were_queued_are_answered_and_tonic_ends() {
    const QUEUED: u32 = 1_000;
    let (serving, handle, address) = start();
    assert_eq!(within(check(address)).await.expect("it is served"), ServingStatus::Serving);
    handle.pause();
    let mut clients = Vec::new();
    for _ in 0..QUEUED {
        let mut client = TcpStream::connect(address).await.expect("it listens");
        client.write_all(&check_in_bytes()).await.expect("it reads");
        clients.push(client);
    }
    until_queued(&handle, QUEUED).await;
    let stopped = handle.drain(BOUND);
    for mut client in clients {
        let mut answer = Vec::new();
        while !answer.windows(SERVING.len()).any(|bytes| bytes == SERVING) {
            let read = within(client.read_buf(&mut answer)).await.expect("nobody is reset");
            assert!(read > 0, "it was closed without an answer: {answer:?}");
        }
    }
    within(serving).await.expect("no panic").expect("tonic ends well");
    let report = within(stopped).await.expect("a drain is no error");
    assert_eq!(report.served.done, u64::from(QUEUED) + 1, "{report}");
}
