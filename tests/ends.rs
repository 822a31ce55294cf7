//! The end of a server, and what its last report and its last signal say.

use std::io;
use std::time::{Duration, Instant};

use anteroom::{Connection, Incoming, Listener, Server, service_fn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const BOUND: Duration = Duration::from_secs(30);

/// The last handlers end while the acceptor looks whether anybody is left: an end was once counted a
/// moment after it could be seen, and left out of the report.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_report_has_everybody_however_soon_after_the_last_end_it_is_made() {
    const AT_ONCE: usize = 8;
    for round in 0..500 {
        let listener = Listener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().tcp().expect("it is tcp");
        let leave = async |connection: Connection| {
            connection.draining().await;
            Ok::<_, io::Error>(())
        };
        let server = Server::builder().serve(listener, service_fn(leave)).start().expect("it starts");
        let mut clients = Vec::new();
        for _ in 0..AT_ONCE {
            clients.push(TcpStream::connect(address).await.expect("it listens"));
        }
        let report = server.handle().drain(BOUND).await.expect("a drain is no error");
        assert!(report.is_balanced() && report.served.done == AT_ONCE as u64, "round {round}: {report}");
    }
}

/// Loops that are told to stop close what they have not read from, so they are told afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exhausted_waits_until_the_last_connection_was_read_from() -> io::Result<()> {
    let mut incoming = Incoming::bind("127.0.0.1:0")?;
    let handle = incoming.handle();
    let mut client = TcpStream::connect(incoming.local_addr().tcp().expect("it is tcp")).await?;
    client.write_all(b"request").await?;
    let stopped = handle.drain(BOUND);
    let began = Instant::now();
    let mut connection = incoming.accept().await?.expect("it was queued");
    assert!(incoming.accept().await?.is_none(), "nobody else was");
    let unread = timeout(Duration::from_millis(200), handle.exhausted()).await;
    // After a second it is taken for silent: a machine that stood still for so long proves nothing.
    assert!(unread.is_err() || began.elapsed() >= Duration::from_secs(1), "its request is unread");
    let mut bytes = [0; 7];
    connection.read_exact(&mut bytes).await?;
    timeout(BOUND, handle.exhausted()).await.expect("it has been read");
    drop(connection);
    stopped.await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exhausted_does_not_wait_for_a_client_that_says_nothing() -> io::Result<()> {
    let mut incoming = Incoming::bind("127.0.0.1:0")?;
    let handle = incoming.handle();
    let _client = TcpStream::connect(incoming.local_addr().tcp().expect("it is tcp")).await?;
    let stopped = handle.drain(10 * BOUND);
    let connection = incoming.accept().await?.expect("it was queued");
    timeout(BOUND, handle.exhausted()).await.expect("silence ends it");
    drop(connection);
    stopped.await?;
    Ok(())
}
