//! What a service manager hears of a server: a real socket, and a process that its variables name it to.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test that cannot go on says so")]

use std::time::{Duration, Instant};

use anteroom::{Address, Listener};
use anteroom_testkit::Scratch;
use anteroom_tests::child::ServerProcess;
use anteroom_tests::clients::{ask, connect, send};
use anteroom_tests::lines::answer;
use anteroom_tests::machine::threads_named;
use anteroom_tests::manager::Manager;
use anteroom_tests::waiting::{PATIENCE, until};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

const SERVER: &str = env!("CARGO_BIN_EXE_anteroom-test-server");
const PING: &str = "WATCHDOG=1";

/// Of the watchdog in these tests: long against what a loaded machine delays a thread.
const INTERVAL: Duration = Duration::from_secs(1);

/// Long enough that pings would come after they must have stopped.
const BLOCKED_FOR: Duration = Duration::from_secs(5);

/// An abstract name of this test's own.
fn name(of: &str) -> String {
    format!("@anteroom-{of}-{}", std::process::id())
}

/// Its variables in the environment (sd_watchdog_enabled(3)).
fn watchdog() -> String {
    format!("WATCHDOG_USEC={} WATCHDOG_PID=$$", INTERVAL.as_micros())
}

fn start(manager: &Manager, settings: &str, setup: &Value) -> ServerProcess {
    let starter = manager.starter(settings);
    ServerProcess::start_under(&starter.each_ref().map(String::as_str), SERVER, setup)
}

fn monotonic_micros() -> i128 {
    let now = clock_gettime(ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000
}

#[test]
fn a_manager_hears_ready_the_queue_reloading_and_stopping() {
    let scratch = Scratch::new();
    let manager = Manager::at(scratch.join("notify").to_str().expect("UTF-8"));
    let setup = json!({ "notify": true, "name": "public", "backlog": 64 });
    let mut server = start(&manager, "", &setup);
    assert_eq!(manager.hears_line("READY=1"), 0, "the first word");

    server.ask("pause");
    let clients: Vec<_> = (0..3).map(|_| connect(&server.address())).collect();
    manager.hears_line("STATUS=serving, paused: 0 open, 0 waiting, queue public 3/64");
    server.ask("resume");
    manager.hears_line("STATUS=serving: 3 open, 0 waiting, queue public 0/64");

    let before = monotonic_micros();
    assert_eq!(server.ask("reloading")["error"], Value::Null);
    let after = monotonic_micros();
    let reloading = manager.hears_line("RELOADING=1");
    let told = manager.heard(|heard| heard[reloading].value("MONOTONIC_USEC").map(str::to_owned));
    let told: i128 = told.expect("in one message with it").parse().expect("microseconds");
    assert!(before <= told && told <= after, "{before} {told} {after}");
    manager.hears_line("STATUS=reloading: 3 open, 0 waiting, queue public 0/64");
    assert_eq!(server.ask("reloaded")["error"], Value::Null);

    drop(clients);
    let report = server.drain(PATIENCE);
    assert_eq!(report["served"]["done"], 3, "{report}");
    let stopping = manager.hears_line("STOPPING=1");
    manager.hears("the end", |message| {
        message.value("STATUS").is_some_and(|status| status.starts_with("stopped: accepted 3"))
    });
    until("its thread has ended", || threads_named(&server.pid().to_string(), "anteroom-notify").is_empty());
    manager.heard(|heard| {
        let readies = heard.iter().enumerate().filter(|(_, message)| message.says("READY=1"));
        let readies: Vec<_> = readies.map(|(at, _)| at).collect();
        assert!(readies.len() == 2 && reloading < readies[1] && readies[1] < stopping, "{heard:?}");
        assert_eq!(heard.iter().filter(|message| message.says("STOPPING=1")).count(), 1, "{heard:?}");
        assert!(heard.iter().all(|message| !message.says(PING)), "nobody asked for a watchdog: {heard:?}");
    });
}

/// After something that began after `began`, was there at `at` and lasts for [`BLOCKED_FOR`]: the pings
/// stopped within 2 × the interval, and come again when it is over.
fn pings_stop_and_come_again(manager: &Manager, began: Instant, at: Instant) {
    until("it is over", || began.elapsed() > BLOCKED_FOR);
    let late: Vec<_> = manager.heard(|heard| {
        let pings = heard.iter().filter(|message| message.says(PING)).map(|message| message.at);
        pings.filter(|&ping| at + 2 * INTERVAL < ping && ping < began + BLOCKED_FOR).collect()
    });
    assert_eq!(late, [], "pings more than two intervals after {at:?}");
    manager.hears_another(PING);
}

#[test]
fn the_pings_stop_when_every_worker_is_blocked_and_come_again() {
    let manager = Manager::at(&name("workers"));
    let mut server = start(&manager, &watchdog(), &json!({ "notify": true, "workers": 2 }));
    manager.hears_another(PING);

    let block = format!("block {}", BLOCKED_FOR.as_millis());
    let began = Instant::now();
    let blockers = [connect(&server.address()), connect(&server.address())];
    for blocker in &blockers {
        send(blocker, &block);
    }
    until("every worker is blocked", || server.calls()["blocked"] == 2);
    pings_stop_and_come_again(&manager, began, Instant::now());
}

#[test]
fn the_pings_go_on_while_one_worker_of_two_is_blocked() {
    let manager = Manager::at(&name("one-worker"));
    let mut server = start(&manager, &watchdog(), &json!({ "notify": true, "workers": 2 }));
    let blocker = connect(&server.address());
    send(&blocker, &format!("block {}", (10 * PATIENCE).as_millis()));
    until("a worker is blocked", || server.calls()["blocked"] == 1);
    for _ in 0..3 {
        manager.hears_another(PING);
    }
    assert_eq!(server.calls()["blocked"], 1);
}

#[test]
fn the_pings_stop_when_the_acceptor_is_stuck_and_come_again() {
    let manager = Manager::at(&name("acceptor"));
    let setup = json!({ "notify": true, "filter_blocks": BLOCKED_FOR.as_millis(), "config": { "accept_on": "thread" } });
    let mut server = start(&manager, &watchdog(), &setup);
    manager.hears_another(PING);

    let began = Instant::now();
    let client = connect(&server.address());
    until("the filter holds the acceptor", || server.calls()["blocked"] == 1);
    pings_stop_and_come_again(&manager, began, Instant::now());
    assert_eq!(ask(&client, "late").expect("it is served"), answer("late"));
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let manager = Manager::at(&name("foreign-watchdog"));
    let mut server = start(&manager, "WATCHDOG_USEC=2000 WATCHDOG_PID=1", &json!({ "notify": true }));
    manager.hears_line("READY=1");
    server.ask("pause");
    manager.hears("a second look", |message| {
        message.value("STATUS").is_some_and(|status| status.starts_with("serving, paused"))
    });
    manager.heard(|heard| assert!(heard.iter().all(|message| !message.says(PING)), "{heard:?}"));
}

#[test]
fn the_store_gets_every_listener_under_its_name_and_keeps_its_queue() {
    let manager = Manager::at(&name("store"));
    let setup = json!({ "notify": true, "name": "public", "admin": {} });
    let mut server = start(&manager, "", &setup);
    assert_eq!(server.ask("store")["error"], Value::Null);
    let (public, admin) = (server.address(), server.admin());
    let stored = [manager.hears_line("FDNAME=public"), manager.hears_line("FDNAME=admin")];
    server.drain(PATIENCE);

    // The server is gone, and nobody is turned away.
    let clients = [connect(&public), connect(&admin)];
    let addresses: Vec<Address> = manager.heard(|heard| {
        assert_eq!(
            heard.iter().filter(|message| message.says("FDSTORE=1")).count(),
            stored.len(),
            "{heard:?}"
        );
        let adopted = stored.map(|at| {
            assert!(heard[at].says("FDSTORE=1"), "{heard:?}");
            assert_eq!(heard[at].descriptors.len(), 1, "{heard:?}");
            Listener::adopt(heard[at].descriptors.remove(0)).expect("it is a listener")
        });
        for (listener, client) in adopted.iter().zip(&clients) {
            let peer = listener.accept().expect("the client has waited").peer;
            assert_eq!(peer.tcp(), client.local_addr().expect("it has one").as_socket());
        }
        adopted.iter().map(|listener| listener.local_addr().clone()).collect()
    });
    assert_eq!(addresses, [public, admin]);
}

#[test]
fn a_listener_without_a_name_for_the_store_is_named_and_nothing_is_sent() {
    let manager = Manager::at(&name("nameless"));
    let mut server = start(&manager, "", &json!({ "notify": true, "admin": {} }));
    let error = server.ask("store")["error"].to_string();
    assert!(error.contains(&server.address().to_string()), "{error}");
    manager.hears_line("READY=1");
    manager.heard(|heard| {
        assert!(heard.iter().all(|message| !message.says("FDSTORE=1")), "{heard:?}");
    });
}
