//! One handler in a hundred panics, and one `call` in a hundred: nobody else notices. So it is with an
//! error that panics when it is looked into.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on fails; not every helper of a test counts as one"
)]

use std::future::Future;
use std::io;
use std::panic;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Once};
use std::task::{Context, Poll};
use std::thread;

use anteroom::{Address, Config, Connection, End, Listener, ServeError, Server, Share, service_fn};
use anteroom_testkit::{BOUND, eventually};
use anteroom_tests::clients::{ask, connect, read_to_end};
use anteroom_tests::lines::{Calls, answer, speak};
use tower_service::Service;

const CONNECTIONS: usize = 10_000;
const ONE_IN: usize = 100;
const PLACES: usize = 64;
const CLIENT_THREADS: usize = 8;

/// What the panics of this test say, to be kept out of its output.
const MESSAGE: &str = "this panic is meant";

/// Panics in one call of a hundred, and in the future of another one.
struct Panicky {
    called: usize,
    calls: Arc<Calls>,
}

impl Service<Connection> for Panicky {
    type Response = ();
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connection: Connection) -> Self::Future {
        let turn = self.called % ONE_IN;
        self.called += 1;
        assert!(turn != 0 || self.called > CONNECTIONS, "{MESSAGE}");
        let panics = turn == ONE_IN / 2 && self.called <= CONNECTIONS;
        let calls = Arc::clone(&self.calls);
        Box::pin(async move {
            tokio::task::yield_now().await;
            assert!(!panics, "{MESSAGE}");
            speak(connection, &calls).await
        })
    }
}

fn keep_the_meant_ones_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            let text = payload.downcast_ref::<&str>().copied();
            if text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)) != Some(MESSAGE) {
                others(info);
            }
        }));
    });
}

/// How many of so many clients get their answer.
fn answered(address: &Address, clients: usize) -> usize {
    let served = |number| {
        let line = format!("ask {number}");
        let client = connect(address);
        // Who is hit by a panic may find the connection closed before it has sent.
        std::io::Write::write_all(&mut &client, format!("{line}\n").as_bytes()).is_ok()
            && anteroom_tests::clients::next_line(&client).is_ok_and(|told| told == answer(&line))
    };
    (0..clients).filter(|&number| served(number)).count()
}

#[test]
fn a_panic_ends_one_connection_and_gives_its_place_back() {
    keep_the_meant_ones_quiet();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    let panicky = Panicky { called: 0, calls: Arc::default() };
    let server = {
        let _inside = runtime.enter();
        let mut config = Config::default();
        config.max_connections = Some(PLACES);
        // All come from one source, and it is to have every place.
        config.share = Share::unlimited();
        Server::builder().config(config).serve(listener, panicky).start().expect("it starts")
    };
    let handle = server.handle();

    let succeeded = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CLIENT_THREADS {
            scope.spawn(|| {
                let answered = answered(&address, CONNECTIONS / CLIENT_THREADS);
                succeeded.fetch_add(answered, Ordering::AcqRel);
            });
        }
    });
    let panicked = 2 * CONNECTIONS / ONE_IN;
    assert_eq!(succeeded.into_inner(), CONNECTIONS - panicked, "all others succeed");
    eventually("every place is free", BOUND, || handle.snapshot().open == 0);

    // Every place can be taken again, all at the same time.
    let clients: Vec<_> = (0..PLACES).map(|_| connect(&address)).collect();
    for client in &clients {
        assert_eq!(ask(client, "hold").expect("it is served"), answer("hold"));
    }
    assert_eq!(handle.snapshot().open, PLACES);
    drop(clients);

    let report = runtime.block_on(handle.drain(BOUND)).expect("a panic ends no server");
    assert_eq!(report.served.panicked, panicked as u64, "{report}");
    assert_eq!(report.served.done, (CONNECTIONS - panicked + PLACES) as u64, "{report}");
    assert_eq!(report.accepted, (CONNECTIONS + PLACES) as u64, "{report}");
    assert!(report.is_balanced(), "{report}");
    assert_eq!(handle.snapshot().open, 0);
}

/// An error that cannot be made one that can be told.
#[derive(Debug)]
struct Untellable;

impl From<Untellable> for Box<dyn std::error::Error + Send + Sync> {
    fn from(_: Untellable) -> Self {
        panic!("{MESSAGE}")
    }
}

#[test]
fn an_error_that_panics_when_it_is_converted_is_a_panic_of_one_connection() {
    keep_the_meant_ones_quiet();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    let calls = Arc::new(Calls::default());
    let counted = Arc::clone(&calls);
    let first_fails = service_fn(move |connection: Connection| {
        let calls = Arc::clone(&counted);
        calls.count();
        let is_first = calls.total() == 1;
        async move {
            speak(connection, &calls).await.map_err(|_| Untellable)?;
            if is_first { Err(Untellable) } else { Ok(()) }
        }
    });
    let (told, ends) = sync_channel(8);
    let server = {
        let _inside = runtime.enter();
        let tell = move |_: &_, end: &End| told.send(format!("{end:?}")).expect("it is heard");
        let builder = Server::builder().max_connections(1).on_end(tell);
        builder.serve(listener, first_fails).start().expect("it starts")
    };
    let handle = server.handle();
    // Two clients after one another: the place of the first is the second's.
    for line in ["first", "second"] {
        let client = connect(&address);
        assert_eq!(ask(&client, line).expect("it is served"), answer(line));
        drop(client);
    }
    let report = runtime.block_on(handle.drain(BOUND)).expect("a panic ends no server");
    assert_eq!((report.served.panicked, report.served.failed, report.served.done), (1, 0, 1), "{report}");
    assert!(report.is_balanced(), "{report}");
    drop((server, runtime));
    // The first one's place is free before its end is told: the second's may come first.
    let mut ends: Vec<_> = ends.iter().collect();
    ends.sort();
    assert_eq!(ends, ["Done", "Panicked"]);
}

/// Fails before it has served anybody.
struct Broken;

impl Service<Connection> for Broken {
    type Response = ();
    type Error = Untellable;
    type Future = std::future::Ready<Result<(), Untellable>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Untellable>> {
        Poll::Ready(Err(Untellable))
    }

    fn call(&mut self, _: Connection) -> Self::Future {
        std::future::ready(Ok(()))
    }
}

#[test]
fn a_service_whose_error_panics_when_it_is_converted_ends_the_server_as_one_that_failed() {
    keep_the_meant_ones_quiet();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    let server = {
        let _inside = runtime.enter();
        Server::builder().serve(listener, Broken).start().expect("it starts")
    };
    let client = connect(&address);
    let stopped = async { tokio::time::timeout(BOUND, server).await.expect("it ends by itself") };
    match runtime.block_on(stopped) {
        Err(ServeError::Service { report, .. }) => {
            assert_eq!((report.accepted, report.refused.closed), (1, 1), "{report}");
        }
        other => panic!("{other:?}"),
    }
    let error = read_to_end(&client).expect_err("it is refused");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}
