//! What a server does when it has to end without those who hold it up: handlers that never end, that keep
//! their thread, permits that nobody gives back, and a runtime that goes away under it.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::error::Error;
use std::future::pending;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anteroom::{
    AcceptOn, Config, Connection, End, Incoming, Listener, Permit, Phase, ServeError, Server, service_fn,
};
use anteroom_tests::machine::Lateness;
use anteroom_tests::waiting::{PATIENCE, ends, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

/// Given to each drain here.
const WITHIN: Duration = Duration::from_millis(200);

/// What those that are cut have left to end.
const GRACE: Duration = Duration::from_millis(250);

const HOSTS: [AcceptOn; 3] = [AcceptOn::Taker, AcceptOn::Thread, AcceptOn::Task];

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Another runtime, whose worker nobody blocks.
fn bystander() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn config(accept_on: AcceptOn) -> Config {
    let mut config = Config::default();
    config.accept_on = accept_on;
    config
}

fn listen() -> (Listener, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is TCP");
    (listener, address)
}

fn connect(to: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(to).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("it can be set");
    client
}

/// Reads until the connection ends, however it does.
fn sees_the_end(mut client: &TcpStream) {
    let ended = client.read(&mut [0]);
    assert!(matches!(&ended, Ok(0)) || ended.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock));
}

/// By the deadline and the grace. The acceptor waits twice, for whole milliseconds, and then this thread is
/// woken: what that takes comes on top, and how late this machine is with each.
fn assert_in_time(took: Duration, late: Duration) {
    let most = WITHIN + GRACE + Duration::from_millis(5) + 3 * late;
    assert!(took <= most, "{took:?}, the machine being {late:?} late");
}

#[test]
fn handlers_that_never_end_are_cut_at_the_deadline() {
    for accept_on in HOSTS {
        let runtime = runtime();
        let (listener, address) = listen();
        let (told, ended) = sync_channel(8);
        let service = service_fn(async |connection: Connection| {
            let _held = connection;
            pending::<io::Result<()>>().await
        });
        let server = {
            let _inside = runtime.enter();
            let builder = Server::builder().config(config(accept_on));
            let tell = move |_: &_, end: &End| told.send(matches!(end, End::Cut)).expect("it is heard");
            builder.on_end(tell).serve(listener, service).start().expect("it starts")
        };
        let handle = server.handle();
        let clients: Vec<_> = (0..3).map(|_| connect(address)).collect();
        until("all are open", || handle.snapshot().open == 3);
        let (lateness, began) = (Lateness::measure(), Instant::now());
        let report = runtime.block_on(ends("it stops", handle.drain(WITHIN))).expect("nothing failed");
        let (took, late) = (began.elapsed(), lateness.worst());
        assert_eq!((report.accepted, report.served.cut), (3, 3), "{report}");
        assert!(took >= WITHIN, "they had their time: {took:?}");
        assert_in_time(took, late);
        clients.iter().for_each(sees_the_end);
        for _ in 0..3 {
            assert!(ended.recv_timeout(PATIENCE).expect("the hook hears of each"), "and that it was cut");
        }
        drop(server);
    }
}

/// Handlers stand here, and keep their thread, until the test lets them go.
#[derive(Clone)]
struct Hold {
    entered: SyncSender<()>,
    go: Arc<Mutex<Receiver<()>>>,
}

impl Hold {
    fn new() -> (Self, Receiver<()>, SyncSender<()>) {
        let (entered, held) = sync_channel(8);
        let (release, go) = sync_channel(8);
        (Self { entered, go: Arc::new(Mutex::new(go)) }, held, release)
    }

    fn keep_the_thread(&self) {
        self.entered.send(()).expect("the test hears it");
        let go = self.go.lock().unwrap_or_else(PoisonError::into_inner);
        go.recv_timeout(PATIENCE).expect("the test lets it go");
    }
}

#[test]
fn handlers_that_keep_every_worker_do_not_keep_the_server_from_stopping() {
    let runtime = runtime();
    let (listener, address) = listen();
    let (hold, held, release) = Hold::new();
    let service = service_fn(move |connection: Connection| {
        let hold = hold.clone();
        async move {
            hold.keep_the_thread();
            drop(connection);
            Ok::<_, io::Error>(())
        }
    });
    let server = {
        let _inside = runtime.enter();
        Server::builder().serve(listener, service).start().expect("it starts")
    };
    let handle = server.handle();
    let _clients = [connect(address), connect(address)];
    for _ in 0..2 {
        held.recv_timeout(PATIENCE).expect("a worker is kept");
    }
    // Nobody is there to take this one.
    let waits = connect(address);
    until("it waits", || handle.snapshot().waiting == 1);
    let (lateness, began) = (Lateness::measure(), Instant::now());
    let stopped = handle.drain(WITHIN);
    let report = bystander().block_on(ends("it stops", stopped)).expect("nothing failed");
    let (took, late) = (began.elapsed(), lateness.worst());
    assert_in_time(took, late);
    assert_eq!((report.accepted, report.served.cut, report.refused.closed), (3, 2, 1), "{report}");
    assert!(report.is_balanced(), "{report}");
    sees_the_end(&waits);
    assert_eq!(handle.phase(), Phase::Stopped);
    // What they tell when they come to their end after all changes nothing.
    for _ in 0..2 {
        release.send(()).expect("it waits for it");
    }
    drop((server, runtime));
    assert_eq!(handle.snapshot().report, report);
    assert_eq!(handle.snapshot().open, 0);
}

#[test]
fn a_permit_that_outlives_its_handler_is_waited_for_until_the_deadline() {
    let runtime = runtime();
    let (listener, address) = listen();
    let (give, kept) = sync_channel::<Permit>(2);
    let service = service_fn(move |connection: Connection| {
        let (_socket, permit, _info) = connection.into_parts();
        std::future::ready(give.send(permit).map_err(io::Error::other))
    });
    let server = {
        let _inside = runtime.enter();
        Server::builder().serve(listener, service).start().expect("it starts")
    };
    let handle = server.handle();
    let _clients = [connect(address), connect(address)];
    let permits = [kept.recv_timeout(PATIENCE).expect("one"), kept.recv_timeout(PATIENCE).expect("another")];
    until("their handlers have ended", || handle.snapshot().report.served.done == 2);
    assert_eq!(handle.snapshot().open, 2, "their places are taken");
    let stopped = handle.drain(WITHIN);
    let [first, second] = permits;
    drop(first);
    let report = runtime.block_on(ends("it stops", stopped)).expect("nothing failed");
    assert_eq!((report.accepted, report.served.done, report.served.cut), (2, 2, 0), "{report}");
    drop(second);
    assert_eq!(handle.snapshot().open, 0);
    drop(server);
}

#[test]
fn what_an_incoming_gave_out_is_cut_at_the_deadline_even_if_somebody_notices() {
    for accept_on in HOSTS {
        let runtime = runtime();
        let (listener, address) = listen();
        let mut incoming = {
            let _inside = runtime.enter();
            Incoming::builder().config(config(accept_on)).listen(listener).start().expect("it starts")
        };
        let handle = incoming.handle();
        let _clients = [connect(address), connect(address)];
        runtime.block_on(async {
            let mut reads = incoming.accept().await.expect("it is well").expect("somebody");
            let _forgotten = incoming.accept().await.expect("it is well").expect("somebody");
            let stopped = handle.drain(WITHIN);
            assert_eq!(ends("it is shut down", reads.read(&mut [0])).await.expect("an end"), 0);
            drop(reads);
            let report = ends("it stops", stopped).await.expect("nothing failed");
            assert_eq!((report.accepted, report.served.cut), (2, 2), "{report}");
        });
    }
}

#[test]
fn a_runtime_that_goes_away_under_a_server_is_an_error_with_a_balanced_report() {
    for accept_on in HOSTS {
        let runtime = runtime();
        let (listener, address) = listen();
        let service = service_fn(async |connection: Connection| {
            let _held = connection;
            pending::<io::Result<()>>().await
        });
        let server = {
            let _inside = runtime.enter();
            let builder = Server::builder().config(config(accept_on));
            builder.max_connections(2).serve(listener, service).start().expect("it starts")
        };
        let handle = server.handle();
        let clients: Vec<_> = (0..5).map(|_| connect(address)).collect();
        until("2 are open, and 3 wait", || {
            let snapshot = handle.snapshot();
            (snapshot.open, snapshot.waiting) == (2, 3)
        });
        drop(runtime);
        match bystander().block_on(ends("it stops", server)) {
            Err(ServeError::RuntimeGone { report }) => {
                assert!(report.is_balanced(), "{report}");
                assert_eq!(
                    (report.accepted, report.served.cut, report.refused.closed),
                    (5, 2, 3),
                    "{report}"
                );
            }
            other => panic!("{other:?}"),
        }
        clients.iter().for_each(sees_the_end);
        assert!(TcpStream::connect(address).is_err(), "the listener is closed");
    }
}

#[test]
fn a_runtime_that_goes_away_under_an_incoming_in_a_task_ends_it() {
    let runtime = runtime();
    let (listener, address) = listen();
    let mut incoming = {
        let _inside = runtime.enter();
        Incoming::builder().config(config(AcceptOn::Task)).listen(listener).start().expect("it starts")
    };
    let handle = incoming.handle();
    let _client = connect(address);
    until("it waits", || handle.snapshot().waiting == 1);
    drop(runtime);
    bystander().block_on(async {
        let error = ends("the end", incoming.accept()).await.expect_err("that is no clean end");
        assert!(error.source().is_some_and(|source| source.to_string().contains("runtime")), "{error:?}");
        assert!(ends("after the end", incoming.accept()).await.expect("it was told").is_none());
        match ends("it stops", handle.stopped()).await {
            Err(ServeError::RuntimeGone { report }) => {
                assert_eq!((report.accepted, report.refused.closed), (1, 1), "{report}");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_server_that_is_dropped_serves_who_has_come_to_the_end() {
    for accept_on in HOSTS {
        let runtime = runtime();
        let (listener, address) = listen();
        let echo_one = async |mut connection: Connection| {
            let byte = connection.read_u8().await?;
            connection.write_u8(byte).await
        };
        let server = {
            let _inside = runtime.enter();
            let builder = Server::builder().config(config(accept_on)).max_connections(1);
            builder.serve(listener, service_fn(echo_one)).start().expect("it starts")
        };
        let handle = server.handle();
        handle.pause();
        let mut clients: Vec<_> = (0..3).map(|_| connect(address)).collect();
        // All three are in the kernel's queue, and accepting is paused: the drain takes them all the same.
        drop(server);
        runtime.block_on(ends("it drains", handle.draining()));
        for client in &mut clients {
            client.write_all(b"x").and_then(|()| client.read_exact(&mut [0])).expect("it is served");
        }
        let report = runtime.block_on(ends("it stops", handle.stopped())).expect("nothing failed");
        assert_eq!((report.accepted, report.served.done), (3, 3), "{report}");
    }
}

#[test]
fn an_incoming_that_is_dropped_refuses_who_waits_and_closes_its_listener() {
    for accept_on in HOSTS {
        let runtime = runtime();
        let (listener, address) = listen();
        let incoming = {
            let _inside = runtime.enter();
            Incoming::builder().config(config(accept_on)).listen(listener).start().expect("it starts")
        };
        let handle = incoming.handle();
        let waiting: Vec<_> = (0..4).map(|_| connect(address)).collect();
        until("all wait", || handle.snapshot().waiting == 4);
        drop(incoming);
        let report = runtime.block_on(ends("it stops", handle.stopped())).expect("that is no error");
        assert_eq!((report.accepted, report.refused.closed), (4, 4), "{report}");
        waiting.iter().for_each(sees_the_end);
        assert!(TcpStream::connect(address).is_err(), "the listener is closed");
    }
}

#[test]
fn a_drain_during_want_of_descriptors_ends_at_its_deadline_and_is_no_error() {
    for accept_on in HOSTS {
        let runtime = runtime();
        let (listener, address) = listen();
        let service = service_fn(async |_: Connection| Ok::<_, io::Error>(()));
        let server = {
            let _inside = runtime.enter();
            let builder = Server::builder().config(config(accept_on));
            let want = || Some(io::Error::from_raw_os_error(libc::EMFILE));
            builder.inject_accept_errors(want).serve(listener, service).start().expect("it starts")
        };
        let handle = server.handle();
        let clients: Vec<_> = (0..50).map(|_| connect(address)).collect();
        let (lateness, began) = (Lateness::measure(), Instant::now());
        let report = runtime.block_on(ends("it stops", handle.drain(WITHIN))).expect("want is no failure");
        let (took, late) = (began.elapsed(), lateness.worst());
        assert_in_time(took, late);
        assert!(report.is_balanced() && report.refused.resources == report.accepted, "{report}");
        clients.iter().for_each(sees_the_end);
        assert!(TcpStream::connect(address).is_err(), "the listener is closed");
        drop(server);
    }
}
