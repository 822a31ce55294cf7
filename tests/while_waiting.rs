//! Clients that leave while they wait in the room, where nobody takes them: their place is freed, and
//! the account tells how they went.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails; not every helper of a test counts as one"
)]

use std::convert::Infallible;
use std::future::Ready;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anteroom::{Address, Config, Connection, HalfClose, Handle, Listener, Server, Snapshot, service_fn};
use anteroom_testkit::{BOUND, Scratch, eventually};
use anteroom_tests::clients::{ask, connect, half_close, next_line, read_to_end, reset, send};
use anteroom_tests::lines::{Calls, answer, speak};
use socket2::Socket;
use tokio::runtime::Runtime;
use tower_service::Service;

/// Of each manner of leaving.
const CLIENTS: usize = 20;

/// The kernel tells the wait in its queue in ticks, of which the coarsest takes this long: an age may
/// come out so much too high.
const TICK: Duration = Duration::from_millis(10);

/// A service that is never ready.
struct Never;

impl Service<Connection> for Never {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _: Connection) -> Self::Future {
        unreachable!("a service that is not ready is not called")
    }
}

/// The room's own time must not end anybody here.
fn patient() -> Config {
    let mut config = Config::default();
    config.max_wait = Duration::from_secs(600);
    config
}

fn never_ready(runtime: &Runtime, listener: Listener, config: Config) -> Server {
    let _inside = runtime.enter();
    Server::builder().config(config).serve(listener, Never).start().expect("it starts")
}

fn listen() -> (Listener, Address) {
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    (listener, address)
}

fn clients(address: &Address) -> Vec<Socket> {
    (0..CLIENTS).map(|_| connect(address)).collect()
}

fn wait_for(handle: &Handle, what: &str, is_so: impl Fn(&Snapshot) -> bool) {
    eventually(what, BOUND, || is_so(&handle.snapshot()));
}

/// Nobody is handed out; who still waits at a drain's end is refused.
fn ends(runtime: &Runtime, handle: &Handle, still_there: usize) {
    let report = runtime.block_on(handle.drain(Duration::ZERO)).expect("nothing failed");
    assert_eq!(report.served.total(), 0, "{report}");
    assert_eq!(report.refused.closed, still_there as u64, "{report}");
    assert!(report.is_balanced(), "{report}");
}

#[test]
fn who_leaves_a_service_that_is_never_ready_is_counted_by_kind_and_frees_the_place() {
    let runtime = Runtime::new().expect("a runtime");
    let (listener, address) = listen();
    let mut config = patient();
    config.half_close = HalfClose::Gone;
    let server = never_ready(&runtime, listener, config);
    let handle = server.handle();

    let (stay, silent, gone, resets) =
        (clients(&address), clients(&address), clients(&address), clients(&address));
    wait_for(&handle, "all wait", |now| now.waiting == 4 * CLIENTS);
    for client in &gone {
        send(client, "hello");
    }
    drop((silent, gone));
    resets.into_iter().for_each(reset);
    wait_for(&handle, "who left has been seen to leave", |now| now.waiting == CLIENTS);

    let dead = handle.snapshot().report.dead_on_arrival;
    let n = CLIENTS as u64;
    assert_eq!((dead.in_room.silent, dead.in_room.gone, dead.in_room.reset), (n, n, n), "{dead:?}");
    assert_eq!(dead.in_queue.total(), 0, "{dead:?}");
    ends(&runtime, &handle, CLIENTS);
    drop(stay);
}

#[test]
fn who_leaves_before_anybody_watches_is_found_too() {
    let runtime = Runtime::new().expect("a runtime");
    let (listener, address) = listen();
    let server = never_ready(&runtime, listener, patient());
    let handle = server.handle();
    for _ in 0..CLIENTS {
        drop(connect(&address));
        reset(connect(&address));
    }
    let dead = |now: &Snapshot| now.report.dead_on_arrival.clone();
    wait_for(&handle, "all are found dead", |now| dead(now).total() == 2 * CLIENTS as u64);
    let dead = dead(&handle.snapshot());
    assert_eq!(dead.in_queue.silent + dead.in_room.silent, CLIENTS as u64, "{dead:?}");
    assert_eq!(dead.in_queue.reset + dead.in_room.reset, CLIENTS as u64, "{dead:?}");
    assert_eq!(handle.snapshot().waiting, 0);
    ends(&runtime, &handle, 0);
}

#[test]
fn who_sent_and_closed_is_refused_when_the_patience_ends_and_not_before() {
    let patience = Duration::from_millis(500);
    let runtime = Runtime::new().expect("a runtime");
    let (listener, address) = listen();
    let mut config = patient();
    config.half_close = HalfClose::Patience(patience);
    let server = never_ready(&runtime, listener, config);
    let handle = server.handle();

    let stay = clients(&address);
    for client in &stay {
        send(client, "I am here");
    }
    let start = Instant::now();
    let half_closed = clients(&address);
    for client in &half_closed {
        send(client, "hello");
        half_close(client);
    }
    for client in clients(&address) {
        send(&client, "goodbye");
    }
    wait_for(&handle, "the last is refused", |now| {
        let refused = now.report.refused.probably_left;
        assert!(refused == 0 || start.elapsed() + TICK >= patience, "refused before its time");
        refused == 2 * CLIENTS as u64
    });
    assert_eq!(handle.snapshot().waiting, CLIENTS);
    for client in &half_closed {
        read_to_end(client).expect_err("it was refused with a reset");
    }
    ends(&runtime, &handle, CLIENTS);
}

#[test]
fn who_leaves_a_unix_socket_is_told_from_who_half_closes() {
    let runtime = Runtime::new().expect("a runtime");
    let scratch = Scratch::new();
    let path = format!("unix:{}", scratch.join("socket").display());
    let listener = Listener::bind(path.as_str()).expect("a free path");
    let address = listener.local_addr().clone();
    let mut config = patient();
    config.half_close = HalfClose::Gone;
    let server = never_ready(&runtime, listener, config);
    let handle = server.handle();

    let (half_closed, silent, gone) = (clients(&address), clients(&address), clients(&address));
    wait_for(&handle, "all wait", |now| now.waiting == 3 * CLIENTS);
    for client in half_closed.iter().chain(&gone) {
        send(client, "hello");
    }
    half_closed.iter().for_each(half_close);
    drop((silent, gone));
    wait_for(&handle, "who left has been seen to leave", |now| now.waiting == CLIENTS);
    let dead = handle.snapshot().report.dead_on_arrival.in_room;
    assert_eq!((dead.silent, dead.gone, dead.reset), (CLIENTS as u64, CLIENTS as u64, 0), "{dead:?}");
    ends(&runtime, &handle, CLIENTS);
    drop(half_closed);
}

#[test]
fn who_leaves_while_every_place_is_taken_is_not_served_later() {
    let runtime = Runtime::new().expect("a runtime");
    let (listener, address) = listen();
    let calls = Arc::new(Calls::default());
    let service = {
        let calls = Arc::clone(&calls);
        service_fn(move |connection: Connection| {
            calls.count();
            let calls = Arc::clone(&calls);
            async move { speak(connection, &calls).await }
        })
    };
    let server = {
        let _inside = runtime.enter();
        let mut config = patient();
        config.max_connections = Some(1);
        Server::builder().config(config).serve(listener, service).start().expect("it starts")
    };
    let handle = server.handle();

    let holder = connect(&address);
    assert_eq!(ask(&holder, "hold").expect("it is served"), answer("hold"));
    let (stay, silent, resets) = (clients(&address), clients(&address), clients(&address));
    wait_for(&handle, "all wait", |now| now.waiting == 3 * CLIENTS);
    drop(silent);
    resets.into_iter().for_each(reset);
    wait_for(&handle, "who left has been seen to leave", |now| now.waiting == CLIENTS);
    assert_eq!((calls.total(), handle.snapshot().open), (1, 1));

    drop(holder);
    for client in stay {
        send(&client, "at last");
        assert_eq!(next_line(&client).expect("it is served"), answer("at last"));
    }
    let report = runtime.block_on(handle.drain(BOUND)).expect("nothing failed");
    assert_eq!((calls.total(), report.served.done), (1 + CLIENTS, 1 + CLIENTS as u64), "{report}");
    let dead = &report.dead_on_arrival.in_room;
    assert_eq!((dead.silent, dead.reset), (CLIENTS as u64, CLIENTS as u64), "{report}");
    assert!(report.is_balanced(), "{report}");
}
