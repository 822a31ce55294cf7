//! A server to ask about, and a client of the admin listener that trusts nobody.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anteroom::{Connection, Listener, Server, service_fn};
use anteroom_admin::Admin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Far beyond what a busy machine does to an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Sends back what it is sent. `s` makes its handler sleep first, for two seconds.
async fn echo(mut connection: Connection) -> io::Result<()> {
    let mut byte = [0];
    while connection.read(&mut byte).await? > 0 {
        if byte == *b"s" {
            std::thread::sleep(Duration::from_secs(2));
        }
        connection.write_all(&byte).await?;
    }
    Ok(())
}

/// A server, and where it listens. Inside a runtime.
pub(crate) fn server() -> (Server, SocketAddr) {
    let listener = Listener::builder().name("public").bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("TCP");
    (Server::builder().serve(listener, service_fn(echo)).start().expect("it starts"), address)
}

/// An admin listener of one server, and where.
pub(crate) fn admin(server: &Server) -> (Admin, SocketAddr) {
    let admin = Admin::serve(&server.handle(), "127.0.0.1:0").expect("it starts");
    let address = admin.local_addr().tcp().expect("TCP");
    (admin, address)
}

pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(to).expect("somebody listens");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    client
}

/// One request, and all that comes until the end.
pub(crate) fn raw(to: SocketAddr, request: &[u8]) -> String {
    let mut client = connect(to);
    // It may be turned away before it has said everything.
    let _cut = client.write_all(request);
    let mut text = Vec::new();
    let _reset = client.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

pub(crate) fn get(to: SocketAddr, path: &str) -> (u16, String) {
    let answer =
        raw(to, format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n").as_bytes());
    parts(&answer)
}

/// The status, and the body.
pub(crate) fn parts(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status: {head}")), body.to_owned())
}

pub(crate) fn status(answer: &str) -> u16 {
    parts(answer).0
}

/// The service answers: nothing that is done to the admin listener changes that.
pub(crate) fn echoes(server: SocketAddr) {
    let mut client = connect(server);
    client.write_all(b"x").expect("it reads");
    let mut byte = [0];
    client.read_exact(&mut byte).expect("it answers");
    assert_eq!(byte, *b"x");
}
