//! A user's service, driven without sockets under paused time.

use std::io;
use std::time::Duration;

use anteroom::{Cause, Connection, Gone, service_fn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tower_service::Service;

const PATIENCE: Duration = Duration::from_secs(30);

/// Echoes one line, unless it is told to drain, the peer goes, or it takes too long.
async fn one_line(mut connection: Connection) -> io::Result<()> {
    let mut line = [0; 16];
    let (draining, peer_gone) = (connection.draining(), connection.peer_gone());
    tokio::select! {
        read = connection.read(&mut line) => {
            let read = read?;
            connection.write_all(&line[..read]).await
        }
        () = draining => connection.write_all(b"bye\n").await,
        gone = peer_gone => Err(io::Error::other(format!("{gone:?}"))),
        () = tokio::time::sleep(PATIENCE) => {
            connection.refuse(Cause::User("too slow"));
            Ok(())
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_go_both_ways_and_the_permit_comes_back() {
    let (connection, mut client, remote) = anteroom::test::connection();
    assert_eq!(remote.permits(), 1);
    let handled = service_fn(one_line).call(connection);
    client.write_all(b"hello\n").await.expect("the buffer has room");
    handled.await.expect("it is answered");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("it closed in good order");
    assert_eq!((answer.as_str(), remote.permits()), ("hello\n", 0));
}

#[tokio::test(start_paused = true)]
async fn a_drain_and_a_peer_that_goes_are_switches() {
    let (connection, mut client, remote) = anteroom::test::connection();
    remote.drain();
    service_fn(one_line).call(connection).await.expect("it says good-bye");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("it closed in good order");
    assert_eq!(answer, "bye\n");

    let (connection, _client, remote) = anteroom::test::connection();
    let gone = connection.peer_gone();
    remote.hang_up();
    assert_eq!(gone.await, Gone::HalfClosed);
    let error = service_fn(one_line).call(connection).await.expect_err("its peer has gone");
    assert_eq!(error.to_string(), "HalfClosed");
}

#[tokio::test(start_paused = true)]
async fn half_a_minute_passes_at_once() {
    let (connection, _client, remote) = anteroom::test::connection();
    let began = Instant::now();
    service_fn(one_line).call(connection).await.expect("a refusal is no error");
    assert_eq!((began.elapsed(), remote.permits()), (PATIENCE, 0));
}
