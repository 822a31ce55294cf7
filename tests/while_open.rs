//! A connection that was handed out: its peer's leaving, its place, and a refusal after all.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails; not every helper of a test counts as one"
)]

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anteroom::{Address, Cause, Connection, Gone, Incoming, Listener, PeerGone, Server, service_fn};
use anteroom_testkit::{BOUND, Scratch, eventually};
use anteroom_tests::clients::{connect, half_close, read_to_end, reset, send};
use tokio::time::timeout;

fn incoming() -> (Incoming, Address) {
    let incoming = Incoming::bind("127.0.0.1:0").expect("a free port");
    let address = incoming.local_addr().clone();
    (incoming, address)
}

async fn accept(incoming: &mut Incoming) -> Connection {
    let accepted = timeout(BOUND, incoming.accept()).await.expect("it comes in time");
    accepted.expect("it is well").expect("somebody is there")
}

async fn told(gone: &mut PeerGone) -> Gone {
    timeout(BOUND, gone).await.expect("it is told in time")
}

/// Polls once, without a task to be woken.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test]
async fn a_peer_that_half_closes_and_one_that_resets_are_told_apart() {
    let (mut incoming, address) = incoming();
    let (stays, leaves) = (connect(&address), connect(&address));
    let (first, second) = (accept(&mut incoming).await, accept(&mut incoming).await);
    let (mut half_closed, mut was_reset) = (first.peer_gone(), second.peer_gone());
    assert!(poll_once(&mut half_closed).is_pending() && poll_once(&mut was_reset).is_pending());
    half_close(&stays);
    assert_eq!(told(&mut half_closed).await, Gone::HalfClosed);
    assert!(poll_once(&mut was_reset).is_pending());
    reset(leaves);
    assert_eq!(told(&mut was_reset).await, Gone::Reset);
}

#[tokio::test]
async fn a_unix_peer_that_closes_is_told_from_one_that_half_closes() {
    let scratch = Scratch::new();
    let path = format!("unix:{}", scratch.join("socket").display());
    let mut incoming = Incoming::bind(path.as_str()).expect("a free path");
    let address = incoming.local_addr().clone();
    let (stays, leaves) = (connect(&address), connect(&address));
    let (first, second) = (accept(&mut incoming).await, accept(&mut incoming).await);
    half_close(&stays);
    drop(leaves);
    assert_eq!(told(&mut first.peer_gone()).await, Gone::HalfClosed);
    assert_eq!(told(&mut second.peer_gone()).await, Gone::Reset);
}

#[tokio::test]
async fn a_peer_that_left_before_anybody_asked_is_told_at_once() {
    let (mut incoming, address) = incoming();
    let (stays, leaves) = (connect(&address), connect(&address));
    let (first, second) = (accept(&mut incoming).await, accept(&mut incoming).await);
    half_close(&stays);
    reset(leaves);
    assert_eq!(told(&mut first.peer_gone()).await, Gone::HalfClosed);
    assert_eq!(told(&mut second.peer_gone()).await, Gone::Reset);
}

#[tokio::test]
async fn bytes_are_no_leaving() {
    let (mut incoming, address) = incoming();
    let (speaks, leaves) = (connect(&address), connect(&address));
    let (first, second) = (accept(&mut incoming).await, accept(&mut incoming).await);
    let (mut speaking, mut leaving) = (first.peer_gone(), second.peer_gone());
    assert!(poll_once(&mut speaking).is_pending());
    send(&speaks, "I am here");
    let stream = first.io().as_tcp().expect("it is TCP");
    let heard = async {
        while stream.peek(&mut [0]).is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, heard).await.expect("in time");
    // What the acceptor was told before this leaving it has heard when the leaving is told.
    drop(leaves);
    assert_eq!(told(&mut leaving).await, Gone::HalfClosed);
    assert!(poll_once(&mut speaking).is_pending(), "unread bytes are no leaving");
    drop(speaks);
    assert_eq!(told(&mut speaking).await, Gone::HalfClosed);
}

#[tokio::test]
async fn a_connection_that_waited_long_is_watched_again_when_it_is_open() {
    let (mut incoming, address) = incoming();
    let handle = incoming.handle();
    let client = connect(&address);
    // By then the room watches for its hang-up.
    eventually("it has waited", BOUND, || {
        handle.snapshot().oldest_wait.is_some_and(|wait| wait > Duration::from_millis(200))
    });
    let connection = accept(&mut incoming).await;
    let mut gone = connection.peer_gone();
    assert!(poll_once(&mut gone).is_pending());
    drop(client);
    assert_eq!(told(&mut gone).await, Gone::HalfClosed);
}

#[tokio::test]
async fn a_connection_that_is_dropped_here_was_closed_by_this_side() {
    let (mut incoming, address) = incoming();
    let client = connect(&address);
    let connection = accept(&mut incoming).await;
    let mut waiting = connection.peer_gone();
    let mut never_polled = connection.peer_gone();
    assert!(poll_once(&mut waiting).is_pending());
    // Joined: the drop comes while the other half of the join sleeps.
    let (gone, ()) = tokio::join!(told(&mut waiting), async { drop(connection) });
    assert_eq!(gone, Gone::Closed);
    assert_eq!(told(&mut never_polled).await, Gone::Closed);
    drop(client);
}

#[tokio::test]
async fn both_halves_share_one_place() {
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    let mut incoming = Incoming::builder().max_connections(1).listen(listener).start().expect("it starts");
    let handle = incoming.handle();
    let _clients = [connect(&address), connect(&address)];
    let (read, write) = accept(&mut incoming).await.into_split();
    eventually("the second waits", BOUND, || handle.snapshot().waiting == 1);
    assert_eq!(handle.snapshot().open, 1);
    drop(read);
    assert_eq!(handle.snapshot().open, 1, "the other half holds the place");
    assert!(poll_once(&mut Box::pin(incoming.accept())).is_pending());
    drop(write);
    let second = accept(&mut incoming).await;
    assert_eq!(handle.snapshot().open, 1);
    drop(second);
    assert_eq!(handle.snapshot().open, 0);
    assert_eq!(handle.snapshot().report.served.done, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_refuses_is_counted_so_and_its_client_is_reset() {
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    let refuse = service_fn(|connection: Connection| async move {
        connection.refuse(Cause::User("closed for lunch"));
        Ok::<_, io::Error>(())
    });
    let server = Server::builder().serve(listener, refuse).start().expect("it starts");
    let client = connect(&address);
    let error = read_to_end(&client).expect_err("it is refused");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let report = server.handle().drain(BOUND).await.expect("a refusal is no failure");
    assert_eq!((report.refused.user, report.served.total()), (1, 0), "{report}");
    assert!(report.is_balanced(), "{report}");
}

#[tokio::test]
async fn a_taker_that_refuses_is_counted_so_and_its_client_is_reset() {
    let (mut incoming, address) = incoming();
    let handle = incoming.handle();
    let client = connect(&address);
    accept(&mut incoming).await.refuse(Cause::Denied);
    let error = read_to_end(&client).expect_err("it is refused");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let stopped = handle.drain(BOUND);
    assert!(incoming.accept().await.expect("a drain is no error").is_none());
    let report = stopped.await.expect("a drain is no error");
    assert_eq!((report.refused.denied, report.served.total()), (1, 0), "{report}");
}
