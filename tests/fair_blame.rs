//! What looks like a stall of one kind and is another, or none: nobody is blamed for what others did, or for a time
//! that they did not have.

#![allow(clippy::expect_used, reason = "a test that cannot go on says so")]

use std::future::ready;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anteroom::{
    Address, Cause, Config, Connection, Handle, Incoming, Listener, Server, Stall, StallCause, StallWatch,
    Unready, Verdict, service_fn,
};
use anteroom_tests::clients::{ask, connect, next_line, send};
use anteroom_tests::waiting::{becomes, ends};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

/// Nobody is to be refused because the machine is slow.
const LONG: Duration = Duration::from_secs(600);

fn listen() -> (Listener, Address) {
    let listener = Listener::builder().name("main").bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    (listener, address)
}

fn config() -> Config {
    let mut watch = StallWatch::default();
    watch.leaked_after = Duration::from_millis(300);
    let mut config = Config::default();
    config.max_wait = LONG;
    config.order = anteroom::Order::Fifo;
    config.share = anteroom::Share::unlimited();
    config.stall_watch = Some(watch);
    config
}

fn workers(workers: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(workers).enable_all().build().expect("a runtime")
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

/// How often a stall of this kind was told.
fn told(handle: &Handle, label: &str) -> u64 {
    let snapshot = handle.snapshot();
    snapshot.stalls_so_far.iter().find(|(cause, _)| *cause == label).map_or(0, |(_, told)| *told)
}

fn shown(handle: &Handle, label: &str) -> Option<Stall> {
    handle.snapshot().stalls.into_iter().find(|stall| stall.cause.label() == label)
}

#[test]
fn many_short_calls_of_one_turn_are_not_one_long_one() {
    let runtime = workers(1);
    let _inside = runtime.enter();
    let (listener, at) = listen();
    let is_open = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(Mutex::new(Duration::ZERO));
    let (open, longest) = (Arc::clone(&is_open), Arc::clone(&answered));
    let service = service_fn(move |_: Connection| {
        let began = Instant::now();
        if open.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(8));
        } else {
            // While the first one sleeps, the others come: they are called in one turn.
            sleep(Duration::from_millis(200));
            open.store(true, Ordering::Relaxed);
        }
        let mut longest = longest.lock().expect("nobody panics");
        *longest = began.elapsed().max(*longest);
        ready(Ok::<_, io::Error>(()))
    });
    let server = Server::builder().config(config()).serve(listener, service).start().expect("it starts");
    let handle = server.handle();
    let clients: Vec<_> = (0..60).map(|_| connect(&at)).collect();
    for client in &clients {
        // Closed by the handler that never came to be polled for long.
        let _closed = next_line(client);
    }
    let longest = *answered.lock().expect("nobody panics");
    let is_machine_slow = longest >= Duration::from_millis(250);
    assert!(is_machine_slow || told(&handle, "held") == 0, "{:?}", handle.snapshot().stalls);
}

#[test]
fn who_makes_a_span_for_long_is_told_with_the_connection_it_is_for() {
    let runtime = workers(1);
    let _inside = runtime.enter();
    let (listener, at) = listen();
    let server = Server::builder()
        .config(config())
        .make_span(|_| {
            sleep(Duration::from_millis(900));
            tracing::Span::none()
        })
        .serve(listener, service_fn(echo))
        .start()
        .expect("it starts");
    let handle = server.handle();
    let client = connect(&at);
    let peer = client.local_addr().expect("an address").as_socket().expect("TCP");
    runtime.block_on(becomes("it is told", || {
        let Some(StallCause::Held { by }) = shown(&handle, "held").map(|stall| stall.cause) else {
            return false;
        };
        by.iter().any(|blame| {
            let peers = blame.connection.as_ref().map(|connection| connection.peer.to_string());
            blame.part.label() == "call" && peers == Some(peer.to_string())
        })
    }));
}

/// One worker, and handlers that hold it one after the other: between two of them nobody does, and the runtime is
/// late all the time.
#[test]
fn between_two_that_hold_the_runtime_it_is_not_somebody_else() {
    let runtime = workers(1);
    let _inside = runtime.enter();
    let (listener, at) = listen();
    let service = service_fn(|mut connection: Connection| async move {
        let mut byte = [0; 2];
        connection.read_exact(&mut byte).await?;
        sleep(Duration::from_millis(400));
        connection.write_all(&byte).await
    });
    let server = Server::builder().config(config()).serve(listener, service).start().expect("it starts");
    let handle = server.handle();
    let clients: Vec<_> = (0..5).map(|_| connect(&at)).collect();
    runtime.block_on(becomes("all are open", || handle.snapshot().open == 5));
    clients.iter().for_each(|client| send(client, "x"));
    for client in &clients {
        assert_eq!(next_line(client).expect("an answer"), "x");
    }
    let told = (told(&handle, "held") > 0, told(&handle, "runtime_late"));
    assert_eq!(told, (true, 0), "{:?}", handle.snapshot().stalls);
}

/// None of them is long, and the runtime is late: it is these, and not some other task.
#[test]
fn many_handlers_that_are_late_together_are_told_together() {
    // What comes from outside has its turn after all of them.
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.global_queue_interval(10_000).enable_all().build().expect("a runtime");
    let (listener, at) = listen();
    let is_told = Arc::new(AtomicBool::new(false));
    let enough = Arc::clone(&is_told);
    let inside = runtime.enter();
    let service = service_fn(move |mut connection: Connection| {
        let enough = Arc::clone(&enough);
        async move {
            let mut byte = [0; 2];
            connection.read_exact(&mut byte).await?;
            while !enough.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(3));
                tokio::task::yield_now().await;
            }
            Ok::<_, io::Error>(())
        }
    });
    let server = Server::builder().config(config()).serve(listener, service).start().expect("it starts");
    drop(inside);
    let handle = server.handle();
    let clients: Vec<_> = (0..300).map(|_| connect(&at)).collect();
    let driven = std::thread::spawn(move || runtime.block_on(async { drop(server.await) }));
    clients.iter().for_each(|client| send(client, "x"));
    let seen = anteroom_testkit::eventually_gives("it is told", anteroom_testkit::BOUND, || {
        // With the machine busy it may be starved for a while, too.
        let stall = shown(&handle, "runtime_late")?;
        matches!(stall.cause, StallCause::RuntimeLate { delay, in_polls, .. } if in_polls >= delay / 2)
            .then_some(stall)
    });
    assert!(seen.cause.to_string().contains("handlers of this server took"), "{}", seen.cause);
    is_told.store(true, Ordering::Relaxed);
    drop(clients);
    let _stopping = handle.drain(Duration::ZERO);
    driven.join().expect("it ends");
}

/// Who waits after a pause has waited for its end, and not for a place.
#[test]
fn what_somebody_waited_for_before_is_not_what_they_wait_for_now() {
    let runtime = workers(2);
    let _inside = runtime.enter();
    let (listener, at) = listen();
    let mut one = config();
    one.max_connections = Some(1);
    let server = Server::builder().config(one).serve(listener, service_fn(echo)).start().expect("it starts");
    let handle = server.handle();
    let first = connect(&at);
    assert_eq!(ask(&first, "live").expect("it is served"), "live");
    handle.pause();
    let _second = connect(&at);
    sleep(Duration::from_millis(1_500));
    let resumed = Instant::now();
    handle.resume();
    runtime.block_on(becomes("the limit is told", || told(&handle, "limit_reached") == 1));
    let stall = shown(&handle, "limit_reached").expect("it lasts");
    assert!(stall.lasted <= resumed.elapsed(), "{stall:?}, resumed {:?} ago", resumed.elapsed());
}

/// The handler has given the connection to a task and is done; the client has said all it had to say, and listens.
#[test]
fn a_session_that_goes_on_towards_a_client_that_only_listens_has_not_leaked() {
    let runtime = workers(2);
    let _inside = runtime.enter();
    let (listener, at) = listen();
    let service = service_fn(|connection: Connection| async move {
        let _goes_on = tokio::runtime::Handle::current().spawn(async move {
            let mut connection = connection;
            while connection.write_all(b"tick\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Ok::<_, io::Error>(())
    });
    let server = Server::builder().config(config()).serve(listener, service).start().expect("it starts");
    let handle = server.handle();
    let client = connect(&at);
    assert_eq!(next_line(&client).expect("it is served"), "tick");
    client.shutdown(std::net::Shutdown::Write).expect("it is connected");
    // Twice as long as it takes to call it leaked and look for it.
    let until = Instant::now() + Duration::from_millis(2_800);
    while Instant::now() < until {
        assert_eq!(next_line(&client).expect("it goes on"), "tick");
    }
    assert_eq!(told(&handle, "permits_leaked"), 0, "{:?}", handle.snapshot().stalls);
}

#[test]
fn a_filter_that_refuses_for_want_of_resources_is_not_a_process_without_descriptors() {
    let runtime = workers(2);
    let _inside = runtime.enter();
    let (listener, at) = listen();
    let server = Server::builder()
        .config(config())
        .filter(|_| Verdict::Refuse(Cause::Resources))
        .serve(listener, service_fn(echo))
        .start()
        .expect("it starts");
    let handle = server.handle();
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        let _refused = connect(&at);
        sleep(Duration::from_millis(5));
    }
    assert_eq!(told(&handle, "out_of_descriptors"), 0, "{:?}", handle.snapshot().stalls);
}

/// Nobody drives the runtime while nobody is there: a probe that takes it out of service would never let it back.
#[test]
fn a_runtime_that_nobody_drives_keeps_no_empty_server_from_being_ready() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (listener, at) = listen();
    let mut incoming = Incoming::builder().config(config()).listen(listener).start().expect("it starts");
    let handle = incoming.handle();
    let client = connect(&at);
    let connection = runtime.block_on(incoming.accept()).expect("nothing failed").expect("somebody");
    let watched = workers(1);
    watched.block_on(becomes("it is late", || !handle.is_ready()));
    assert_eq!(
        handle.readiness().to_string(),
        anteroom::Readiness::NotReady(Unready::RuntimeLate).to_string()
    );
    drop((connection, client));
    watched.block_on(becomes("nobody is there", || handle.snapshot().open == 0));
    watched.block_on(ends("it is ready", async { handle.ready().until_ready().await }));
    assert_eq!(handle.snapshot().runtime_late, None);
}

/// The first runtime of an `Incoming` is gone; what counts is the one that drives it now.
#[test]
fn the_runtime_that_drives_it_now_is_asked() {
    let (listener, at) = listen();
    let mut incoming = Incoming::builder().config(config()).listen(listener).start().expect("it starts");
    let handle = incoming.handle();
    let (first, second) = (workers(1), workers(1));
    let _one = connect(&at);
    let _kept = first.block_on(incoming.accept()).expect("nothing failed").expect("somebody");
    drop(first);
    // It is asked, and the question is dropped: from then on the next that drives it is asked.
    sleep(Duration::from_millis(2_500));
    let _other = connect(&at);
    let _taken = second.block_on(incoming.accept()).expect("nothing failed").expect("somebody");
    let held = Arc::new(AtomicBool::new(true));
    let until = Arc::clone(&held);
    second.spawn(async move {
        while until.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(10));
        }
    });
    anteroom_testkit::eventually("it is late", anteroom_testkit::BOUND, || !handle.is_ready());
    held.store(false, Ordering::Relaxed);
    anteroom_testkit::eventually("it is not late", anteroom_testkit::BOUND, || handle.is_ready());
}

/// A taker that accepts for itself asks the filter in its own poll.
#[test]
fn what_the_filter_took_is_not_charged_to_the_service() {
    let mut config = config();
    if let Some(watch) = &mut config.stall_watch {
        watch.slow_poll = Duration::from_millis(500);
    }
    let (listener, address) = listen();
    let runtime = workers(2);
    let _inside = runtime.enter();
    let server = Server::builder()
        .config(config)
        .filter(|_| {
            sleep(Duration::from_secs(1));
            Verdict::Admit
        })
        .serve(listener, service_fn(echo))
        .start()
        .expect("it starts");
    let handle = server.handle();
    assert_eq!(ask(&connect(&address), "?").expect("it is served"), "?");
    let slow = || handle.snapshot().lanes.first().map(|lane| lane.slow_polls);
    assert_eq!(slow(), Some(0));
    drop(server);
    runtime.block_on(handle.drain(LONG)).expect("nothing failed");
}

/// Somebody was let in for whom there was no place, and went in much later.
#[test]
fn the_time_until_a_place_was_free_is_not_charged_to_the_service() {
    let mut config = config();
    config.max_connections = Some(1);
    if let Some(watch) = &mut config.stall_watch {
        watch.slow_poll = Duration::from_millis(500);
    }
    let (listener, address) = listen();
    let runtime = workers(2);
    let _inside = runtime.enter();
    let server =
        Server::builder().config(config).serve(listener, service_fn(echo)).start().expect("it starts");
    let handle = server.handle();
    let first = connect(&address);
    assert_eq!(ask(&first, "?").expect("it is served"), "?");
    let second = connect(&address);
    send(&second, "!");
    runtime.block_on(becomes("it waits", || handle.snapshot().waiting == 1));
    sleep(Duration::from_secs(1));
    drop(first);
    assert_eq!(next_line(&second).expect("it is served"), "!");
    let slow = || handle.snapshot().lanes.first().map(|lane| lane.slow_polls);
    assert_eq!(slow(), Some(0));
    drop((server, second));
    runtime.block_on(handle.drain(LONG)).expect("nothing failed");
}
