//! One account: whatever happens to connections, accepted = served + refused + dead on arrival, every
//! place is free in the end, and no descriptor is left behind.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anteroom::{
    AcceptOn, Candidate, Cause, Config, Connection, HalfClose, Handle, Incoming, Listener, Order, Report,
    Server, Share, Verdict, service_fn,
};
use anteroom_tests::machine::descriptors;
use anteroom_tests::waiting::{ends, until};
use socket2::{Domain, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// Connections that are served at the same time, and that wait.
const PLACES: usize = 8;

const PATIENCE_OF_THE_SERVER: Duration = Duration::from_millis(100);

/// The filter refuses who comes from here.
const UNWANTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The service's `call` panics for who comes from here.
const CURSED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// One test at a time: they count descriptors.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// The descriptors of a process without a server. What the first runtime leaves behind (for signals) is none
/// of the server's.
fn baseline() -> usize {
    drop(runtime());
    descriptors()
}

fn config(accept_on: AcceptOn) -> Config {
    let mut config = Config::default();
    config.max_connections = Some(PLACES);
    config.max_waiting = PLACES;
    // Nobody in the room is too old before they are meant to be.
    config.max_wait = Duration::from_secs(60);
    config.half_close = HalfClose::Patience(PATIENCE_OF_THE_SERVER);
    config.accept_on = accept_on;
    // All come from one source, and those who wait grow old.
    config.share = Share::unlimited();
    config.order = Order::Fifo;
    config
}

fn listen() -> (Listener, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is TCP");
    (listener, address)
}

fn choosy(candidate: &Candidate<'_>) -> Verdict {
    match candidate.peer.ip() == Some(UNWANTED.into()) {
        true => Verdict::Refuse(Cause::Denied),
        false => Verdict::Admit,
    }
}

/// Does what the client's first byte says; without one it is done.
async fn obey(mut connection: Connection) -> io::Result<()> {
    match connection.read_u8().await {
        Ok(b'f') => Err(io::Error::other("as told")),
        Ok(b'p') => panic!("as told"),
        Ok(b'r') => {
            connection.refuse(Cause::User("as told"));
            Ok(())
        }
        Ok(b'h') => std::future::pending().await,
        _ => Ok(()),
    }
}

/// [`obey`] behind a `call` that panics for some.
fn obey_or_panic(connection: Connection) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
    assert!(connection.peer_addr().ip() != Some(CURSED.into()), "as told");
    Box::pin(obey(connection))
}

/// So many times `accept` has no descriptor.
#[derive(Clone, Default)]
struct Want(Arc<AtomicUsize>);

impl Want {
    fn source(&self) -> impl FnMut() -> Option<io::Error> + Send + 'static {
        let want = Arc::clone(&self.0);
        move || {
            let less = want.fetch_update(Ordering::AcqRel, Ordering::Acquire, |times| times.checked_sub(1));
            less.ok().map(|_| io::Error::from_raw_os_error(libc::EMFILE))
        }
    }
}

fn connect_from(source: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    client.bind(&SocketAddr::from((source, 0)).into()).expect("all of 127/8 is ours");
    client.connect(&to.into()).expect("it listens");
    client.into()
}

fn say(to: SocketAddr, word: u8) -> TcpStream {
    let mut client = TcpStream::connect(to).expect("it listens");
    client.write_all(&[word]).expect("it is there");
    client
}

fn reset(client: TcpStream) {
    Socket::from(client).set_linger(Some(Duration::ZERO)).expect("it can be set");
}

/// Whether it tells how a connection went that was taken from it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taker {
    Server,
    /// Whatever became of it: it is done.
    Incoming,
}

/// Everything that can become of a connection, in turn. Returns when all but those that are held is over,
/// with the clients of these.
fn everything(handle: &Handle, to: SocketAddr, want: &Want, taker: Taker) -> Vec<TcpStream> {
    let counted = |what: &str, is: &dyn Fn(&Report) -> bool| until(what, || is(&handle.snapshot().report));
    let several = |times: usize, word: u8| (0..times).map(|_| say(to, word)).collect::<Vec<_>>();
    let mut clients = several(5, b'd');
    counted("5 are done", &|report| report.served.done == 5);
    clients.extend(several(4, b'f'));
    counted("4 have failed", &|report| match taker {
        Taker::Server => report.served.failed == 4,
        Taker::Incoming => report.served.done == 9,
    });
    clients.extend(several(3, b'p'));
    counted("3 have panicked", &|report| match taker {
        Taker::Server => report.served.panicked == 3,
        Taker::Incoming => report.served.done == 12,
    });
    clients.extend(several(2, b'r'));
    counted("2 have been refused by the handler", &|report| report.refused.user == 2);
    clients.extend((0..2).map(|_| connect_from(CURSED, to)));
    counted("2 calls have panicked", &|report| match taker {
        Taker::Server => report.served.panicked == 5,
        Taker::Incoming => report.served.done == 14,
    });
    clients.extend((0..3).map(|_| connect_from(UNWANTED, to)));
    counted("3 have been denied", &|report| report.refused.denied == 3);
    dead_in_the_queue(handle, to);
    for shed in 1..=2 {
        want.0.store(1, Ordering::Release);
        clients.push(TcpStream::connect(to).expect("it listens"));
        counted("one has been shed", &|report| report.refused.resources == shed);
    }
    in_the_room(handle, to)
}

/// 3 silent, 2 reset, 2 that have probably left.
fn dead_in_the_queue(handle: &Handle, to: SocketAddr) {
    handle.pause();
    for _ in 0..3 {
        drop(TcpStream::connect(to).expect("it listens"));
    }
    for _ in 0..2 {
        reset(TcpStream::connect(to).expect("it listens"));
        drop(say(to, b'd'));
    }
    // They are to be older than the patience.
    std::thread::sleep(2 * PATIENCE_OF_THE_SERVER);
    handle.resume();
    until("the dead are counted by kind", || {
        let report = handle.snapshot().report;
        let dead = &report.dead_on_arrival.in_queue;
        (dead.silent, dead.reset, report.refused.probably_left) == (3, 2, 2)
    });
}

/// Every place is taken and the room is full: 2 are refused for others, 1 leaves silently, 1 with a reset, 1 with
/// a request, and 5 grow too old.
fn in_the_room(handle: &Handle, to: SocketAddr) -> Vec<TcpStream> {
    let held: Vec<_> = (0..PLACES).map(|_| say(to, b'h')).collect();
    until("every place is taken", || handle.snapshot().open == PLACES);
    let mut waiting = Vec::new();
    let before = handle.snapshot().report.accepted;
    for nth in 1..=PLACES as u64 {
        waiting.push(TcpStream::connect(to).expect("it listens"));
        until("it waits", || handle.snapshot().report.accepted == before + nth);
    }
    let more: Vec<_> = (0..2).map(|_| TcpStream::connect(to).expect("it listens")).collect();
    until("2 are refused for them", || handle.snapshot().report.refused.full == 2);
    let mut left = waiting.drain(2..5);
    drop(left.next());
    reset(left.next().expect("three"));
    left.next().expect("three").write_all(b"d").expect("it is there");
    drop(left);
    until("they have been seen to leave", || {
        let report = handle.snapshot().report;
        let dead = &report.dead_on_arrival.in_room;
        (dead.silent, dead.reset, report.refused.probably_left) == (1, 1, 3)
    });
    handle.reconfigure(|config| config.max_wait = Duration::from_millis(100)).expect("it fits the others");
    until("the others are too old", || handle.snapshot().report.refused.too_old == 5);
    assert_eq!(handle.snapshot().waiting, 0);
    drop((waiting, more));
    held
}

/// What [`everything`] and a drain that cuts the held must come to.
fn assert_all(report: &Report, taker: Taker) {
    assert!(report.is_balanced(), "{report}");
    let served = &report.served;
    let served = (served.done, served.failed, served.panicked, served.cut);
    assert_eq!(served, if taker == Taker::Server { (5, 4, 5, 8) } else { (14, 0, 0, 8) }, "{report}");
    let refused = &report.refused;
    assert_eq!((refused.full, refused.too_old, refused.probably_left), (2, 5, 3), "{report}");
    assert_eq!((refused.denied, refused.resources, refused.user, refused.closed), (3, 2, 2, 0), "{report}");
    let dead = &report.dead_on_arrival;
    assert_eq!((dead.in_queue.silent, dead.in_queue.reset, dead.in_queue.gone), (3, 2, 0), "{report}");
    assert_eq!((dead.in_room.silent, dead.in_room.reset, dead.in_room.gone), (1, 1, 0), "{report}");
    assert_eq!(report.accepted, 46, "{report}");
}

fn assert_nothing_is_left(runtime: Runtime, handle: Handle, held: Vec<TcpStream>, baseline: usize) {
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.open, snapshot.waiting), (0, 0));
    // What an incoming gave out and nobody dropped lives as long as its task.
    drop((runtime, held, handle));
    until("every descriptor is closed", || descriptors() == baseline);
}

fn a_server_comes_to_the_exact_account(accept_on: AcceptOn) {
    let _alone = alone();
    let baseline = baseline();
    let runtime = runtime();
    let want = Want::default();
    let (listener, address) = listen();
    let server = {
        let _inside = runtime.enter();
        Server::builder()
            .config(config(accept_on))
            .filter(choosy)
            .inject_accept_errors(want.source())
            .serve(listener, service_fn(obey_or_panic))
            .start()
            .expect("it starts")
    };
    let handle = server.handle();
    let held = everything(&handle, address, &want, Taker::Server);
    let drained = handle.drain(Duration::from_millis(100));
    let report = runtime.block_on(ends("it stops", drained)).expect("nothing failed");
    assert_all(&report, Taker::Server);
    drop(server);
    assert_nothing_is_left(runtime, handle, held, baseline);
}

#[test]
fn a_server_whose_takers_accept_comes_to_the_exact_account() {
    a_server_comes_to_the_exact_account(AcceptOn::Taker);
}

#[test]
fn a_server_that_accepts_on_a_thread_comes_to_the_exact_account() {
    a_server_comes_to_the_exact_account(AcceptOn::Thread);
}

#[test]
fn a_server_that_accepts_in_a_task_comes_to_the_exact_account() {
    a_server_comes_to_the_exact_account(AcceptOn::Task);
}

async fn take_all(mut incoming: Incoming) {
    let mut tasks = JoinSet::new();
    while let Some(connection) = incoming.accept().await.expect("the listener is well") {
        tasks.spawn(async move { obey_or_panic(connection).await });
    }
    // Those that are held are cut, and have nothing to do with the incoming any more.
    while tasks.try_join_next().is_some() {}
    tasks.detach_all();
}

fn an_incoming_comes_to_the_exact_account(accept_on: AcceptOn) {
    let _alone = alone();
    let baseline = baseline();
    let runtime = runtime();
    let want = Want::default();
    let (listener, address) = listen();
    let incoming = {
        let _inside = runtime.enter();
        Incoming::builder()
            .config(config(accept_on))
            .filter(choosy)
            .inject_accept_errors(want.source())
            .listen(listener)
            .start()
            .expect("it starts")
    };
    let handle = incoming.handle();
    let taking = runtime.spawn(take_all(incoming));
    let held = everything(&handle, address, &want, Taker::Incoming);
    let drained = handle.drain(Duration::from_millis(100));
    let report = runtime.block_on(ends("it stops", drained)).expect("nothing failed");
    assert_all(&report, Taker::Incoming);
    runtime.block_on(ends("the loop ends", taking)).expect("it did not panic");
    assert_nothing_is_left(runtime, handle, held, baseline);
}

#[test]
fn an_incoming_that_accepts_for_itself_comes_to_the_exact_account() {
    an_incoming_comes_to_the_exact_account(AcceptOn::Taker);
}

#[test]
fn an_incoming_fed_by_a_thread_comes_to_the_exact_account() {
    an_incoming_comes_to_the_exact_account(AcceptOn::Thread);
}

#[test]
fn an_incoming_fed_by_a_task_comes_to_the_exact_account() {
    an_incoming_comes_to_the_exact_account(AcceptOn::Task);
}
