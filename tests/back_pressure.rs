//! tower's readiness is real back-pressure: who cannot be served waits in the room, in order, and no
//! lane is held up by another one, nor by a worker that a handler keeps.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::future::Future;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use anteroom::{Connection, Listener, PeerAddr, ServeError, Server, service_fn};
use anteroom_tests::waiting::{PATIENCE, ends, until};
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_service::Service;

fn runtime(workers: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(workers).enable_all().build().expect("a runtime")
}

fn listen() -> (Listener, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is TCP");
    (listener, address)
}

async fn greet(mut connection: Connection) -> io::Result<()> {
    connection.write_all(b"!").await
}

/// A client that is greeted, or fails after a time that only a defect takes.
fn greeted(address: SocketAddr) -> io::Result<()> {
    let mut client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.read_exact(&mut [0])
}

#[test]
fn a_concurrency_limit_lets_the_others_wait_in_the_room_in_their_order() {
    const CLIENTS: usize = 8;
    let runtime = runtime(2);
    let _inside = runtime.enter();
    let (listener, address) = listen();
    let (order, served) = sync_channel::<PeerAddr>(CLIENTS);
    let turns = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&turns);
    let slow = service_fn(move |connection: Connection| {
        let (order, turns) = (order.clone(), Arc::clone(&gate));
        async move {
            order.send(*connection.peer_addr()).map_err(io::Error::other)?;
            turns.acquire().await.map_err(io::Error::other)?.forget();
            Ok::<_, io::Error>(())
        }
    });
    let service = ServiceBuilder::new().concurrency_limit(1).service(slow);
    let server = Server::builder().serve(listener, service).start().expect("it starts");
    let handle = server.handle();
    let mut clients = Vec::new();
    for accepted in 1..=CLIENTS {
        clients.push(TcpStream::connect(address).expect("it listens"));
        until("it is accepted", || handle.snapshot().report.accepted == accepted as u64);
    }
    for (served_before, client) in clients.iter().enumerate() {
        let peer = served.recv_timeout(PATIENCE).expect("the next is served");
        assert_eq!(peer.tcp(), client.local_addr().ok(), "in the order in which they came");
        let waiting = CLIENTS - served_before - 1;
        until("one is open and the others wait", || {
            let snapshot = handle.snapshot();
            (snapshot.open, snapshot.waiting) == (1, waiting)
        });
        assert_eq!(
            handle.snapshot().listeners.first().and_then(|l| l.queue?.depth),
            Some(0),
            "nobody in the kernel"
        );
        turns.add_permits(1);
    }
    let report = runtime.block_on(ends("it drains", handle.drain(PATIENCE))).expect("nothing failed");
    assert_eq!((report.accepted, report.served.done), (8, 8), "{report}");
}

#[test]
fn an_idle_lane_holds_no_permit_of_a_limit_that_it_shares() {
    let runtime = runtime(2);
    let _inside = runtime.enter();
    let limit = GlobalConcurrencyLimitLayer::new(1);
    let service = || ServiceBuilder::new().layer(limit.clone()).service(service_fn(greet));
    let (first, one) = listen();
    let (second, other) = listen();
    let _server =
        Server::builder().serve(first, service()).serve(second, service()).start().expect("it starts");
    for round in 0..20 {
        // Each lane has been idle while the other one is asked, three times in a row.
        for address in [one, one, one, other, other, other] {
            greeted(address).unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
    }
}

/// What a service answers when it is asked whether it is ready.
#[derive(Clone, Copy)]
enum Mood {
    Busy,
    Broken,
    Panicking,
}

/// Serves nobody; says so in its own way, and counts how often it was asked.
struct Moody(Mood, Arc<AtomicUsize>);

impl Service<Connection> for Moody {
    type Response = ();
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        match self.0 {
            Mood::Busy => Poll::Pending,
            Mood::Broken => Poll::Ready(Err(io::Error::other("the database is gone"))),
            Mood::Panicking => panic!("asked at a bad moment"),
        }
    }

    fn call(&mut self, _: Connection) -> Self::Future {
        panic!("called without being ready")
    }
}

#[test]
fn a_public_service_that_is_never_ready_does_not_hold_up_the_admin_lane() {
    let runtime = runtime(2);
    let _inside = runtime.enter();
    let (public, busy) = listen();
    let (admin, address) = listen();
    let asked = Arc::new(AtomicUsize::new(0));
    let service = Moody(Mood::Busy, Arc::clone(&asked));
    let server =
        Server::builder().serve(public, service).serve(admin, service_fn(greet)).start().expect("it starts");
    let handle = server.handle();
    let waiting: Vec<_> = (0..100).map(|_| TcpStream::connect(busy).expect("it listens")).collect();
    until("the public clients wait", || handle.snapshot().waiting == 100);
    for _ in 0..50 {
        greeted(address).expect("the admin is served");
    }
    assert_eq!(handle.snapshot().waiting, 100, "nobody was lost meanwhile");
    assert!(asked.load(Ordering::Relaxed) >= 1, "it was asked");
    drop(waiting);
    until("they have been seen to leave", || handle.snapshot().report.dead_on_arrival.in_room.silent == 100);
}

#[test]
fn a_service_that_fails_or_panics_in_poll_ready_ends_the_server_with_its_error() {
    let runtime = runtime(2);
    let _inside = runtime.enter();
    for (mood, text) in [(Mood::Broken, "the database is gone"), (Mood::Panicking, "panicked in poll_ready")]
    {
        let (listener, address) = listen();
        let service = Moody(mood, Arc::default());
        let server = Server::builder().serve(listener, service).start().expect("it starts");
        let _client = TcpStream::connect(address).expect("it listens");
        match runtime.block_on(ends("the server ends", server)) {
            Err(ServeError::Service { source, report }) => {
                assert!(source.to_string().contains(text), "{source}");
                assert_eq!((report.accepted, report.refused.closed), (1, 1), "{report}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_service_that_fails_lets_the_other_lane_finish_what_it_has() {
    let runtime = runtime(2);
    let _inside = runtime.enter();
    let (broken, trigger) = listen();
    let (well, address) = listen();
    let go = Arc::new(Semaphore::new(0));
    let until_told = Arc::clone(&go);
    let patient = service_fn(move |mut connection: Connection| {
        let go = Arc::clone(&until_told);
        async move {
            go.acquire().await.map_err(io::Error::other)?.forget();
            connection.write_all(b"!").await
        }
    });
    let service = Moody(Mood::Broken, Arc::default());
    let server = Server::builder().serve(broken, service).serve(well, patient).start().expect("it starts");
    let mut open = TcpStream::connect(address).expect("it listens");
    until("it is open", || server.handle().snapshot().open == 1);
    let _trigger = TcpStream::connect(trigger).expect("it listens");
    runtime.block_on(ends("it drains", server.handle().draining()));
    go.add_permits(1);
    open.read_exact(&mut [0]).expect("it is served to its end");
    match runtime.block_on(ends("the server ends", server)) {
        Err(ServeError::Service { report, .. }) => {
            assert_eq!((report.accepted, report.served.done, report.refused.closed), (2, 1, 1), "{report}");
        }
        other => panic!("{other:?}"),
    }
}

/// Where handlers that keep their worker stand until the test lets them go.
#[derive(Clone)]
struct Hold {
    entered: SyncSender<()>,
    go: Arc<Mutex<Receiver<()>>>,
}

impl Hold {
    fn new() -> (Self, Receiver<()>, SyncSender<()>) {
        let (entered, blocked) = sync_channel(1);
        let (release, go) = sync_channel(1);
        (Self { entered, go: Arc::new(Mutex::new(go)) }, blocked, release)
    }

    /// Blocks the thread.
    fn keep_the_worker(&self) {
        self.entered.send(()).expect("the test waits for it");
        let go = self.go.lock().unwrap_or_else(PoisonError::into_inner);
        go.recv_timeout(PATIENCE).expect("the test lets it go");
    }
}

/// The first client's end frees the only place, and its worker is then blocked. The second client has
/// to be served meanwhile, by the other worker.
fn served_while_the_first_worker_is_kept(
    address: SocketAddr,
    blocked: &Receiver<()>,
    release: &SyncSender<()>,
) {
    let first = TcpStream::connect(address).expect("it listens");
    let second = std::thread::spawn(move || greeted(address));
    blocked.recv_timeout(PATIENCE).expect("a handler keeps its worker");
    let served = second.join().expect("it does not panic");
    release.send(()).expect("the handler waits for it");
    served.expect("the second client is served while the first one's worker is blocked");
    drop(first);
}

#[test]
fn a_place_given_back_by_a_handler_that_then_blocks_its_worker_is_used_at_once() {
    for _ in 0..10 {
        let runtime = runtime(2);
        let _inside = runtime.enter();
        let (listener, address) = listen();
        let (hold, blocked, release) = Hold::new();
        let (waiting, somebody_waits) = (Arc::new(Semaphore::new(0)), AtomicUsize::new(0));
        let turn = Arc::clone(&waiting);
        let service = service_fn(move |connection: Connection| {
            let (hold, turn) = (hold.clone(), Arc::clone(&turn));
            let first = somebody_waits.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                if !first {
                    return greet(connection).await;
                }
                turn.acquire().await.map_err(io::Error::other)?.forget();
                drop(connection);
                hold.keep_the_worker();
                Ok(())
            }
        });
        let server =
            Server::builder().max_connections(1).serve(listener, service).start().expect("it starts");
        let handle = server.handle();
        let waker = std::thread::spawn(move || {
            until("the second waits for the place", || handle.snapshot().waiting == 1);
            waiting.add_permits(1);
        });
        served_while_the_first_worker_is_kept(address, &blocked, &release);
        waker.join().expect("it does not panic");
    }
}

#[test]
fn a_towers_permit_given_back_by_a_task_that_then_blocks_its_worker_is_used_at_once() {
    for _ in 0..10 {
        let runtime = runtime(2);
        let _inside = runtime.enter();
        let (listener, address) = listen();
        let (hold, blocked, release) = Hold::new();
        let turn = Arc::new(Semaphore::new(0));
        let waiting = Arc::clone(&turn);
        let calls = AtomicUsize::new(0);
        let handler = service_fn(move |connection: Connection| {
            let (turn, first) = (Arc::clone(&turn), calls.fetch_add(1, Ordering::Relaxed) == 0);
            async move {
                if first {
                    turn.acquire().await.map_err(io::Error::other)?.forget();
                }
                greet(connection).await
            }
        });
        let ended = AtomicUsize::new(0);
        // By then the handler's future is dropped, and with it tower's permit.
        let keep = move |_: &_, _: &_| {
            if ended.fetch_add(1, Ordering::Relaxed) == 0 {
                hold.keep_the_worker();
            }
        };
        let service = ServiceBuilder::new().concurrency_limit(1).service(handler);
        let server = Server::builder().on_end(keep).serve(listener, service).start().expect("it starts");
        let handle = server.handle();
        let waker = std::thread::spawn(move || {
            until("the second waits for the service", || handle.snapshot().waiting == 1);
            waiting.add_permits(1);
        });
        served_while_the_first_worker_is_kept(address, &blocked, &release);
        waker.join().expect("it does not panic");
    }
}

#[test]
fn a_service_is_asked_only_while_somebody_waits() {
    let runtime = runtime(2);
    let _inside = runtime.enter();
    let (listener, address) = listen();
    let asked = Arc::new(AtomicUsize::new(0));
    let service = Counting(Arc::clone(&asked));
    let _server = Server::builder().serve(listener, service).start().expect("it starts");
    for round in 1..=20 {
        greeted(address).expect("it is served");
        assert_eq!(asked.load(Ordering::Relaxed), round, "asked once for each client, and not ahead of it");
    }
}

/// Always ready, and counts how often it was asked.
struct Counting(Arc<AtomicUsize>);

impl Service<Connection> for Counting {
    type Response = ();
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connection: Connection) -> Self::Future {
        Box::pin(greet(connection))
    }
}
