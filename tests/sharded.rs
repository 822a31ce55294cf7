//! Shards: where their services are made and run, how they start, share, stop, and fail.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test that cannot go on says so")]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anteroom::{
    Config, Connection, DescriptorBudget, Handle, Lane, Listener, Report, Server, StartError, service_fn,
};
use anteroom_testkit::BOUND;
use anteroom_tests::waiting::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime;

const SHARDS: usize = 3;

fn group() -> (Vec<Listener>, SocketAddr) {
    let shards = NonZeroUsize::new(SHARDS).expect("more than none");
    let listeners = Listener::builder().bind_group("127.0.0.1:0", shards).expect("a free port");
    let address = listeners[0].local_addr().tcp().expect("it is TCP");
    assert!(listeners.iter().all(|listener| listener.local_addr().tcp() == Some(address)));
    (listeners, address)
}

fn said_to(address: SocketAddr) -> String {
    let mut client = TcpStream::connect(address).expect("it listens");
    client.set_read_timeout(Some(BOUND)).expect("a socket");
    client.write_all(b"?").expect("it is connected");
    let mut said = String::new();
    client.read_to_string(&mut said).expect("it is answered");
    said
}

fn drained(handle: &Handle) -> Report {
    let outside = runtime::Builder::new_current_thread().build().expect("a runtime");
    outside.block_on(handle.drain(BOUND)).expect("nothing failed")
}

/// One at a time: the threads of this process are counted.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("Linux").count()
}

/// What is not `Send` stays on the thread on which it was made, and so does every connection.
#[test]
fn a_service_is_made_and_runs_on_its_shards_thread_without_a_runtime_around_it() {
    let _alone = alone();
    let (listeners, address) = group();
    let made = Arc::new(Mutex::new(Vec::new()));
    let server = Server::builder()
        .serve_sharded(listeners, {
            let made = Arc::clone(&made);
            move |number| {
                let name = thread::current().name().map(str::to_owned).expect("it has a name");
                assert_eq!(name, format!("anteroom-shard-{number}"));
                made.lock().expect("nobody panicked").push(number);
                // Only inside a runtime.
                let _timer = tokio::time::sleep(Duration::ZERO);
                let visitors = Rc::new(Cell::new(0));
                let me = thread::current().id();
                service_fn(move |mut connection: Connection| {
                    let visitors = Rc::clone(&visitors);
                    async move {
                        connection.read_exact(&mut [0]).await?;
                        assert_eq!(thread::current().id(), me);
                        visitors.set(visitors.get() + 1);
                        connection.write_all(number.to_string().as_bytes()).await
                    }
                })
            }
        })
        .start()
        .expect("it starts, outside of a runtime");
    let mut numbers = std::mem::take(&mut *made.lock().expect("nobody panicked"));
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2], "when it has started, everybody is there");
    let shards: BTreeSet<String> = (0..200).map(|_| said_to(address)).collect();
    assert_eq!(shards.len(), SHARDS, "the kernel spreads them");
    let handle = server.handle();
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.lanes.len(), snapshot.listeners.len()), (SHARDS, SHARDS));
    assert!(snapshot.listeners.iter().all(|listener| listener.report.accepted > 0));
    let before = threads();
    let report = drained(&handle);
    assert_eq!((report.served.done, report.accepted), (200, 200), "{report}");
    until("the shards' threads have ended", || threads() + SHARDS <= before);
}

#[test]
fn one_that_cannot_be_made_fails_the_start_and_leaves_nothing() {
    let _alone = alone();
    let (listeners, address) = group();
    let before = threads();
    let started = Server::builder()
        .serve_sharded(listeners, |number| {
            assert!(number != 1, "this one is to panic");
            service_fn(|_: Connection| async { Ok::<_, std::io::Error>(()) })
        })
        .start();
    let error = started.expect_err("a shard panicked");
    assert!(matches!(error, StartError::ShardPanicked { shard: 1 }), "{error:?}");
    assert!(error.to_string().contains("shard 1"), "{error}");
    TcpStream::connect(address).expect_err("nobody listens");
    until("their threads have ended", || threads() <= before);
}

#[test]
fn no_shards_are_nothing_to_serve() {
    let _alone = alone();
    let service = |_| service_fn(|_: Connection| async { Ok::<_, std::io::Error>(()) });
    let error = Server::builder().serve_sharded(Vec::<Listener>::new(), service).start().expect_err("none");
    assert!(matches!(error, StartError::NothingToServe), "{error:?}");
    let runtime =
        runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let admin = Listener::bind("127.0.0.1:0").expect("a free port");
    let beside = Server::builder().serve(admin, service(0)).serve_sharded(Vec::<Listener>::new(), service);
    let error = beside.start().expect_err("no shards, and that is no wish");
    assert!(matches!(error, StartError::NothingToServe), "{error:?}");
}

/// What a lane has set aside is its own, whoever shares the rest.
#[test]
fn a_lane_beside_shards_has_what_it_set_aside() {
    let _alone = alone();
    let (listeners, _) = group();
    let admin = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = admin.local_addr().tcp().expect("it is TCP");
    let runtime =
        runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let service =
        |_| service_fn(async |mut connection: Connection| connection.read_exact(&mut [0]).await.map(drop));
    let mut config = Config::default();
    config.descriptors = DescriptorBudget::Fixed(64);
    config.share.alpha = None;
    let server = Server::builder()
        .config(config)
        .serve(Lane::new(admin).set_aside(40), service(0))
        .serve_sharded(listeners, service)
        .start()
        .expect("it starts");
    let handle = server.handle();
    let clients: Vec<_> = (0..40).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    until("all forty are open", || handle.snapshot().open == clients.len());
}

/// An admin service beside the shards, on the application's runtime.
#[test]
fn shards_and_a_lane_of_the_runtime_share_a_server_but_no_limit() {
    let _alone = alone();
    let (listeners, address) = group();
    let admin = Listener::bind("127.0.0.1:0").expect("a free port");
    let admin_address = admin.local_addr().tcp().expect("it is TCP");
    let runtime =
        runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let server = Server::builder()
        .max_waiting(1)
        .serve(
            admin,
            service_fn(async |mut connection: Connection| {
                connection.read_exact(&mut [0]).await?;
                connection.write_all(b"admin").await
            }),
        )
        .serve_sharded(listeners.into_iter().map(|listener| Lane::new(listener).max_connections(1)), |_| {
            service_fn(async |mut connection: Connection| connection.read_exact(&mut [0]).await.map(drop))
        })
        .start()
        .expect("it starts");
    let handle = server.handle();
    let mut holders: Vec<TcpStream> = Vec::new();
    until("every shard is full, and somebody waits", || {
        holders.push(TcpStream::connect(address).expect("it listens"));
        handle.snapshot().open == SHARDS && handle.snapshot().waiting == SHARDS
    });
    let lanes = handle.snapshot().lanes;
    assert_eq!(
        lanes.iter().map(|lane| (lane.open, lane.waiting)).collect::<Vec<_>>(),
        [(0, 0), (1, 1), (1, 1), (1, 1)]
    );
    assert_eq!(said_to(admin_address), "admin");
    for holder in &mut holders {
        // Who was refused is gone.
        let _gone = holder.write_all(b"!");
    }
    let report = drained(&handle);
    assert!(report.is_balanced(), "{report}");
    assert_eq!(report.served.done, 2 * SHARDS as u64 + 1, "{report}");
}

#[test]
fn a_drain_cuts_what_does_not_end_on_any_shard() {
    let _alone = alone();
    let (listeners, address) = group();
    let server = Server::builder()
        .serve_sharded(listeners, |_| {
            service_fn(async |_held: Connection| std::future::pending::<std::io::Result<()>>().await)
        })
        .start();
    let handle = server.as_ref().map(Server::handle).expect("it starts");
    let clients: Vec<_> = (0..30).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    until("all are open", || handle.snapshot().open == clients.len());
    let outside = runtime::Builder::new_current_thread().build().expect("a runtime");
    let report = outside.block_on(handle.drain(Duration::from_millis(50))).expect("nothing failed");
    assert_eq!(report.served.cut, clients.len() as u64, "{report}");
    for mut client in clients {
        // Its end, or that it was reset: but it ends.
        client.set_read_timeout(Some(BOUND)).expect("a socket");
        match client.read(&mut [0]) {
            Ok(read) => assert_eq!(read, 0, "nothing was said"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
    }
    drop(server);
}
