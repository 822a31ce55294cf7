//! What one lane has is none of another's: places and room for waiting hold for each lane.

#![allow(clippy::expect_used, reason = "a test that cannot go on says so")]

use std::future::{pending, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use anteroom::{Address, Connection, Incoming, Listener, Server, service_fn};
use anteroom_tests::clients::{ask, connect, next_line, read_to_end};
use anteroom_tests::lines::{answer, speak};
use anteroom_tests::waiting::{becomes, ends};

const PLACES: usize = 2;
const WAITING: usize = 4;

/// Nobody is to be refused because the machine is slow.
const LONG: Duration = Duration::from_secs(600);

fn listen(name: &str) -> (Listener, Address) {
    let listener = Listener::builder().name(name).bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    (listener, address)
}

async fn accept(incoming: &mut Incoming) -> Connection {
    let accepted = ends("somebody is taken", incoming.accept()).await;
    accepted.expect("the listener is well").expect("it goes on")
}

#[tokio::test]
async fn a_public_incoming_without_a_free_place_does_not_keep_an_admin_one_from_taking() {
    let ((public, public_at), (admin, admin_at)) = (listen("public"), listen("admin"));
    let builder = Incoming::builder().max_connections(PLACES).max_wait(LONG);
    let [mut public, mut admin] = builder.start_each([public.into(), admin.into()]).expect("it starts");
    let handle = public.handle();
    let _public: Vec<_> = (0..=PLACES).map(|_| connect(&public_at)).collect();
    let mut held = Vec::new();
    for _ in 0..PLACES {
        held.push(accept(&mut public).await);
    }
    becomes("one more waits", || handle.snapshot().waiting == 1).await;
    {
        let mut third = pin!(public.accept());
        let waits = poll_fn(|cx| Poll::Ready(third.as_mut().poll(cx).is_pending()));
        assert!(waits.await, "the bound holds where it was reached");
    }

    // The same bound holds in the other lane, counted from nothing.
    let _admin: Vec<_> = (0..=PLACES).map(|_| connect(&admin_at)).collect();
    for _ in 0..PLACES {
        let connection = accept(&mut admin).await;
        assert_eq!(connection.listener(), "admin");
        held.push(connection);
    }
    becomes("one more waits in each", || handle.snapshot().waiting == 2).await;
    assert_eq!(handle.snapshot().open, 2 * PLACES);

    // A place that one lane gives back is no other's.
    held.truncate(PLACES);
    held.push(accept(&mut admin).await);
    assert_eq!((handle.snapshot().open, handle.snapshot().waiting), (PLACES + 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_service_without_a_free_place_does_not_keep_an_admin_one_from_serving() {
    let ((public, public_at), (admin, admin_at)) = (listen("public"), listen("admin"));
    let never_ends = service_fn(async |connection: Connection| {
        let _held = connection;
        pending::<io::Result<()>>().await
    });
    let answers =
        service_fn(|connection: Connection| async move { speak(connection, &Arc::default()).await });
    let server = Server::builder()
        .max_connections(PLACES)
        .max_wait(LONG)
        .serve(public, never_ends)
        .serve(admin, answers)
        .start()
        .expect("it starts");
    let handle = server.handle();
    let _public: Vec<_> = (0..=PLACES).map(|_| connect(&public_at)).collect();
    becomes("the public places are taken, and one waits", || {
        let snapshot = handle.snapshot();
        (snapshot.open, snapshot.waiting) == (PLACES, 1)
    })
    .await;
    // More of them, one after another, than there are places.
    for _ in 0..3 * PLACES {
        let client = connect(&admin_at);
        assert_eq!(ask(&client, "ask").expect("it is served"), answer("ask"));
    }
    handle.drain(Duration::ZERO).await.expect("a drain is no error");
}

#[tokio::test]
async fn a_flood_of_a_full_public_room_turns_away_only_public_connections() {
    let ((public, public_at), (admin, admin_at)) = (listen("public"), listen("admin"));
    let builder = Incoming::builder().max_waiting(WAITING).max_wait(LONG);
    let [public, mut admin] = builder.start_each([public.into(), admin.into()]).expect("it starts");
    let handle = public.handle();
    // These are the oldest of all, and fill their lane.
    let clients: Vec<_> = (0..WAITING).map(|_| connect(&admin_at)).collect();
    becomes("they wait", || handle.snapshot().waiting == WAITING).await;
    let flood: Vec<_> = (0..3 * WAITING).map(|_| connect(&public_at)).collect();
    becomes("the flood was accepted", || handle.snapshot().report.accepted == (WAITING + flood.len()) as u64)
        .await;
    let snapshot = handle.snapshot();
    assert_eq!(snapshot.waiting, 2 * WAITING, "each lane has its own room");
    let [of_public, of_admin] = &snapshot.listeners[..] else { unreachable!("two listeners") };
    assert_eq!(of_public.report.refused.full, 2 * WAITING as u64);
    assert_eq!(of_admin.report.refused.total(), 0);

    for client in &clients {
        let connection = accept(&mut admin).await;
        assert_eq!(connection.listener(), "admin");
        drop(connection);
        assert_eq!(next_line(client).expect("an orderly end"), "");
    }
    // The first of the flood are the oldest of their lane.
    for refused in &flood[..2 * WAITING] {
        let error = read_to_end(refused).expect_err("it was turned away");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
