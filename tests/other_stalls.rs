//! What keeps clients waiting beyond handlers: each cause is told in time, by its name, with its evidence, and
//! nobody is blamed for it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on says so"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anteroom_testkit::{BOUND, eventually, eventually_gives};
use anteroom_tests::clients::{ask, connect, next_line, send};
use anteroom_tests::stalling::{Stalling, TOLD_WITHIN};
use serde_json::{Value, json};

const STALLED: &str = env!("CARGO_BIN_EXE_anteroom-test-stalled");

/// The promise's own number.
const STOPPED_FOR: Duration = Duration::from_secs(5);

fn start(setup: &Value) -> Stalling {
    Stalling::start(STALLED, setup)
}

#[test]
fn a_service_that_is_never_ready_is_told() {
    let mut stalling = start(&json!({ "poll_ready": "never" }));
    let since = stalling.begin();
    let _client = connect(&stalling.server.address());
    let stall = stalling.told("service_not_ready", since);
    assert_eq!(stall["evidence"], json!({ "lane": 0, "listeners": ["main"] }));
    assert_eq!(stall["cost"]["waiting"], 1, "{stall}");
    stalling.never_told("held");
}

#[test]
fn a_limit_that_is_reached_is_told_when_somebody_waits_for_it() {
    let mut stalling = start(&json!({ "config": { "max_connections": 2 } }));
    let (one, _other) = (stalling.client(), stalling.client());
    let since = stalling.begin();
    let waiting = connect(&stalling.server.address());
    send(&waiting, "live");
    let stall = stalling.told("limit_reached", since);
    assert_eq!(stall["evidence"], json!({ "lane": 0, "listeners": ["main"], "open": 2 }));
    assert_eq!(stall["cost"]["waiting"], 1, "{stall}");
    drop(one);
    assert_eq!(next_line(&waiting).expect("there is a place"), "live");
    stalling.is_over("limit_reached");
    stalling.never_told("held");
}

#[test]
fn a_limit_that_nobody_waits_for_is_no_stall() {
    let mut stalling = start(&json!({ "config": { "max_connections": 1 } }));
    let client = stalling.client();
    // Longer than anything takes to be told.
    let since = Instant::now();
    while since.elapsed() < TOLD_WITHIN * 2 {
        assert_eq!(ask(&client.socket, "live").expect("it is served"), "live");
        assert_eq!(stalling.server.ask("stalls"), json!([]));
    }
}

/// Somebody took every descriptor while `open` connections were open.
fn descriptors_run_out(open: usize) {
    const LIMIT: u64 = 64;
    const CLIENTS: usize = 100;
    let limit = format!("--nofile={LIMIT}:{LIMIT}");
    // No budget: `accept` itself is to fail.
    let setup = json!({ "config": { "descriptors": "unlimited", "share": { "alpha": null } } });
    let mut stalling = Stalling::start_under(&["prlimit", &limit], STALLED, &setup);
    let _open: Vec<_> = (0..open).map(|_| stalling.client()).collect();
    let held = stalling.server.ask(&format!("hoard {LIMIT}"))["held"].as_u64().expect("a number");
    assert!(held < LIMIT, "{held}");
    // One is refused in each pause, with the descriptor set aside for that: the others stay in the queue.
    let since = stalling.begin();
    let clients: Vec<_> = (0..CLIENTS).map(|_| connect(&stalling.server.address())).collect();
    let stall = stalling.told("out_of_descriptors", since);
    assert!(stall["cost"]["queued"].as_u64() > Some(0), "{stall}");
    assert_eq!(stall["evidence"]["limit"], LIMIT, "{stall}");
    // What it inherited may have numbers beyond the limit; one is set aside, free or not at this moment.
    let (told, counted) = (stall["evidence"]["open"].as_u64(), stalling.server.descriptors() as u64);
    assert!(told.is_none_or(|told| told.abs_diff(counted) <= 1), "{counted}: {stall}");
    stalling.server.ask("hoard 0");
    drop(clients);
    eventually("whoever comes is served again", BOUND, || {
        ask(&connect(&stalling.server.address()), "live").is_ok_and(|answer| answer == "live")
    });
    stalling.is_over("out_of_descriptors");
    stalling.never_told("held");
}

#[test]
fn descriptors_that_have_run_out_are_told_with_their_number() {
    descriptors_run_out(3);
}

#[test]
fn they_are_told_too_when_no_connection_is_open() {
    descriptors_run_out(0);
}

#[test]
fn a_pause_is_told_when_somebody_stands_in_the_queue() {
    let mut stalling = start(&json!({}));
    stalling.server.ask("pause");
    let since = stalling.begin();
    let client = connect(&stalling.server.address());
    send(&client, "live");
    let stall = stalling.told("paused", since);
    assert_eq!(stall["cost"]["queued"], 1, "{stall}");
    stalling.server.ask("resume");
    assert_eq!(next_line(&client).expect("it is served"), "live");
    stalling.is_over("paused");
    stalling.never_told("held");
}

#[test]
fn a_process_that_was_stopped_says_so_afterwards_and_blames_nobody() {
    let mut stalling = start(&json!({ "workers": 2 }));
    let client = stalling.client();
    let over = AtomicBool::new(false);
    let (stall, stopped) = thread::scope(|scope| {
        // Handlers at work when it stops: none of them is to blame for it.
        let load = scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                assert_eq!(ask(&client.socket, "live").expect("it is served"), "live");
            }
        });
        let stopping = Instant::now();
        stalling.server.stop();
        let stopped = Instant::now();
        thread::sleep(STOPPED_FOR);
        let going_on = Instant::now();
        let since = stalling.begin();
        stalling.server.go_on();
        // Told at once: it was over its threshold long ago.
        let told = stalling.told("process_stopped", since);
        over.store(true, Ordering::Release);
        load.join().expect("it was served");
        (told, going_on - stopped..since.elapsed() + (since - stopping))
    });
    let during = Duration::from_millis(stall["evidence"]["during"].as_u64().expect("a number"));
    // A tick before it stopped, the thread that looks may have gone to sleep.
    let tick = Duration::from_millis(20);
    assert!(during + tick >= stopped.start && during <= stopped.end, "{stall}, {stopped:?}");
    assert_eq!(stall["by"], json!([]));
    for cause in ["held", "runtime_late", "starved"] {
        stalling.never_told(cause);
    }
}

#[test]
fn a_runtime_that_was_dropped_is_told() {
    let mut stalling = start(&json!({}));
    let client = stalling.client();
    let since = stalling.begin();
    stalling.server.ask("drop_runtime");
    let stall = stalling.told("runtime_gone", since);
    assert!(!stall["advice"].as_str().expect("a text").is_empty(), "{stall}");
    drop(client);
    stalling.never_told("held");
}

#[test]
fn a_runtime_that_others_hold_is_late_and_no_handler_is_blamed() {
    let patient = json!({ "max_wait": "300s", "order": "fifo" });
    let mut stalling = start(&json!({ "workers": 2, "config": patient }));
    let client = stalling.client();
    let since = stalling.begin();
    stalling.server.ask("occupy 4000");
    stalling.holding(2);
    // Whoever comes is a sample of how late the runtime is.
    let newcomer = connect(&stalling.server.address());
    let stall = stalling.told("runtime_late", since);
    assert!(stall["evidence"]["delay"].as_u64() >= Some(250), "{stall}");
    for client in [&client.socket, &newcomer] {
        assert_eq!(ask(client, "live").expect("it is served afterwards"), "live");
    }
    stalling.is_over("runtime_late");
    stalling.never_told("held");
}

#[test]
fn a_permit_that_is_kept_is_told() {
    let mut stalling = start(&json!({ "config": { "stall_watch": { "leaked_after": "1s" } } }));
    let keeper = stalling.client();
    send(&keeper.socket, "leak");
    assert_eq!(next_line(&keeper.socket).expect("it is closed"), "");
    let stall = eventually_gives("a leak is told", BOUND, || {
        let stalls = stalling.server.ask("stalls");
        let stall =
            stalls.as_array().expect("a list").iter().find(|stall| stall["cause"] == "permits_leaked");
        stall.cloned()
    });
    assert_eq!(stall["evidence"]["permits"], 1, "{stall}");
    assert!(stall["evidence"]["oldest"].as_u64() >= Some(1000), "{stall}");
    stalling.never_told("held");
}
