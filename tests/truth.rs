//! What is told about the accept queue is what the kernel says, at the time at which it is told.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on says so"
)]

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anteroom::{Config, Connection, Handle, Info, Listener, Order, Server, Snapshot, service_fn};
use anteroom_testkit::ss_tcp_queue;
use anteroom_tests::events::Collected;
use anteroom_tests::machine::Lateness;
use anteroom_tests::recorder::Recorded;
use anteroom_tests::waiting::{found, until};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::layer::SubscriberExt;

const DEPTH: &str = "anteroom_accept_queue_depth";
const LIMIT: &str = "anteroom_accept_queue_limit";
const DROPS: &str = "anteroom_accept_queue_drops_total";

fn listen(name: &str, backlog: u32) -> (Listener, SocketAddr) {
    let listener = Listener::builder().name(name).backlog(backlog).bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is TCP");
    (listener, address)
}

fn runtime(workers: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(workers).enable_all().build().expect("a runtime")
}

/// What has been spoken in this process about one listener, under one target.
fn heard(target: &str, listener: &str) -> Vec<Value> {
    static HEARD: OnceLock<Collected> = OnceLock::new();
    let collected = HEARD.get_or_init(|| {
        let collected = Collected::default();
        let subscriber = tracing_subscriber::registry().with(collected.clone());
        tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
        collected
    });
    collected.of(Some(target)).into_iter().filter(|said| said["fields"]["listener"] == listener).collect()
}

/// Whether `ss` shows this depth and this limit; where it cannot be run there is nothing to compare with.
fn ss(address: SocketAddr, queue: (u32, u32)) -> bool {
    ss_tcp_queue(address.port()).is_none_or(|shown| shown == queue)
}

fn depth(snapshot: &Snapshot) -> Option<u32> {
    snapshot.listeners[0].queue.expect("it is open").depth
}

/// A client that sends one SYN and gives up: no retry of it is counted.
fn give_up(address: SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_nonblocking(true).expect("it can be set");
    let error = socket.connect(&address.into()).expect_err("the handshake takes its time");
    assert_eq!(error.raw_os_error(), Some(libc::EINPROGRESS), "{error}");
}

#[test]
fn the_depth_the_limit_and_the_drops_are_what_the_kernel_says_at_each_step() {
    let recorded = Recorded::here();
    let runtime = runtime(1);
    let (listener, address) = listen("truth", 16);
    let server = {
        let _inside = runtime.enter();
        Server::builder().serve(listener, service_fn(async |_: Connection| io::Result::Ok(()))).start()
    };
    let handle = server.as_ref().expect("it starts").handle();
    handle.pause();
    let mut clients = Vec::new();
    for queued in 0..=17 {
        // The kernel may finish a handshake a moment after the client has.
        until("the kernel shows the client", || ss(address, (queued, 16)));
        let queue = handle.snapshot().listeners[0].queue.expect("it is open");
        assert_eq!((queue.depth, queue.limit, queue.drops), (Some(queued), Some(16), Some(0)));
        until("the metrics show it too", || {
            recorded.gauge(DEPTH, "truth") == Some(queued.into())
                && recorded.gauge(LIMIT, "truth") == Some(16.0)
                && recorded.counter(DROPS, "truth") == Some(0)
        });
        if queued < 17 {
            clients.push(TcpStream::connect(address).expect("there is room in the queue"));
        }
    }
    for _ in 0..23 {
        give_up(address);
    }
    until("all 23 are counted as drops", || {
        handle.snapshot().listeners[0].queue.expect("open").drops == Some(23)
    });
    until("the metric shows it too", || recorded.counter(DROPS, "truth") == Some(23));
    assert!(ss(address, (17, 16)), "those who were dropped are not in the queue");
    handle.resume();
    until("the queue is empty", || depth(&handle.snapshot()) == Some(0));
    let report = runtime.block_on(handle.drain(Duration::from_secs(30))).expect("nothing failed");
    assert_eq!((report.accepted, report.served.done), (17, 17), "{report}");
}

#[test]
fn drops_are_warned_of_with_their_number_and_the_queue() {
    assert!(heard("anteroom::listening", "nobody").is_empty(), "from now on it is listened");
    let runtime = runtime(1);
    let (listener, address) = listen("overflow", 4);
    let _inside = runtime.enter();
    let server =
        Server::builder().serve(listener, service_fn(async |_: Connection| io::Result::Ok(()))).start();
    let handle = server.as_ref().expect("it starts").handle();
    handle.pause();
    let _clients: Vec<_> = (0..5).map(|_| TcpStream::connect(address).expect("there is room")).collect();
    until("the queue is full", || depth(&handle.snapshot()) == Some(5));
    for _ in 0..7 {
        give_up(address);
    }
    let told = || -> u64 {
        let said = heard("anteroom::dropped", "overflow");
        said.iter().map(|said| said["fields"]["new"].as_u64().expect("a number")).sum()
    };
    until("all are told", || told() == 7);
    let said = heard("anteroom::dropped", "overflow").remove(0);
    assert_eq!(said["level"], "WARN");
    assert_eq!((&said["fields"]["depth"], &said["fields"]["limit"]), (&json!(5), &json!(4)), "{said}");
}

#[test]
fn a_listener_is_told_at_the_start_and_a_clamped_backlog_is_a_warning() {
    assert!(heard("anteroom::listening", "nobody").is_empty(), "from now on it is listened");
    let somaxconn: u32 = std::fs::read_to_string("/proc/sys/net/core/somaxconn")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .expect("the kernel tells its maximum");
    let runtime = runtime(1);
    let _inside = runtime.enter();
    let wide = listen("wide", somaxconn + 1);
    let narrow = listen("narrow", 8);
    let service = || service_fn(async |_: Connection| io::Result::Ok(()));
    let _server =
        Server::builder().serve(wide.0, service()).serve(narrow.0, service()).start().expect("it starts");
    let said = found("both are told", || {
        let all = [heard("anteroom::listening", "wide"), heard("anteroom::listening", "narrow")].concat();
        (all.len() == 2).then_some(all)
    });
    for (said, address, requested, effective) in
        [(&said[0], wide.1, somaxconn + 1, somaxconn), (&said[1], narrow.1, 8, 8)]
    {
        let fields = &said["fields"];
        assert_eq!(said["level"], "INFO");
        assert_eq!(fields["address"], address.to_string());
        assert_eq!((&fields["requested"], &fields["effective"]), (&json!(requested), &json!(effective)));
    }
    let clamped = found("the clamp is told", || heard("anteroom::backlog", "wide").pop());
    let fields = &clamped["fields"];
    assert_eq!(clamped["level"], "WARN");
    assert_eq!((&fields["requested"], &fields["effective"]), (&json!(somaxconn + 1), &json!(somaxconn)));
    assert!(
        fields["message"].to_string().contains("raise net.core.somaxconn"),
        "it says what to do: {clamped}"
    );
    assert!(heard("anteroom::backlog", "narrow").is_empty());
}

/// Gives the facts of every connection to the test.
fn tell(to: SyncSender<(Info, Instant)>) -> impl Fn(Connection) -> std::future::Ready<io::Result<()>> {
    move |connection| {
        let now = Instant::now();
        std::future::ready(to.send((connection.info().clone(), now)).map_err(io::Error::other))
    }
}

/// Lets one client wait in the kernel's queue for about 800 ms. Gives what is told of its wait, and the
/// bounds between which the wait lies by this test's own clock.
fn waited(
    handle: &Handle,
    address: SocketAddr,
    served: &Receiver<(Info, Instant)>,
) -> (Duration, Duration, Duration) {
    handle.pause();
    let before = Instant::now();
    let _client = TcpStream::connect(address).expect("it listens");
    let connected = Instant::now();
    // Not to synchronise: it is the wait that is to be told.
    std::thread::sleep(Duration::from_millis(800));
    let resumed = Instant::now();
    handle.resume();
    let (info, accepted) = served.recv_timeout(Duration::from_secs(30)).expect("it is served");
    (info.kernel_wait().expect("Linux tells it"), resumed - connected, accepted - before)
}

#[test]
fn a_wait_of_800_ms_in_the_kernels_queue_reads_800_ms_to_20() {
    let runtime = runtime(1);
    let (listener, address) = listen("wait", 16);
    let (to, served) = sync_channel(16);
    let _inside = runtime.enter();
    let server = Server::builder().serve(listener, service_fn(tell(to))).start().expect("it starts");
    let handle = server.handle();
    let tolerance = Duration::from_millis(20);
    let exact = (0..20).filter(|_| {
        let (told, least, most) = waited(&handle, address, &served);
        assert!(
            told + tolerance >= least && told <= most + tolerance,
            "{told:?} is not in {least:?}..{most:?}"
        );
        // A round that the machine did not hold up says it in the words of the promise.
        most < Duration::from_millis(810) && told.abs_diff(Duration::from_millis(800)) <= tolerance
    });
    assert_eq!(exact.take(3).count(), 3, "in 20 rounds the machine was always late: nothing was measured");
}

/// A service whose handlers hold their worker until they are let go.
fn blocking(hold: Arc<Mutex<()>>, entered: SyncSender<()>) -> impl Fn(Connection) -> BoxedHandler {
    move |connection| {
        let (hold, entered) = (Arc::clone(&hold), entered.clone());
        Box::pin(async move {
            entered.send(()).map_err(io::Error::other)?;
            drop(hold.lock());
            drop(connection);
            Ok(())
        })
    }
}

type BoxedHandler = std::pin::Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

#[test]
fn samples_are_at_most_a_second_old_while_every_worker_is_blocked() {
    let recorded = Recorded::here();
    let runtime = runtime(2);
    let (listener, address) = listen("blocked", 64);
    let hold = Arc::new(Mutex::new(()));
    let held = hold.lock().expect("nobody panicked");
    let (entered, blocked) = sync_channel(64);
    let _inside = runtime.enter();
    let service = service_fn(blocking(Arc::clone(&hold), entered));
    // Nobody is hopeless, however long the block lasts.
    let mut config = Config::default();
    config.order = Order::Fifo;
    let server = Server::builder().config(config).serve(listener, service).start().expect("it starts");
    let handle = server.handle();
    let mut clients: Vec<_> = (0..2).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    for _ in 0..2 {
        blocked.recv_timeout(Duration::from_secs(30)).expect("a worker is blocked");
    }
    until("both are open in the metrics, under their listener", || {
        recorded.gauge("anteroom_open_connections", "blocked") == Some(2.0)
            && recorded.gauge("anteroom_waiting_connections", "blocked") == Some(0.0)
    });
    let mut expected = 2;
    let lateness = Lateness::measure();
    for round in 0..6 {
        // Alternately the kernel's queue, with accepting paused, and what was accepted from it.
        let paused = round % 2 == 0;
        if paused {
            handle.pause()
        } else {
            handle.resume()
        }
        let changed = Instant::now();
        if paused {
            clients.extend((0..3).map(|_| TcpStream::connect(address).expect("there is room")));
            expected += 3;
            until("the gauge shows them", || recorded.gauge(DEPTH, "blocked") == Some(3.0));
        } else {
            until("the counter shows them", || {
                recorded.counter("anteroom_accepted_total", "blocked") == Some(expected)
            });
        }
        let age = changed.elapsed();
        let late = lateness.worst();
        // A second is the promise; by how much this machine wakes any thread too late is not the watch's.
        assert!(
            age <= Duration::from_secs(1) + late,
            "a sample came after {age:?}, the machine being {late:?} late"
        );
        assert_eq!(handle.snapshot().report.ended(), 0, "every worker is still blocked");
    }
    let waiting = handle.snapshot().listeners[0].waiting;
    assert_eq!((waiting, handle.snapshot().listeners[0].open), (9, 2), "two workers, two handlers");
    until("those who wait are in the metrics", || {
        recorded.gauge("anteroom_waiting_connections", "blocked") == Some(9.0)
    });
    drop(held);
    drop(clients);
    let report = runtime.block_on(handle.drain(Duration::from_secs(30))).expect("nothing failed");
    assert!(report.is_balanced() && report.accepted == expected, "{report}");
}
