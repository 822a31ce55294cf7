//! The main path once: connect, be served, drain, and the account is balanced.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is test code")]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anteroom::{Connection, Incoming, Listener, Phase, Server, StartError, service_fn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn echo(mut connection: Connection) -> io::Result<()> {
    let mut bytes = [0; 64];
    loop {
        let read = connection.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        connection.write_all(&bytes[..read]).await?;
    }
}

fn listen() -> (Listener, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is TCP");
    (listener, address)
}

async fn ask(address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut client = TcpStream::connect(address).await?;
    client.write_all(b"hello").await?;
    client.shutdown().await?;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_serves_and_its_report_is_balanced() {
    let (listener, address) = listen();
    let server = Server::builder().serve(listener, service_fn(echo)).start().expect("it starts");
    let handle = server.handle();
    assert_eq!(handle.phase(), Phase::Serving);
    for _ in 0..100 {
        assert_eq!(ask(address).await.expect("it is served"), b"hello");
    }
    let report = handle.drain(Duration::from_secs(10)).await.expect("nothing failed");
    assert_eq!((report.accepted, report.served.done), (100, 100), "{report}");
    assert!(report.is_balanced(), "{report}");
    assert_eq!(handle.phase(), Phase::Stopped);
    assert!(TcpStream::connect(address).await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn an_incoming_gives_connections_until_it_is_drained() {
    let mut incoming = Incoming::bind("127.0.0.1:0").expect("a free port");
    let address = incoming.local_addr().tcp().expect("it is TCP");
    let handle = incoming.handle();
    let client = TcpStream::connect(address).await.expect("it listens");
    let connection = incoming.accept().await.expect("it is well").expect("somebody is there");
    assert_eq!(connection.peer_addr().tcp(), client.local_addr().ok());
    let stopped = handle.drain(Duration::from_secs(10));
    assert!(incoming.accept().await.expect("a drain is no error").is_none());
    drop(connection);
    let report = stopped.await.expect("a drain is no error");
    assert_eq!((report.accepted, report.served.done), (1, 1), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepting_in_a_task_serves_as_well() {
    let (listener, address) = listen();
    let mut config = anteroom::Config::default();
    config.accept_on = anteroom::AcceptOn::Task;
    let server = match Server::builder().config(config).serve(listener, service_fn(echo)).start() {
        Err(StartError::TaskUnsupported) if cfg!(anteroom_portable) => return,
        started => started.expect("it starts"),
    };
    for _ in 0..100 {
        assert_eq!(ask(address).await.expect("it is served"), b"hello");
    }
    let report = server.handle().drain(Duration::from_secs(10)).await.expect("nothing failed");
    assert_eq!(report.served.done, 100, "{report}");
}
