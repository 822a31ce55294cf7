//! Runtimes that lack a driver: errors that say so, and nobody is lost.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::io;

use anteroom::{AcceptOn, Address, Config, Connection, Incoming, Listener, Server, StartError, service_fn};
use anteroom_tests::clients::{connect, read_to_end};
use anteroom_tests::waiting::{PATIENCE, ends, until};
use tokio::runtime::{Builder, Runtime};

fn whole() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn without_io() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime")
}

fn without_time() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_io().build().expect("a runtime")
}

fn in_a_task() -> Config {
    let mut config = Config::default();
    config.accept_on = AcceptOn::Task;
    config
}

fn listen() -> (Listener, Address) {
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    (listener, address)
}

fn start_server(on: &Runtime, config: Config) -> Result<Server, StartError> {
    let _inside = on.enter();
    let service = service_fn(|connection: Connection| async move {
        drop(connection);
        Ok::<_, io::Error>(())
    });
    Server::builder().config(config).serve(listen().0, service).start()
}

/// Which driver the error misses.
fn missing<T: std::fmt::Debug>(started: Result<T, StartError>) -> &'static str {
    match started {
        Err(StartError::NoDriver { driver, .. }) => driver,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_does_not_start_on_a_runtime_without_io() {
    let runtime = without_io();
    assert_eq!(missing(start_server(&runtime, Config::default())), "enable_io");
    assert_eq!(missing(start_server(&runtime, in_a_task())), "enable_io");
    let error = start_server(&runtime, Config::default()).expect_err("it has no driver");
    assert!(error.to_string().contains("enable_io"), "the error says what to do: {error}");
}

#[test]
fn accepting_in_a_task_does_not_start_on_a_runtime_without_time() {
    let runtime = without_time();
    assert_eq!(missing(start_server(&runtime, in_a_task())), "enable_time");
    let incoming = {
        let _inside = runtime.enter();
        Incoming::builder().config(in_a_task()).listen(listen().0).start()
    };
    assert_eq!(missing(incoming), "enable_time");
}

#[test]
fn accepting_on_a_thread_needs_no_time_of_the_runtime() {
    let runtime = without_time();
    let server = start_server(&runtime, Config::default()).expect("it needs only I/O");
    let report = whole().block_on(ends("it stops", server.handle().drain(PATIENCE)));
    assert_eq!(report.expect("a drain is no error").accepted, 0);
}

#[test]
fn an_incoming_in_a_task_does_not_start_on_a_runtime_without_io() {
    let runtime = without_io();
    let _inside = runtime.enter();
    assert_eq!(missing(Incoming::builder().config(in_a_task()).listen(listen().0).start()), "enable_io");
}

#[test]
fn accepting_on_a_runtime_without_io_is_an_error_and_loses_nobody() {
    let (listener, address) = listen();
    let mut incoming =
        Incoming::builder().max_wait(2 * PATIENCE).listen(listener).start().expect("it needs no runtime");
    let handle = incoming.handle();
    let client = connect(&address);
    until("it waits", || handle.snapshot().waiting == 1);
    let runtime = without_io();
    for _ in 0..2 {
        let error = runtime.block_on(ends("an answer", incoming.accept())).expect_err("it has no driver");
        let source = std::error::Error::source(&error).expect("it has a cause");
        assert!(source.to_string().contains("enable_io"), "the error says what to do: {source}");
        let snapshot = handle.snapshot();
        assert_eq!((snapshot.waiting, snapshot.open), (1, 0), "it waits on, and no place is taken");
    }
    drop(runtime);

    let runtime = whole();
    let accepted = runtime.block_on(ends("it is taken", incoming.accept()));
    drop(accepted.expect("here is a driver").expect("it has waited"));
    assert_eq!(read_to_end(&client).expect("an orderly end"), "");
    let stopped = handle.drain(PATIENCE);
    assert!(runtime.block_on(incoming.accept()).expect("a drain is no error").is_none());
    let report = runtime.block_on(ends("it stops", stopped)).expect("a drain is no error");
    assert_eq!((report.accepted, report.served.done), (1, 1), "{report}");
}

/// Its connections are let in by whoever polls it, wherever that is.
#[test]
fn an_incoming_that_goes_on_in_another_runtime_accepts_for_itself_there() {
    let (listener, address) = listen();
    let mut incoming = Incoming::builder().listen(listener).start().expect("it starts");
    let handle = incoming.handle();
    let clients = 20;
    for runtime in [whole(), whole()] {
        for _ in 0..clients {
            let client = connect(&address);
            let taken = runtime.block_on(ends("it is taken", incoming.accept()));
            drop((taken.expect("it accepts").expect("one"), client));
        }
    }
    let left_standing: u64 = handle.snapshot().listeners.iter().map(|listener| listener.left_standing).sum();
    assert!(left_standing < clients, "the guard did the second one's work: {left_standing}");
}
