//! Every errno of `accept`: whose fault it is decides whether the server goes on, and it always either
//! serves the next good connection or ends with an error.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anteroom::{
    AcceptErrorClass, Config, Connection, Incoming, Listener, OutOfDescriptors, ServeError, Server,
    ServerBuilder, service_fn,
};
use anteroom_tests::machine::{Lateness, thread_cpu, threads_named};
use anteroom_tests::waiting::{becomes, ends, until};
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Runtime};

const NOT_THE_LISTENERS: [(i32, AcceptErrorClass); 12] = [
    (libc::EINTR, AcceptErrorClass::Interrupted),
    (libc::EAGAIN, AcceptErrorClass::Empty),
    (libc::ECONNABORTED, AcceptErrorClass::Connection),
    (libc::EPROTO, AcceptErrorClass::Connection),
    (libc::ENETDOWN, AcceptErrorClass::Connection),
    (libc::EHOSTUNREACH, AcceptErrorClass::Connection),
    (libc::EPERM, AcceptErrorClass::Connection),
    (libc::ENOBUFS, AcceptErrorClass::Memory),
    (libc::ENOMEM, AcceptErrorClass::Memory),
    (libc::EMFILE, AcceptErrorClass::Descriptors),
    (libc::ENFILE, AcceptErrorClass::Descriptors),
    (9999, AcceptErrorClass::Unknown),
];

const THE_LISTENERS: [i32; 3] = [libc::EBADF, libc::EINVAL, libc::ENOTSOCK];

/// One test at a time: they measure.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// Errors that `accept` meets in turn, and when it met the last one.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<(VecDeque<i32>, Option<Instant>)>>);

impl Script {
    fn write(&self, errno: i32, times: usize) {
        self.0.lock().expect("nobody panicked").0.extend(std::iter::repeat_n(errno, times));
    }

    fn next(&self) -> Option<io::Error> {
        let (errors, met) = &mut *self.0.lock().expect("nobody panicked");
        let error = errors.pop_front()?;
        *met = Some(Instant::now());
        Some(io::Error::from_raw_os_error(error))
    }

    fn is_over(&self) -> bool {
        self.0.lock().expect("nobody panicked").0.is_empty()
    }

    fn met(&self) -> Instant {
        self.0.lock().expect("nobody panicked").1.expect("an error was met")
    }
}

fn listen() -> (Listener, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is TCP");
    (listener, address)
}

/// A server that greets everybody, and whose `accept` meets the script.
fn greeter(script: &Script) -> (ServerBuilder, SocketAddr) {
    let (listener, address) = listen();
    let script = script.clone();
    let greet = async |mut connection: Connection| connection.write_all(b"!").await;
    let builder =
        Server::builder().inject_accept_errors(move || script.next()).serve(listener, service_fn(greet));
    (builder, address)
}

/// Connects, waits for the greeting, and says how long that took.
fn greeted(address: SocketAddr) -> Duration {
    let since = Instant::now();
    let mut client = TcpStream::connect(address).expect("it listens");
    client.read_exact(&mut [0]).expect("it is greeted");
    since.elapsed()
}

#[test]
fn an_error_that_is_not_the_listeners_is_gone_on_from_within_a_second() {
    let _alone = alone();
    let runtime = runtime();
    let _inside = runtime.enter();
    for (errno, class) in NOT_THE_LISTENERS {
        let script = Script::default();
        let (builder, address) = greeter(&script);
        let server = builder.start().expect("it starts");
        let handle = server.handle();
        assert!(greeted(address) < Duration::from_secs(30));
        // Want of descriptors refuses one connection for each error, and any want makes a pause of 100 ms;
        // the others are met often enough to be past what goes without a pause.
        let times = match class {
            AcceptErrorClass::Descriptors => 1,
            AcceptErrorClass::Memory => 3,
            _ => 20,
        };
        script.write(errno, times);
        let _met = TcpStream::connect(address).expect("it listens");
        until("the errors are met", || script.is_over());
        let lateness = Lateness::measure();
        let took = greeted(address);
        let late = lateness.worst();
        assert!(
            took <= Duration::from_secs(1) + late,
            "{class:?} {errno}: {took:?}, the machine {late:?} late"
        );
        let counted = handle.snapshot().listeners.remove(0).accept_errors;
        let of_class = counted.iter().find(|(known, _)| *known == class).map(|(_, count)| *count);
        // Signals and an empty queue are no errors: the batch deals with them, and nobody counts them.
        let is_error = !matches!(class, AcceptErrorClass::Interrupted | AcceptErrorClass::Empty);
        assert_eq!(of_class, is_error.then_some(times as u64), "{class:?} {errno}");
        let report = runtime.block_on(handle.drain(Duration::from_secs(30))).expect("nothing failed");
        assert!(report.is_balanced(), "{report}");
        let shed = u64::from(class == AcceptErrorClass::Descriptors);
        assert_eq!((report.accepted, report.refused.resources), (3, shed), "{class:?} {errno}: {report}");
    }
}

#[test]
fn an_error_of_the_listener_ends_the_server_with_it_and_a_report_within_100_ms() {
    let _alone = alone();
    let runtime = runtime();
    let _inside = runtime.enter();
    for errno in THE_LISTENERS {
        let script = Script::default();
        let (builder, address) = greeter(&script);
        let server = builder.start().expect("it starts");
        greeted(address);
        until("the greeted connection has ended", || server.handle().snapshot().report.served.done == 1);
        let lateness = Lateness::measure();
        script.write(errno, 1);
        let _met = TcpStream::connect(address).expect("it listens");
        let ended = runtime.block_on(ends("the server ends", server));
        let took = script.met().elapsed();
        let late = lateness.worst();
        assert!(took <= Duration::from_millis(100) + late, "{errno}: {took:?}, the machine {late:?} late");
        match ended {
            Err(ServeError::Listener { source, report }) => {
                assert_eq!((report.accepted, report.served.done), (1, 1), "{report}");
                assert_eq!(source.listener(), address.to_string());
                let kind = io::Error::from_raw_os_error(errno).kind();
                assert_eq!(source.kind(), kind, "{source}");
            }
            other => panic!("{errno}: {other:?}"),
        }
        assert!(TcpStream::connect(address).is_err(), "{errno}: the listener is closed");
    }
}

#[test]
fn what_is_open_is_served_to_its_end_before_a_broken_listener_ends_the_server() {
    let _alone = alone();
    let runtime = runtime();
    let _inside = runtime.enter();
    let script = Script::default();
    let (listener, address) = listen();
    let faults = script.clone();
    let echo_one = async |mut connection: Connection| {
        let mut byte = [0];
        tokio::io::AsyncReadExt::read_exact(&mut connection, &mut byte).await?;
        connection.write_all(&byte).await
    };
    let server = Server::builder()
        .inject_accept_errors(move || faults.next())
        .serve(listener, service_fn(echo_one))
        .start()
        .expect("it starts");
    let mut open = TcpStream::connect(address).expect("it listens");
    until("it is open", || server.handle().snapshot().open == 1);
    script.write(libc::EBADF, 1);
    let _met = TcpStream::connect(address).expect("it listens");
    runtime.block_on(ends("the server drains", server.handle().draining()));
    open.write_all(b"x").and_then(|()| open.read_exact(&mut [0])).expect("it is still served");
    match runtime.block_on(ends("the server ends", server)) {
        Err(ServeError::Listener { report, .. }) => assert_eq!((report.accepted, report.served.done), (1, 1)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn want_of_descriptors_is_the_end_where_that_was_asked_for() {
    let _alone = alone();
    let runtime = runtime();
    let _inside = runtime.enter();
    for errno in [libc::EMFILE, libc::ENFILE] {
        let script = Script::default();
        let (builder, address) = greeter(&script);
        let mut config = Config::default();
        config.out_of_descriptors = OutOfDescriptors::Fail;
        let server = builder.config(config).start().expect("it starts");
        greeted(address);
        script.write(errno, 1);
        let _met = TcpStream::connect(address).expect("it listens");
        match runtime.block_on(ends("the server ends", server)) {
            Err(ServeError::Listener { report, .. }) => {
                assert!(report.is_balanced(), "{report}");
                assert_eq!((report.accepted, report.refused.total()), (1, 0), "nobody is shed: {report}");
            }
            other => panic!("{errno}: {other:?}"),
        }
    }
}

#[test]
fn aborted_connections_without_a_break_cost_less_than_a_twentieth_of_a_core() {
    const FOR: Duration = Duration::from_secs(5);
    let _alone = alone();
    let runtime = runtime();
    let _inside = runtime.enter();
    let (listener, address) = listen();
    let broken = Arc::new(AtomicBool::new(false));
    let still = Arc::clone(&broken);
    let greet = async |mut connection: Connection| connection.write_all(b"!").await;
    let server = Server::builder()
        .inject_accept_errors(move || {
            still.load(Ordering::Relaxed).then(|| io::Error::from_raw_os_error(libc::ECONNABORTED))
        })
        .serve(listener, service_fn(greet))
        .start()
        .expect("it starts");
    greeted(address);
    let accept = threads_named("self", "anteroom-accept");
    let [thread] = accept[..] else { panic!("one acceptor runs: {accept:?}") };
    // So long that both are told of the next one, whoever takes and the acceptor.
    std::thread::sleep(Duration::from_millis(400));
    broken.store(true, Ordering::Relaxed);
    let waiting = TcpStream::connect(address).expect("it listens");
    let before = thread_cpu("self", thread);
    // The time over which the cost is measured.
    std::thread::sleep(FOR);
    let cost = thread_cpu("self", thread) - before;
    assert!(cost < FOR / 20, "{cost:?} of CPU in {FOR:?}");
    let errors = server.handle().snapshot().listeners.remove(0).accept_errors;
    let aborted = errors.iter().find(|(class, _)| *class == AcceptErrorClass::Connection).expect("counted").1;
    assert!(aborted > 10, "it was tried all the time: {aborted}");
    broken.store(false, Ordering::Relaxed);
    let lateness = Lateness::measure();
    let took = greeted(address);
    assert!(took <= Duration::from_secs(1) + lateness.worst(), "{took:?}");
    drop(waiting);
}

#[test]
fn an_incoming_gives_what_waited_then_the_error_then_nothing() {
    let _alone = alone();
    let runtime = runtime();
    let script = Script::default();
    let faults = script.clone();
    let (listener, address) = listen();
    let mut incoming = Incoming::builder()
        .inject_accept_errors(move || faults.next())
        .listen(listener)
        .start()
        .expect("it starts");
    let handle = incoming.handle();
    let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    until("all wait in the room", || handle.snapshot().waiting == 3);
    script.write(libc::EINVAL, 1);
    let _met = TcpStream::connect(address).expect("it listens");
    runtime.block_on(async {
        ends("it drains", handle.draining()).await;
        let exhausted = handle.exhausted();
        for client in &clients {
            let connection =
                ends("one is given", incoming.accept()).await.expect("not yet").expect("somebody");
            assert_eq!(connection.peer_addr().tcp(), client.local_addr().ok(), "in their order");
        }
        ends("everybody has been handed out", exhausted).await;
        let error = ends("the error is given", incoming.accept()).await.expect_err("the listener is broken");
        assert_eq!(error.listener(), address.to_string());
        assert!(ends("the end", incoming.accept()).await.expect("it was said").is_none());
        assert!(ends("the end", incoming.accept()).await.expect("it stays").is_none());
        becomes("all is over", || handle.phase() == anteroom::Phase::Stopped).await;
        match handle.stopped().await {
            Err(ServeError::Listener { report, .. }) => {
                assert_eq!((report.accepted, report.served.done), (3, 3), "{report}");
            }
            other => panic!("{other:?}"),
        }
    });
}
