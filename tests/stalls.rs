//! User code that holds threads: each fault is told in time, with the right cause, connection, thread and kind.
//!
//! What keeps clients waiting beyond handlers is in `other_stalls.rs`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on says so"
)]

use std::time::Duration;

use anteroom_testkit::{BOUND, eventually};
use anteroom_tests::clients::{ask, connect, name_of, next_line, send};
use anteroom_tests::stalling::Stalling;
use serde_json::{Value, json};

const STALLED: &str = env!("CARGO_BIN_EXE_anteroom-test-stalled");

/// Longer than a stall may take to be told, so that it goes on when it is.
const LONG: Duration = Duration::from_secs(4);

fn start(setup: &Value) -> Stalling {
    Stalling::start(STALLED, setup)
}

/// Nobody is refused for having waited through a stall.
fn patient() -> Value {
    json!({ "max_wait": "300s", "order": "fifo" })
}

fn long(fault: &str) -> String {
    format!("{fault} {}", LONG.as_millis())
}

/// One client's handler commits the fault, and the stall that comes of it is told rightly.
fn one_holds(fault: &str) -> (Stalling, Value) {
    let mut stalling = start(&json!({ "workers": 4 }));
    let (culprit, bystander) = (stalling.client(), stalling.client());
    let since = stalling.begin();
    send(&culprit.socket, &long(fault));
    let holding = stalling.holding(1);
    let stall = stalling.told("held", since);
    stalling.blames(&stall, &[&culprit], &holding);
    assert_eq!(stall["by"][0]["part"], "handler", "{stall}");
    let lasted = stall["lasted"].as_u64().expect("a number");
    assert!(lasted >= 250 && lasted <= millis(since.elapsed()), "{stall}");
    // The other three go on.
    assert_eq!(ask(&bystander.socket, "live").expect("it is served"), "live");
    assert_eq!(next_line(&culprit.socket).expect("it comes back"), long(fault));
    stalling.is_over("held");
    (stalling, stall)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("not that long")
}

#[test]
fn a_handler_that_sleeps_on_its_thread_is_named() {
    let (_, stall) = one_holds("sleep");
    assert_eq!(stall["by"][0]["doing"], "sleeping", "{stall}");
}

#[test]
fn a_handler_that_computes_is_named() {
    let (_, stall) = one_holds("burn");
    assert_eq!(stall["by"][0]["doing"], "burning", "{stall}");
    let (cpu, lasted) = (stall["by"][0]["cpu"].as_u64(), stall["by"][0]["lasted"].as_u64());
    assert!(cpu > Some(0) && cpu <= lasted, "{stall}");
}

#[test]
fn a_handler_that_reads_a_pipe_is_named() {
    let (_, stall) = one_holds("pipe");
    assert_eq!((&stall["by"][0]["doing"], &stall["by"][0]["call"]), (&json!("waiting"), &json!("read")));
}

#[test]
fn each_blame_is_an_event_of_its_own() {
    let (mut stalling, stall) = one_holds("sleep");
    let blame = stalling.server.events("anteroom::blame").remove(0);
    let fields = &blame["fields"];
    for (told, shown) in [("thread", "thread"), ("thread_id", "thread_id"), ("connection", "connection")] {
        assert_eq!(fields[told], stall["by"][0][shown], "{blame}");
    }
    assert_eq!((&fields["part"], &fields["listener"]), (&json!("handler"), &json!("main")), "{blame}");
    assert_eq!(fields["peer"], stall["by"][0]["peer"], "{blame}");
    assert_eq!((&fields["doing"], &blame["level"]), (&json!("sleeps"), &json!("WARN")), "{blame}");
}

#[test]
fn handlers_that_hold_every_thread_are_all_named_with_whom_they_keep_waiting() {
    let mut stalling = start(&json!({ "workers": 2, "config": patient() }));
    let (one, other) = (stalling.client(), stalling.client());
    let since = stalling.begin();
    for client in [&one, &other] {
        send(&client.socket, &long("sleep"));
    }
    let holding = stalling.holding(2);
    let waiting: Vec<_> = (0..3).map(|_| connect(&stalling.server.address())).collect();
    let stall = stalling.told_such("held", since, |stall| {
        stall["by"].as_array().is_some_and(|by| by.len() == 2) && stall["cost"]["waiting"] == 3
    });
    stalling.blames(&stall, &[&one, &other], &holding);
    assert!(stall["by"].as_array().expect("a list").iter().all(|by| by["doing"] == "sleeping"), "{stall}");
    assert!(stall["cost"]["oldest_wait"].is_u64() && stall["cost"]["open"] == 2, "{stall}");
    for client in [&one.socket, &other.socket] {
        assert_eq!(next_line(client).expect("it comes back"), long("sleep"));
    }
    for client in &waiting {
        assert_eq!(ask(client, "live").expect("it is served afterwards"), "live");
    }
    stalling.is_over("held");
}

#[test]
fn two_handlers_that_wait_for_each_others_lock_are_both_named() {
    let mut stalling = start(&json!({ "workers": 4 }));
    let (one, other) = (stalling.client(), stalling.client());
    let since = stalling.begin();
    send(&one.socket, "deadlock 1");
    send(&other.socket, "deadlock 2");
    let holding = stalling.holding(2);
    let stall =
        stalling.told_such("held", since, |stall| stall["by"].as_array().is_some_and(|by| by.len() == 2));
    stalling.blames(&stall, &[&one, &other], &holding);
    for by in stall["by"].as_array().expect("a list") {
        assert_eq!((&by["doing"], &by["call"]), (&json!("waiting"), &json!("futex")), "{stall}");
    }
    let bystander = stalling.client();
    assert_eq!(ask(&bystander.socket, "live").expect("it is served"), "live");
}

/// Another piece of user code than a handler is entered for the first client, and does not come back.
fn a_part_holds(part: &str, accept_on: &str, thread: &str) -> Value {
    let mut config = patient();
    config["accept_on"] = json!(accept_on);
    let mut stalling = start(&json!({ "workers": 4, part: millis(LONG), "config": config }));
    let since = stalling.begin();
    let client = connect(&stalling.server.address());
    send(&client, "live");
    let holding = stalling.holding(1);
    let stall = stalling.told("held", since);
    let by = &stall["by"][0];
    assert_eq!(stall["by"].as_array().map(Vec::len), Some(1), "{stall}");
    assert_eq!((&by["part"], &by["thread"]), (&json!(part), &json!(thread)), "{stall}");
    assert_eq!(by["thread_id"], holding[0]["thread"], "{stall}");
    assert_eq!((&by["doing"], &by["listeners"]), (&json!("sleeping"), &json!(["main"])), "{stall}");
    // Which connection it is for is told where there is one already.
    if !by["peer"].is_null() {
        assert_eq!(by["peer"], name_of(&client), "{stall}");
    }
    assert_eq!(next_line(&client).expect("it is served afterwards"), "live");
    stalling.is_over("held");
    stall
}

#[test]
fn a_call_that_does_not_return_is_named_with_its_connection() {
    let stall = a_part_holds("call", "taker", "app-worker");
    assert!(stall["by"][0]["connection"].is_u64(), "{stall}");
}

#[test]
fn a_service_that_does_not_come_back_from_poll_ready_is_named() {
    let stall = a_part_holds("poll_ready", "taker", "app-worker");
    assert!(stall["by"][0]["connection"].is_null(), "{stall}");
}

#[test]
fn a_filter_that_does_not_come_back_is_named() {
    a_part_holds("filter", "thread", "anteroom-accept");
}

#[test]
fn slow_polls_are_counted_without_a_stall() {
    let mut stalling = start(&json!({ "workers": 4 }));
    let client = stalling.client();
    for slow in 1..=3_u64 {
        ask(&client.socket, "sleep 50").expect("it comes back");
        // It answers before it comes back: what it is asked too early it does in the same poll.
        eventually("it is counted", BOUND, || {
            stalling.server.snapshot()["slow_polls"].as_u64() >= Some(slow)
        });
    }
    stalling.never_told("held");
}

#[test]
fn a_watch_that_is_switched_off_tells_nothing() {
    let mut stalling = start(&json!({ "workers": 2, "config": { "stall_watch": null } }));
    // One alone: nobody is kicked here, and a second one's line might not be read before the first is back.
    let client = stalling.client();
    send(&client.socket, "sleep 2000");
    stalling.holding(1);
    while stalling.server.ask("holding").as_array().is_some_and(|holding| holding.len() == 1) {
        assert_eq!(stalling.server.ask("stalls"), json!([]));
    }
    assert_eq!(next_line(&client.socket).expect("it comes back"), "sleep 2000");
    let snapshot = stalling.server.snapshot();
    assert_eq!((&snapshot["slow_polls"], &snapshot["polls"]), (&json!(0), &json!(0)), "{snapshot}");
    assert_eq!(snapshot["readiness"]["ready"], true, "{snapshot}");
    for target in ["anteroom::stall", "anteroom::blame", "anteroom::stall_over", "anteroom::readiness"] {
        assert!(stalling.server.events(target).is_empty(), "{target}");
    }
}
