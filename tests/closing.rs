//! How long what is open may live when a server or an `Incoming` is let go, and what comes too late.

#![allow(clippy::expect_used, reason = "a test that cannot go on says so")]

use std::future::pending;
use std::io::{self, Read, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anteroom::{AcceptOn, Address, Config, Connection, End, Incoming, Listener, Phase, Server, service_fn};
use anteroom_tests::clients::{PATIENCE, connect, read_to_end};
use anteroom_tests::waiting::{becomes, ends, until};
use socket2::Socket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

/// What a drain may take that nobody gave a time.
const DRAIN_WITHIN: Duration = Duration::from_millis(200);

/// Long past it.
const LONGER: Duration = Duration::from_secs(1);

const HOSTS: [AcceptOn; 3] = [AcceptOn::Taker, AcceptOn::Thread, AcceptOn::Task];

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn config(accept_on: AcceptOn) -> Config {
    let mut config = Config::default();
    config.accept_on = accept_on;
    config.drain_within = DRAIN_WITHIN;
    config
}

fn listen() -> (Listener, Address) {
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    (listener, address)
}

/// Watches a client's side for [`LONGER`]: nothing comes, no end either.
fn stays_open(mut client: &Socket) {
    client.set_read_timeout(Some(LONGER)).expect("SO_RCVTIMEO");
    let error = client.read(&mut [0]).expect_err("nobody sends, and nobody closes");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
    client.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
}

#[test]
fn dropping_a_server_does_not_shorten_a_drain_that_was_given_a_time() {
    for accept_on in HOSTS {
        let runtime = runtime();
        let (listener, address) = listen();
        let echo_one = async |mut connection: Connection| {
            let byte = connection.read_u8().await?;
            connection.write_u8(byte).await
        };
        let server = {
            let _inside = runtime.enter();
            let builder = Server::builder().config(config(accept_on));
            builder.serve(listener, service_fn(echo_one)).start().expect("it starts")
        };
        let handle = server.handle();
        let mut client = connect(&address);
        until("it is open", || handle.snapshot().open == 1);
        // 10 s would do on an idle machine: the test needs a bit more than `LONGER`.
        let stopped = handle.drain(Duration::from_secs(60));
        drop(server);
        stays_open(&client);
        assert_eq!(handle.phase(), Phase::Draining);
        client.write_all(b"x").and_then(|()| client.read_exact(&mut [0])).expect("it is served");
        let report = runtime.block_on(ends("it stops", stopped)).expect("a drain is no error");
        assert_eq!((report.accepted, report.served.done, report.served.cut), (1, 1, 0), "{report}");
    }
}

#[test]
fn a_server_that_is_dropped_without_a_drain_has_the_time_that_is_configured() {
    for accept_on in HOSTS {
        let runtime = runtime();
        let (listener, address) = listen();
        let never_ends = async |connection: Connection| {
            let _held = connection;
            pending::<io::Result<()>>().await
        };
        let server = {
            let _inside = runtime.enter();
            let builder = Server::builder().config(config(accept_on));
            builder.serve(listener, service_fn(never_ends)).start().expect("it starts")
        };
        let handle = server.handle();
        let client = connect(&address);
        until("it is open", || handle.snapshot().open == 1);
        drop(server);
        let report = runtime.block_on(ends("it stops", handle.stopped())).expect("a drop is no error");
        assert_eq!((report.accepted, report.served.cut), (1, 1), "{report}");
        assert_eq!(read_to_end(&client).expect("an orderly end"), "");
    }
}

#[test]
fn dropping_an_incoming_does_not_cut_what_was_taken_from_it() {
    for accept_on in HOSTS {
        let runtime = runtime();
        let (listener, address) = listen();
        let mut incoming = {
            let _inside = runtime.enter();
            Incoming::builder().config(config(accept_on)).listen(listener).start().expect("it starts")
        };
        let handle = incoming.handle();
        let clients = [connect(&address), connect(&address)];
        let mut taken: Vec<Connection> = runtime.block_on(async {
            let mut taken = Vec::new();
            for _ in 0..clients.len() {
                let accepted = ends("somebody is taken", incoming.accept()).await;
                taken.push(accepted.expect("the listener is well").expect("it goes on"));
            }
            taken
        });
        drop(incoming);
        stays_open(&clients[0]);
        assert_eq!(handle.phase(), Phase::Draining);
        assert_eq!(handle.snapshot().open, 2);
        runtime.block_on(async {
            for (connection, mut client) in taken.iter_mut().zip(&clients) {
                connection.write_all(b"still here\n").await.expect("its peer is there");
                client.write_all(b"x").expect("it is open");
                assert_eq!(connection.read_u8().await.expect("it was sent"), b'x');
            }
            drop(taken);
            let report = ends("it stops", handle.stopped()).await.expect("that is no error");
            assert_eq!((report.accepted, report.served.done, report.served.cut), (2, 2, 0), "{report}");
        });
        for client in &clients {
            assert_eq!(read_to_end(client).expect("an orderly end"), "still here\n");
        }
    }
}

#[test]
fn what_a_dropped_incoming_gave_out_can_still_be_given_a_time() {
    let runtime = runtime();
    let (listener, address) = listen();
    let mut incoming = {
        let _inside = runtime.enter();
        Incoming::builder().config(config(AcceptOn::Thread)).listen(listener).start().expect("it starts")
    };
    let handle = incoming.handle();
    let client = connect(&address);
    runtime.block_on(async {
        let accepted = ends("somebody is taken", incoming.accept()).await;
        let _taken = accepted.expect("the listener is well").expect("it goes on");
        drop(incoming);
        ends("it winds down", handle.draining()).await;
        let report = ends("it stops", handle.drain(DRAIN_WITHIN)).await.expect("a drain is no error");
        assert_eq!((report.accepted, report.served.cut), (1, 1), "{report}");
    });
    assert_eq!(read_to_end(&client).expect("an orderly end"), "");
}

/// Tells when it is dropped.
struct Tells(SyncSender<()>);

impl Drop for Tells {
    fn drop(&mut self) {
        // Nobody listens any more if the test has failed.
        let _heard = self.0.send(());
    }
}

/// On a thread only: an acceptor in a task may have to wait for the worker that the call blocks.
#[test]
fn a_future_that_a_call_returns_after_the_deadline_is_ended_and_counted_as_cut_once() {
    let runtime = runtime();
    let (listener, address) = listen();
    let (entered, is_in) = sync_channel(1);
    let (go, may_go) = sync_channel::<()>(1);
    let may_go = Arc::new(Mutex::new(may_go));
    let (dropped, is_dropped) = sync_channel(1);
    let (told, ends_told) = sync_channel(8);
    let returns_late = service_fn(move |connection: Connection| {
        entered.send(()).expect("the test hears it");
        let go = may_go.lock().unwrap_or_else(PoisonError::into_inner);
        go.recv_timeout(PATIENCE).expect("the test lets it go");
        let tells = Tells(dropped.clone());
        async move {
            let _held = (connection, tells);
            pending::<io::Result<()>>().await
        }
    });
    let server = {
        let _inside = runtime.enter();
        let builder = Server::builder().config(config(AcceptOn::Thread));
        let tell = move |_: &_, end: &End| told.send(matches!(end, End::Cut)).expect("it is heard");
        builder.on_end(tell).serve(listener, returns_late).start().expect("it starts")
    };
    let handle = server.handle();
    let client = connect(&address);
    is_in.recv_timeout(PATIENCE).expect("it is called");
    let bystander = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let stopped = handle.drain(DRAIN_WITHIN);
    let report = bystander.block_on(ends("it stops", stopped)).expect("a drain is no error");
    assert_eq!((report.accepted, report.served.cut), (1, 1), "{report}");

    go.send(()).expect("it waits for it");
    assert_eq!(read_to_end(&client).expect("an orderly end"), "");
    is_dropped.recv_timeout(PATIENCE).expect("its future is ended");
    assert!(ends_told.recv_timeout(PATIENCE).expect("the hook hears of it"), "and that it was cut");
    bystander.block_on(becomes("its place is free", || handle.snapshot().open == 0));
    drop((server, runtime));
    assert!(ends_told.recv_timeout(PATIENCE).is_err(), "the hook hears of it once");
    assert_eq!(handle.snapshot().report, report, "and it is counted once");
}
