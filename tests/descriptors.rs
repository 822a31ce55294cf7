//! Out of descriptors: the server neither spins nor hangs nor exits, keeps the kernel's queue, and goes
//! on by time, whoever frees descriptors.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on says so"
)]

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anteroom::{AcceptErrorClass, Connection, Listener, Server, service_fn};
use anteroom_tests::child::ServerProcess;
use anteroom_tests::events::Collected;
use anteroom_tests::machine::{Lateness, thread_cpu, threads_named};
use anteroom_tests::waiting::{PATIENCE, found, until};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tracing_subscriber::layer::SubscriberExt;

/// The default of `Config::pause`: accepting fails once in this time.
const PAUSE: Duration = Duration::from_millis(80);

/// Descriptors that somebody frees are in use within this time.
const RESUMES: Duration = Duration::from_millis(100);

const LIMIT: usize = 64;

/// A server that may have 64 descriptors, and no budget: `accept` itself is to fail.
fn starved() -> ServerProcess {
    let limit = format!("--nofile={LIMIT}:{LIMIT}");
    ServerProcess::start_under(
        &["prlimit", &limit],
        env!("CARGO_BIN_EXE_anteroom-test-server"),
        &json!({ "backlog": 4096, "config": { "descriptors": "unlimited", "share": { "alpha": null } } }),
    )
}

fn address(server: &ServerProcess) -> SocketAddr {
    server.address().tcp().expect("it is TCP")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Connected,
    Answered,
    Reset,
}

/// A client that looks at what comes without waiting, and remembers it: the kernel tells a reset once.
struct Client {
    stream: TcpStream,
    fate: Cell<Fate>,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("there is room in the queue");
        stream.set_nonblocking(true).expect("it can be set");
        Self { stream, fate: Cell::new(Fate::Connected) }
    }

    fn says(self, line: &str) -> Self {
        // It may have been refused by now.
        if (&self.stream).write_all(line.as_bytes()).is_err() {
            self.fate.set(Fate::Reset);
        }
        self
    }

    fn fate(&self) -> Fate {
        if self.fate.get() == Fate::Connected {
            self.fate.set(match (&self.stream).read(&mut [0]) {
                Ok(0) => panic!("nobody closes: a refusal is a reset"),
                Ok(_) => Fate::Answered,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Fate::Connected,
                Err(_) => Fate::Reset,
            });
        }
        self.fate.get()
    }
}

fn count(clients: &[Client], wanted: Fate) -> usize {
    clients.iter().filter(|client| client.fate() == wanted).count()
}

fn number(of: &Value) -> usize {
    of.as_u64().and_then(|number| number.try_into().ok()).unwrap_or_else(|| panic!("a number: {of}"))
}

/// The acceptor's thread of `pid`.
fn acceptor(pid: &str) -> u32 {
    found("the acceptor runs", || threads_named(pid, "anteroom-accept").first().copied())
}

/// At most one in a second: so many seconds, and one more for the broken one.
fn assert_rare(warnings: usize, within: Duration) {
    assert!(warnings as u64 <= within.as_secs() + 1, "{warnings} warnings in {within:?}");
    assert!(warnings > 0, "it is spoken of");
}

/// One connection is refused in each pause, and no more: `since` the trouble began.
fn assert_one_per_pause(shed: usize, within: Duration) {
    let pauses = usize::try_from(within.as_millis() / PAUSE.as_millis()).expect("few");
    assert!(shed <= pauses + 1, "{shed} refused in {pauses} pauses");
    // A machine that is late makes longer pauses, not none.
    assert!(shed >= pauses / 4, "{shed} refused in {pauses} pauses: it does not go on");
}

#[test]
fn two_hundred_idle_clients_for_ten_seconds_cost_nothing_and_keep_their_queue() {
    const CLIENTS: usize = 200;
    const FOR: Duration = Duration::from_secs(10);
    let mut server = starved();
    let pid = server.pid().to_string();
    let thread = acceptor(&pid);
    let (since, cpu) = (Instant::now(), thread_cpu(&pid, thread));
    let clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(address(&server))).collect();
    // The time over which the cost is measured.
    std::thread::sleep(FOR);
    let cost = thread_cpu(&pid, thread) - cpu;
    let snapshot = server.snapshot();
    let (reset, within) = (count(&clients, Fate::Reset), since.elapsed());
    assert!(cost <= Duration::from_millis(100), "{cost:?} of CPU in {within:?}");
    assert_rare(server.events("anteroom::accept_error").len(), within);
    assert_one_per_pause(reset, within);
    let (open, queued) = (number(&snapshot["open"]), number(&snapshot["depth"]));
    let refused = number(&snapshot["report"]["refused"]["resources"]);
    assert_eq!(open + queued + refused, CLIENTS, "nobody else was closed: {snapshot}");
    assert!(open > LIMIT / 2 && open < LIMIT, "the limit was met: {snapshot}");
    assert_eq!(refused, number(&snapshot["report"]["refused"]["total"]), "{snapshot}");
    drop(clients);
    server.eventually("everybody has been seen to leave", |snapshot| {
        number(&snapshot["open"]) == 0 && number(&snapshot["depth"]) == 0
    });
    let latecomer = Client::connect(address(&server)).says("hello\n");
    until("who comes then is served", || latecomer.fate() == Fate::Answered);
    drop(latecomer);
    let report = server.drain(PATIENCE);
    assert_eq!((&report["balanced"], &report["accepted"]), (&json!(true), &json!(CLIENTS + 1)), "{report}");
    assert_eq!(report["error"], Value::Null);
}

/// The hoard has every descriptor, and clients wait in the kernel's queue. Gives the time from the moment
/// when the hoard is given up to the first answer to one of these, and how late the machine was.
fn resumes_after(server: &mut ServerProcess) -> (Duration, Duration) {
    server.eventually("nobody is left of the last round", |snapshot| snapshot["open"] == 0);
    let held = number(&server.ask("hoard 1000")["held"]);
    assert!(held > 20, "{held}");
    let clients: Vec<_> = (0..30).map(|_| Client::connect(address(server)).says("hello\n")).collect();
    let before = number(&server.snapshot()["accept_errors"]);
    server.eventually("accepting has failed twice", |snapshot| {
        number(&snapshot["accept_errors"]) >= before + 2
    });
    let waiting: Vec<_> = clients.iter().filter(|client| client.fate() == Fate::Connected).collect();
    assert!(waiting.len() > 20, "they are queued: {}", waiting.len());
    let lateness = Lateness::measure();
    let freed = Instant::now();
    assert_eq!(server.ask("hoard 0")["held"], 0);
    until("somebody is answered", || waiting.iter().any(|client| client.fate() == Fate::Answered));
    let took = freed.elapsed();
    let late = lateness.worst();
    until("nobody is forgotten", || count(&clients, Fate::Connected) == 0);
    (took, late)
}

#[test]
fn descriptors_that_unrelated_code_frees_are_used_within_a_pause() {
    let mut server = starved();
    for _ in 0..10 {
        let (took, late) = resumes_after(&mut server);
        // The worst moment is measured: right after accepting has failed, and its pause begun. Between the
        // command and the answer five threads are woken in turn (the one that reads commands, the acceptor,
        // a worker for the dispatcher, one for the handler, this one), and a loaded machine may be late
        // with each.
        assert!(took <= RESUMES + 5 * late, "{took:?}, the machine being {late:?} late");
    }
    let report = server.drain(PATIENCE);
    assert_eq!((&report["balanced"], &report["error"]), (&json!(true), &Value::Null), "{report}");
}

#[test]
fn a_reserve_that_another_thread_took_comes_back() {
    let mut server = starved();
    let pid = server.pid().to_string();
    let told = |server: &mut ServerProcess, level: &str| {
        server.events("anteroom::reserve").iter().filter(|event| event["level"] == level).count()
    };
    server.ask("hoard 1000");
    server.ask("grab 2");
    let mut clients = Vec::new();
    until("the reserve is lost", || {
        if server.snapshot()["depth"] == 0 {
            clients.push(Client::connect(address(&server)).says("hello\n"));
        }
        told(&mut server, "WARN") > 0
    });
    server.ask("hoard 0");
    until("the reserve is back", || told(&mut server, "INFO") == told(&mut server, "WARN"));
    // And it is of use again.
    let shed_before = number(&server.snapshot()["report"]["refused"]["resources"]);
    server.ask("hoard 1000");
    clients.extend((0..5).map(|_| Client::connect(address(&server)).says("hello\n")));
    server.eventually("one is refused with it", |snapshot| {
        number(&snapshot["report"]["refused"]["resources"]) > shed_before
    });
    server.ask("hoard 0");
    let latecomer = Client::connect(address(&server)).says("hello\n");
    until("who comes then is served", || latecomer.fate() == Fate::Answered);
    assert_eq!(threads_named(&pid, "anteroom-accept").len(), 1, "the acceptor lives");
    drop((clients, latecomer));
    let report = server.drain(PATIENCE);
    assert_eq!((&report["balanced"], &report["error"]), (&json!(true), &Value::Null), "{report}");
}

#[test]
fn a_host_without_descriptors_is_met_in_the_same_way() {
    const FOR: Duration = Duration::from_secs(10);
    let heard = Collected::default();
    let subscriber = tracing_subscriber::registry().with(heard.clone());
    tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is TCP");
    let none_left = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&none_left);
    let echo_one = async |mut connection: Connection| {
        let mut byte = [0];
        connection.read_exact(&mut byte).await?;
        tokio::io::AsyncWriteExt::write_all(&mut connection, &byte).await
    };
    // Nobody is to be too old in the end.
    let server = Server::builder()
        .max_wait(10 * FOR)
        .inject_accept_errors(move || {
            still.load(Ordering::Relaxed).then(|| io::Error::from_raw_os_error(libc::ENFILE))
        })
        .serve(listener, service_fn(echo_one))
        .start()
        .expect("it starts");
    let handle = server.handle();
    let thread = acceptor("self");
    let (since, cpu) = (Instant::now(), thread_cpu("self", thread));
    let clients: Vec<_> = (0..200).map(|_| Client::connect(address).says("x")).collect();
    // The time over which the cost is measured.
    std::thread::sleep(FOR);
    let cost = thread_cpu("self", thread) - cpu;
    let snapshot = handle.snapshot();
    let within = since.elapsed();
    assert!(cost <= Duration::from_millis(100), "{cost:?} of CPU in {within:?}");
    assert_rare(heard.of(Some("anteroom::accept_error")).len(), within);
    let shed = usize::try_from(snapshot.report.refused.resources).expect("few");
    assert_one_per_pause(shed, within);
    let listener = snapshot.listeners.first().expect("there is one");
    assert_eq!(listener.queue.and_then(|queue| queue.depth), Some(200 - u32::try_from(shed).expect("few")));
    let errors = listener.accept_errors.iter().find(|(class, _)| *class == AcceptErrorClass::Descriptors);
    assert!(errors.expect("counted").1 >= shed as u64, "{errors:?}");
    none_left.store(false, Ordering::Relaxed);
    until("everybody else is served", || {
        handle.snapshot().report.served.done == 200 - handle.snapshot().report.refused.resources
    });
    drop(clients);
    let report = runtime.block_on(handle.drain(PATIENCE)).expect("nothing failed");
    assert!(report.is_balanced() && report.accepted == 200, "{report}");
}
