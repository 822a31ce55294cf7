//! A successor that fails to take over changes nothing: the old server serves on, says why, lets nothing
//! of the new process remain, and can still be shut down without resetting anybody.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is test code")]

use std::net::SocketAddr;

use anteroom_load::client::{Ending, Visit};
use anteroom_tests::arrivals::Arrivals;
use anteroom_tests::lineage::{Lineage, answered_by, children_of};
use rustix::process::Signal;
use serde_json::{Value, json};

const GENERATION: &str = env!("CARGO_BIN_EXE_anteroom-test-generation");

/// Newcomers per second.
const RATE: u32 = 500;

/// What a successor that says nothing is given, in milliseconds.
const WITHIN: u64 = 500;

/// An old server under load, and what becomes of its upgrade to a successor with these changes.
fn fails(successor: &Value, because: &str) {
    let setup = json!({
        "listen": [
            { "name": "main", "address": "127.0.0.1:0" },
            { "name": "admin", "address": "127.0.0.1:0" },
        ],
        "within": WITHIN,
        "successors": [successor],
    });
    let mut line = Lineage::of(GENERATION);
    let old = line.start(&setup);
    let serving = line.tells(old, "serving");
    let (main, admin) = (address(&serving, "main"), address(&serving, "admin"));
    let load = Arrivals::begin(main, RATE);

    line.signal(old, Signal::HUP);
    let error = line.tells(old, "upgrade_failed")["error"].clone();
    assert!(error.as_str().is_some_and(|error| error.contains(because)), "{error}");
    let is_it = |line: &Value| line["target"] == "anteroom::handover_failed" && line["pid"] == old;
    let told = line.hears("an event", is_it);
    let words = told["text"].as_str().expect("text");
    assert!(words.contains(because), "the event says why: {words}");
    assert_eq!(children_of(old), Vec::<u32>::new(), "nothing of the new process remains");

    // As if nothing had happened: both listeners, and who takes over next.
    assert!([main, admin].into_iter().all(|listener| answered_by(listener) == old));
    assert_eq!(line.snapshot(old)["phase"], "serving");
    it_is_shut_down_without_resetting_anybody(line, old, load);
}

/// The fence needs a socket that nobody else holds: it works, so nobody does.
fn it_is_shut_down_without_resetting_anybody(mut line: Lineage, old: u32, load: Arrivals) {
    let report = line.shut_down(old);
    let fenced = |line: &Value| line["target"] == "anteroom::fence" && line["pid"] == old;
    let told = line.hears("an event of the fence", fenced);
    assert!(told["text"].as_str().expect("text").contains("newcomers are fenced off"), "{told}");
    let came = load.end();
    // Newcomers find nobody any more; whoever was let in was served.
    let is_late =
        |visit: &&Visit| visit.connected.is_none() || matches!(visit.ending, Ending::NeverConnected);
    let lost: Vec<_> = came.failed().filter(|visit| !is_late(visit)).collect();
    assert!(lost.is_empty(), "{came}: {lost:#?}");
    let answered = came.count() - came.failed().count() as u64;
    // And the two that looked whether it serves.
    assert_eq!(report["done"], answered + 2, "{report}");
    assert_eq!((&report["accepted"], &report["balanced"]), (&json!(answered + 2), &json!(true)));
}

#[test]
fn a_new_program_that_exits_at_once_changes_nothing() {
    fails(&json!({ "fault": "exit" }), "exit status: 3");
}

#[test]
fn a_new_program_that_never_becomes_ready_is_ended_at_its_deadline() {
    fails(&json!({ "fault": "idle" }), "did not answer in time");
}

#[test]
fn a_new_program_that_leaves_a_listener_out_is_refused() {
    fails(&json!({ "fault": "leave_out" }), "left out the listener admin");
}

#[test]
fn a_new_program_that_cannot_be_started_changes_nothing() {
    fails(&json!({ "program": ["/no/such/program"] }), "could not be started");
}

#[test]
fn a_program_that_knows_nothing_of_predecessors_is_ended_at_the_deadline() {
    fails(&json!({ "program": ["/bin/sleep", "600"] }), "did not answer in time");
}

#[test]
fn a_program_that_ends_well_without_taking_over_has_failed_all_the_same() {
    fails(&json!({ "program": ["/bin/true"] }), "exit status: 0");
}

#[test]
fn a_successor_that_cannot_serve_what_it_took_is_told_by_its_end() {
    // A setting that contradicts itself: it has the listeners and does not start.
    fails(&json!({ "config": { "batch": 0 } }), "exit status: 1");
}

fn address(serving: &Value, name: &str) -> SocketAddr {
    serving["addresses"][name].as_str().expect("it listens").parse().expect("an address")
}
