//! A server of the whole stack, and a raw HTTP/1 client, so that a test decides when each byte is sent, and sees a reset as a reset.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anteroom::{Connection, Listener, Server};
use anteroom_http::{ConnectionError, Http, Serving};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tower_service::Service;

/// How long anything may take that happens at once on a machine that is not busy.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Client(pub(crate) TcpStream);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn says_close(&self) -> bool {
        self.head.to_ascii_lowercase().contains("connection: close")
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(within(TcpStream::connect(address)).await.expect("somebody listens"))
    }

    pub(crate) async fn send(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        self.0.write_all(request.as_bytes()).await.expect("the server reads");
    }

    /// One whole answer that has a length.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        let mut bytes = Vec::new();
        loop {
            if let Some(answer) = parse(&bytes) {
                return Ok(answer);
            }
            if within(self.0.read_buf(&mut bytes)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub(crate) async fn ask(&mut self, path: &str) -> Answer {
        self.send(path).await;
        self.answer().await.expect("an answer")
    }

    /// Whatever comes until the server closes; a reset is an error.
    pub(crate) async fn until_closed(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        within(self.0.read_to_end(&mut bytes)).await?;
        Ok(bytes)
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).expect("answers are text");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("content-length: ").map(|length| length.parse::<usize>())
    })?;
    let length = length.expect("a length is a number");
    (body.len() >= length).then(|| Answer { head: head.into(), body: body[..length].into() })
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(BOUND, future).await.expect("it happens in time")
}

/// Waits for a condition that nobody signals.
pub(crate) async fn until(mut reached: impl FnMut() -> bool) {
    within(async {
        while !reached() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// A server of connections with the configuration for HTTP.
pub(crate) fn serve<S>(http: Http<S>) -> (Server, SocketAddr)
where
    Http<S>: Service<Connection, Response = (), Error = ConnectionError, Future = Serving> + Send + 'static,
{
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is tcp");
    let server = Server::builder().config(anteroom_http::config()).serve(listener, http);
    (server.start().expect("it starts"), address)
}
