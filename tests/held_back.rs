//! Back-pressure: who finds no room stays in the kernel's queue, is not refused for it, and is told of.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails; not every helper counts as a test"
)]

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anteroom::{Accepting, Address, Config, Handle, Phase, WhenFull};
use anteroom_testkit::{BOUND, eventually};
use anteroom_tests::child::ServerProcess;
use anteroom_tests::clients::{ask, connect, next_line, read_to_end, send};
use anteroom_tests::lines::answer;
use anteroom_tests::local::LocalServer;
use anteroom_tests::machine::Lateness;
use serde_json::{Value, json};
use socket2::Socket;

const SERVER: &str = env!("CARGO_BIN_EXE_anteroom-test-server");

const PLACES: usize = 2;
const WAITING: usize = 3;

/// Nobody is to be refused because the machine is slow.
const LONG: Duration = Duration::from_secs(600);

/// The kernel tells the wait in its queue in ticks, of which the coarsest takes this long.
const TICK: Duration = Duration::from_millis(10);

fn config() -> Config {
    let mut config = Config::default();
    config.when_full = WhenFull::BackPressure;
    config.max_connections = Some(PLACES);
    config.max_waiting = WAITING;
    config.max_wait = LONG;
    config
}

fn process() -> ServerProcess {
    let config = json!({
        "when_full": "back_pressure",
        "max_connections": PLACES,
        "max_waiting": WAITING,
        "max_wait": "10m",
    });
    ServerProcess::start(SERVER, &json!({ "config": config }))
}

fn holders(address: &Address, count: usize) -> Vec<Socket> {
    let hold = |_| {
        let holder = connect(address);
        assert_eq!(ask(&holder, "hold").expect("it is served"), answer("hold"));
        holder
    };
    (0..count).map(hold).collect()
}

/// They have asked, and wait for the answer.
fn asking(address: &Address, count: usize) -> Vec<Socket> {
    let ask = |number| {
        let client = connect(address);
        send(&client, &format!("ask {number}"));
        client
    };
    (0..count).map(ask).collect()
}

/// Everybody in turn, in the order in which they came.
fn all_are_answered(clients: Vec<Socket>) {
    for (number, client) in clients.into_iter().enumerate() {
        assert_eq!(next_line(&client).expect("it is served"), answer(&format!("ask {number}")));
    }
}

/// Whether the queue is told to stand, and for what: nothing else may be told.
fn is_told_to_stand(server: &mut ServerProcess, because: &str) {
    let told = |server: &mut ServerProcess| -> Vec<Value> { server.events("anteroom::standing") };
    eventually("it is told", BOUND, || !told(server).is_empty());
    for event in told(server) {
        assert_eq!(event["level"], "WARN", "{event}");
        assert_eq!(event["fields"]["because"], because, "{event}");
        assert!(event["fields"]["depth"].as_u64().is_some_and(|depth| depth > 0), "{event}");
    }
}

#[test]
fn nobody_is_refused_and_the_kernel_keeps_those_for_whom_there_is_no_room() {
    let mut server = process();
    let address = server.address();
    let held = holders(&address, PLACES);
    let clients = asking(&address, 20);
    let kept = server.eventually("the room is full, and the others stay in the kernel", |now| {
        // The acceptor finds that there is no room when it is asked for more.
        now["waiting"] == WAITING && now["depth"] == 20 - WAITING && now["accepting"] == "ServiceFull"
    });
    assert_eq!(kept["report"]["accepted"], PLACES + WAITING, "{kept}");
    is_told_to_stand(&mut server, "service_full");
    drop(held);
    all_are_answered(clients);
    let report = server.drain(BOUND);
    assert_eq!(report["served"]["done"], PLACES + 20, "{report}");
    assert_eq!((&report["refused"]["total"], &report["balanced"]), (&json!(0), &json!(true)), "{report}");
}

#[test]
fn a_place_that_is_freed_brings_the_next_one_in_at_once() {
    const AT_ONCE: Duration = Duration::from_millis(100);
    let server = LocalServer::start("127.0.0.1:0", config());
    let mut inside = VecDeque::from(holders(server.address(), PLACES));
    let mut outside = VecDeque::from(asking(server.address(), 20));
    let stands = |depth: usize| {
        server.becomes("so many stand in the kernel", |now| LocalServer::depth(now) as usize == depth)
    };
    stands(20 - WAITING);
    for number in 0..10 {
        let lateness = Lateness::measure();
        let since = Instant::now();
        drop(inside.pop_front());
        let next = outside.pop_front().expect("twenty");
        assert_eq!(next_line(&next).expect("it is served"), answer(&format!("ask {number}")));
        stands(20 - WAITING - number - 1);
        let took = since.elapsed();
        // Four threads are woken in turn, each of which a loaded machine may wake late.
        assert!(took <= AT_ONCE + 4 * lateness.worst(), "number {number} came in after {took:?}");
        inside.push_back(next);
    }
    drop((inside, outside));
    assert_eq!(server.drain(BOUND).refused.total(), 0);
}

#[test]
fn who_waits_too_long_is_refused_also_from_the_kernels_queue() {
    const WAIT: Duration = Duration::from_secs(1);
    let mut config = config();
    config.max_wait = WAIT;
    let server = LocalServer::start("127.0.0.1:0", config);
    let held = holders(server.address(), PLACES);
    let since = Instant::now();
    let clients = asking(server.address(), 20);
    let begun = since.elapsed();
    for client in &clients {
        let error = read_to_end(client).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(since.elapsed() + TICK >= WAIT, "refused before its time");
    }
    // Twice as long: the promise is that nobody waits for the service.
    assert!(since.elapsed() <= begun + 2 * WAIT, "refused after {:?}", since.elapsed());
    let now = server.becomes("all are counted", |now| now.report.refused.total() == 20);
    assert_eq!((now.report.refused.too_old, now.open, now.waiting), (20, PLACES, 0), "{}", now.report);
    drop(held);
    assert!(server.drain(BOUND).is_balanced());
}

#[test]
fn a_drain_loses_nobody_whom_the_kernel_keeps() {
    let server = LocalServer::start("127.0.0.1:0", config());
    let held = holders(server.address(), PLACES);
    let clients = asking(server.address(), 40);
    server.becomes("most stand in the kernel", |now| LocalServer::depth(now) as usize == 40 - WAITING);
    let handle: Handle = server.handle().clone();
    let report = server.begin_drain(BOUND);
    assert_eq!(handle.phase(), Phase::Draining);
    eventually("everybody is accepted", BOUND, || handle.snapshot().report.accepted == 40 + PLACES as u64);
    drop(held);
    all_are_answered(clients);
    let report = report();
    assert_eq!((report.served.done, report.served.cut), (40 + PLACES as u64, 0), "{report}");
    assert!(report.is_balanced(), "{report}");
}

#[test]
fn who_hangs_up_in_the_room_makes_room_for_the_next() {
    let server = LocalServer::start("127.0.0.1:0", config());
    let held = holders(server.address(), PLACES);
    // Silent: their hang-up is a death at once.
    let mut clients: Vec<_> = (0..10).map(|_| connect(server.address())).collect();
    let stands = |depth: usize| {
        server.becomes("so many stand in the kernel", |now| {
            LocalServer::depth(now) as usize == depth && now.waiting == WAITING
        })
    };
    stands(10 - WAITING);
    for left in 1..=10 - WAITING {
        drop(clients.remove(0));
        stands(10 - WAITING - left);
    }
    assert_eq!(server.handle().snapshot().report.dead_on_arrival.in_room.silent, 7);
    drop((held, clients));
    assert!(server.drain(BOUND).is_balanced());
}

#[test]
fn a_pause_says_that_it_is_one_and_is_none_of_the_service() {
    let mut server = process();
    let address = server.address();
    server.ask("pause");
    server.eventually("it has paused", |now| now["accepting"] == "Paused");
    let clients = asking(&address, 10);
    server.eventually("they stand in the kernel", |now| now["depth"] == 10);
    is_told_to_stand(&mut server, "paused");
    server.ask("resume");
    all_are_answered(clients);
    server.eventually("it accepts again", |now| now["accepting"] == "Yes");
    let report = server.drain(BOUND);
    assert_eq!((&report["served"]["done"], &report["balanced"]), (&json!(10), &json!(true)), "{report}");
}

#[test]
fn a_server_that_keeps_up_accepts_and_tells_nothing() {
    let mut server = process();
    let address = server.address();
    for _ in 0..200 {
        let client = connect(&address);
        assert_eq!(ask(&client, "ask").expect("it is served"), answer("ask"));
    }
    server.eventually("it accepts", |now| now["accepting"] == format!("{:?}", Accepting::Yes));
    let report = server.drain(BOUND);
    assert_eq!(report["served"]["done"], 200, "{report}");
    assert_eq!(server.events("anteroom::standing"), Vec::<Value>::new());
}
