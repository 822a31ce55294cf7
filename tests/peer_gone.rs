//! What `peer_gone` leaves behind when nobody awaits it any more, and what it tells when the socket
//! has gone elsewhere.

#![allow(clippy::expect_used, reason = "a test that cannot go on says so")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use anteroom::{Address, Connection, Gone, Incoming};
use anteroom_tests::clients::{connect, half_close, name_of};
use anteroom_tests::waiting::ends;

/// Does nothing when woken: what counts is who holds it.
struct Sleeper;

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {}
}

fn incoming() -> (Incoming, Address) {
    let incoming = Incoming::bind("127.0.0.1:0").expect("a free port");
    let address = incoming.local_addr().clone();
    (incoming, address)
}

async fn accept(incoming: &mut Incoming) -> Connection {
    let accepted = ends("somebody is taken", incoming.accept()).await;
    accepted.expect("the listener is well").expect("it goes on")
}

#[tokio::test]
async fn futures_that_were_polled_and_dropped_leave_nothing_behind() {
    let (mut incoming, address) = incoming();
    let client = connect(&address);
    let connection = accept(&mut incoming).await;
    let mut sleepers = Vec::new();
    for _ in 0..10_000 {
        let sleeper = Arc::new(Sleeper);
        let waker = Waker::from(Arc::clone(&sleeper));
        let mut gone = pin!(connection.peer_gone());
        assert!(gone.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        sleepers.push(sleeper);
    }
    let kept = sleepers.iter().filter(|sleeper| Arc::strong_count(sleeper) > 1).count();
    assert_eq!(kept, 0, "somebody would wake those who do not wait any more");

    half_close(&client);
    assert_eq!(ends("the peer is seen to go", connection.peer_gone()).await, Gone::HalfClosed);
}

#[tokio::test]
async fn one_that_is_dropped_does_not_silence_the_others() {
    let (mut incoming, address) = incoming();
    let client = connect(&address);
    let connection = accept(&mut incoming).await;
    let mut stays = pin!(connection.peer_gone());
    let mut copy = pin!(connection.peer_gone());
    {
        // All three with the same waker: it is no name for who waits.
        let mut cx = Context::from_waker(Waker::noop());
        let mut leaves = pin!(connection.peer_gone());
        assert!(leaves.as_mut().poll(&mut cx).is_pending());
        assert!(stays.as_mut().poll(&mut cx).is_pending());
        assert!(copy.as_mut().poll(&mut cx).is_pending());
    }
    let (stays, copy, ()) =
        tokio::join!(ends("the peer is seen to go", stays), ends("the peer is seen to go", copy), async {
            half_close(&client)
        });
    assert_eq!((stays, copy), (Gone::HalfClosed, Gone::HalfClosed));
}

#[tokio::test]
async fn of_a_socket_that_was_taken_out_it_tells_when_the_permit_is_dropped() {
    let (mut incoming, address) = incoming();
    let client = connect(&address);
    let connection = accept(&mut incoming).await;
    let mut gone = pin!(connection.peer_gone());
    let (socket, permit, info) = connection.into_parts();
    let stream = socket.try_into_tcp().expect("nobody shares it");
    assert_eq!(info.peer_addr().to_string(), name_of(&client));
    let look =
        |gone: std::pin::Pin<&mut anteroom::PeerGone>| gone.poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(look(gone.as_mut()), Poll::Pending, "the connection goes on, elsewhere");
    assert_eq!(look(gone.as_mut()), Poll::Pending);
    let (told, ()) = tokio::join!(ends("it is told", gone), async { drop(permit) });
    assert_eq!(told, Gone::Closed);
    assert_eq!(stream.peer_addr().expect("it is still connected").to_string(), name_of(&client));
}
