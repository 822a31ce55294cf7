//! Readiness follows the server: its phases at once, and whether it keeps up with hysteresis; and permits that are
//! held of connections that have ended are called leaked.

#![allow(clippy::expect_used, reason = "a test that cannot go on says so")]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anteroom::{
    Address, Config, Connection, Handle, Listener, Permit, Readiness, Server, StallCause, StallWatch,
    Unready, service_fn,
};
use anteroom_tests::clients::{connect, next_line, read_to_end, send};
use anteroom_tests::waiting::{becomes, ends};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Nobody is to be refused because the machine is slow.
const LONG: Duration = Duration::from_secs(600);

fn listen() -> (Listener, Address) {
    let listener = Listener::builder().name("main").bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    (listener, address)
}

fn config() -> Config {
    let mut watch = StallWatch::default();
    watch.leaked_after = Duration::from_millis(100);
    let mut config = Config::default();
    config.max_connections = Some(1);
    config.max_wait = LONG;
    config.order = anteroom::Order::Fifo;
    config.stall_watch = Some(watch);
    config
}

/// Answers lines until the client closes.
async fn echo(mut connection: Connection) -> io::Result<()> {
    let mut bytes = [0; 64];
    loop {
        match connection.read(&mut bytes).await? {
            0 => return Ok(()),
            read => connection.write_all(bytes.get(..read).unwrap_or_default()).await?,
        }
    }
}

/// What `is` gives of one of the stalls of the moment.
fn stalled<T>(handle: &Handle, is: impl Fn(&StallCause) -> Option<T>) -> Option<T> {
    handle.snapshot().stalls.iter().find_map(|stall| is(&stall.cause))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_long_makes_it_unready_until_nobody_does() {
    let (listener, at) = listen();
    let server =
        Server::builder().config(config()).serve(listener, service_fn(echo)).start().expect("it starts");
    let handle = server.handle();
    let mut ready = handle.ready();
    ends("it is ready", ready.until_ready()).await;

    let first = connect(&at);
    send(&first, "one");
    assert_eq!(next_line(&first).expect("an answer"), "one");
    let second = connect(&at);
    send(&second, "two");
    let now = ends("it does not keep up", ready.changed()).await;
    assert_eq!(now, Readiness::NotReady(Unready::LongWait));
    assert!(!handle.is_ready() && handle.snapshot().readiness == now);
    let open = stalled(&handle, |cause| match cause {
        StallCause::LimitReached { lane: 0, listeners, open } if listeners == &["main"] => Some(*open),
        _ => None,
    });
    assert_eq!(open, Some(1), "{:?}", handle.snapshot().stalls);

    drop(first);
    assert_eq!(ends("it keeps up again", ready.changed()).await, Readiness::Ready);
    assert_eq!(next_line(&second).expect("an answer"), "two");
    becomes("nothing is stalled any more", || handle.snapshot().stalls.is_empty()).await;
    let told = handle.snapshot().stalls_so_far;
    assert!(told.contains(&("limit_reached", 1)), "{told:?}");
}

/// One source alone does not get the last of eighteen places. What it wants beyond waits, and is nobody's stall.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stands_back_for_its_source_s_share_makes_nothing_unready() {
    let (listener, at) = listen();
    let mut config = config();
    config.max_connections = Some(18);
    let server =
        Server::builder().config(config).serve(listener, service_fn(echo)).start().expect("it starts");
    let handle = server.handle();
    let clients: Vec<_> = (0..19).map(|_| connect(&at)).collect();
    becomes("all that its share allows are open", || handle.snapshot().open == 17).await;
    for client in clients.iter().take(17) {
        send(client, "x");
        assert_eq!(next_line(client).expect("an answer"), "x");
    }
    // Several times as long as it takes until a wait makes a server unready.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let snapshot = handle.snapshot();
        assert_eq!((snapshot.open, snapshot.waiting), (17, 2));
        assert!(handle.is_ready() && snapshot.stalls.is_empty(), "{:?}", snapshot.stalls);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phases_and_a_pause_are_told_at_once_and_in_order() {
    let (listener, _) = listen();
    let server = Server::builder().serve(listener, service_fn(echo)).start().expect("it starts");
    let handle = server.handle();
    let mut ready = handle.ready();
    handle.pause();
    assert_eq!(ends("a change", ready.changed()).await, Readiness::NotReady(Unready::Paused));
    handle.resume();
    assert_eq!(ends("a change", ready.changed()).await, Readiness::Ready);
    handle.lame_duck();
    assert_eq!(ends("a change", ready.changed()).await, Readiness::NotReady(Unready::LameDuck));
    ends("it stops", handle.drain(LONG)).await.expect("nothing failed");
    assert_eq!(ends("a change", ready.changed()).await, Readiness::NotReady(Unready::Stopped));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_watch_readiness_knows_phases_only() {
    let (listener, at) = listen();
    let mut config = config();
    config.stall_watch = None;
    let server =
        Server::builder().config(config).serve(listener, service_fn(echo)).start().expect("it starts");
    let handle = server.handle();
    let _both = [connect(&at), connect(&at)];
    let waits = || handle.snapshot().oldest_wait.is_some_and(|wait| wait > Duration::from_secs(1));
    becomes("somebody waits for long", waits).await;
    assert!(handle.is_ready() && handle.snapshot().stalls.is_empty());
    handle.lame_duck();
    assert!(!handle.is_ready());
    assert!(handle.reconfigure(|config| config.stall_watch = Some(StallWatch::default())).is_err());
}

/// The handler's socket is closed, and somebody keeps the place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_that_outlives_its_connection_is_called_leaked_and_no_more_once_it_is_dropped() {
    let (listener, at) = listen();
    let kept: Arc<Mutex<Vec<Permit>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let service = service_fn(move |connection: Connection| {
        let keep = Arc::clone(&keep);
        async move {
            let (mut io, permit, _) = connection.into_parts();
            keep.lock().expect("nobody panics").push(permit);
            io.write_all(b"bye\n").await
        }
    });
    let server = Server::builder().config(config()).serve(listener, service).start().expect("it starts");
    let handle = server.handle();
    let client = connect(&at);
    assert_eq!(read_to_end(&client).expect("an end"), "bye\n");
    let leaked = |handle: &Handle| {
        stalled(handle, |cause| match cause {
            StallCause::PermitsLeaked { permits, .. } => Some(*permits),
            _ => None,
        })
    };
    becomes("the permit is called leaked", || leaked(&handle) == Some(1)).await;
    kept.lock().expect("nobody panics").clear();
    becomes("it is not any more", || leaked(&handle).is_none()).await;
}

/// The classic: the connection sits in a map, its task is over, its client is gone, and nobody closes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_kept_after_its_peer_has_gone_is_called_leaked() {
    let (listener, at) = listen();
    let kept: Arc<Mutex<Vec<Connection>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let service = service_fn(move |connection: Connection| {
        keep.lock().expect("nobody panics").push(connection);
        async { io::Result::Ok(()) }
    });
    let server = Server::builder().config(config()).serve(listener, service).start().expect("it starts");
    let handle = server.handle();
    let client = connect(&at);
    becomes("it is kept", || handle.snapshot().report.served.done == 1).await;
    let is_leaked = || {
        stalled(&handle, |cause| matches!(cause, StallCause::PermitsLeaked { permits: 1, .. }).then_some(()))
            .is_some()
    };
    let watch = Duration::from_secs(1);
    tokio::time::sleep(watch).await;
    assert!(!is_leaked(), "its client is there: it may be served by somebody else");
    drop(client);
    becomes("it is called leaked", is_leaked).await;
}
