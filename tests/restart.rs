//! Restarts under load lose nobody: real processes, one after the other, by inherited descriptors and by
//! a handover at a path, and clients that count.
//!
//! `ANTEROOM_ROUNDS=50` restarts as often as the issue says; without it a few must do.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "this is test code, and says what it measured"
)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anteroom_testkit::Scratch;
use anteroom_tests::arrivals::{Arrivals, Came};
use anteroom_tests::lineage::{Lineage, who_listens_at};
use anteroom_tests::machine::Lateness;
use anteroom_tests::promise::asked_for;
use anteroom_tests::waiting::{PATIENCE, until};
use rustix::process::Signal;
use serde_json::{Value, json};

const GENERATION: &str = env!("CARGO_BIN_EXE_anteroom-test-generation");

/// Connections per second.
const RATE: u32 = 2_000;

/// From the beginning of one restart to that of the next, if it was over by then.
const PERIOD: Duration = Duration::from_millis(200);

/// The promise's own number: how much later p99.9 of the first byte may come.
const LATER: Duration = Duration::from_millis(50);

/// Threads that wait for a processor one after the other, between the last answer of the old process and
/// the first of the new one: both exchanges', then its acceptor, dispatcher and worker, and the clients'.
const HOPS: u32 = 6;

fn rounds() -> u32 {
    asked_for("ANTEROOM_ROUNDS", 8)
}

/// They measure, and would disturb each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn address(serving: &Value, name: &str) -> SocketAddr {
    serving["addresses"][name].as_str().expect("it listens").parse().expect("an address")
}

/// A generation that starts the next one.
fn inheriting() -> Value {
    json!({ "listen": [{ "name": "main", "address": "127.0.0.1:0" }] })
}

/// And one that is asked at a path.
fn offering(path: &Path) -> Value {
    json!({ "listen": [{ "name": "main", "address": "127.0.0.1:0" }], "handover": path })
}

/// What one load saw.
struct Outcome {
    came: Came,
    /// How late the machine was meanwhile.
    late: Duration,
    reports: Vec<Value>,
}

/// The load, and meanwhile one restart after the other by `succeed`, which gives the successor's id once
/// it serves; `restarts: 0` is the run without.
fn under_load(setup: &Value, restarts: u32, mut succeed: impl FnMut(&mut Lineage, u32) -> u32) -> Outcome {
    let mut line = Lineage::of(GENERATION);
    let mut current = line.start(setup);
    let first = line.tells(current, "serving");
    let lateness = Lateness::measure();
    let load = Arrivals::begin(address(&first, "main"), RATE);
    let begin = Instant::now();
    let mut reports = Vec::new();
    for round in 1..=rounds() {
        if round <= restarts {
            let next = succeed(&mut line, current);
            let serving = line.tells(next, "serving");
            assert_eq!(serving["inodes"], first["inodes"], "it is the same open socket");
            let stopped = line.tells(current, "stopped");
            assert_eq!(stopped["error"], Value::Null);
            reports.push(stopped["report"].clone());
            line.is_gone(current);
            current = next;
        }
        thread::sleep((begin + PERIOD * round).saturating_duration_since(Instant::now()));
    }
    let came = load.end();
    let late = lateness.worst();
    reports.push(line.shut_down(current));
    let failed: Vec<_> =
        line.unasked().iter().filter(|line| line["target"] == "anteroom::handover_failed").collect();
    assert!(failed.is_empty(), "{failed:#?}");
    Outcome { came, late, reports }
}

fn sum(reports: &[Value], key: &str) -> u64 {
    reports.iter().map(|report| report[key].as_u64().expect("a number")).sum()
}

/// Nobody failed, and what the generations say is what the clients counted.
fn nobody_was_lost(outcome: &Outcome) {
    let Outcome { came, reports, .. } = outcome;
    let failed: Vec<_> = came.failed().take(20).collect();
    assert!(failed.is_empty(), "{came}: {failed:#?}");
    assert!(reports.iter().all(|report| report["balanced"] == true), "{reports:#?}");
    let accepted = sum(reports, "accepted") - sum(reports, "handed_over");
    assert_eq!(accepted, came.count(), "{reports:#?}");
    assert_eq!(sum(reports, "done"), came.count(), "{reports:#?}");
}

fn restarts_cost_nothing(setup: &Value, succeed: impl FnMut(&mut Lineage, u32) -> u32) {
    let _alone = alone();
    let without = under_load(setup, 0, |_, same| same);
    println!("without restarts: {}; the machine was late by {:?}", without.came, without.late);
    nobody_was_lost(&without);
    let with = under_load(setup, rounds(), succeed);
    println!("{} restarts: {}; the machine was late by {:?}", rounds(), with.came, with.late);
    nobody_was_lost(&with);
    assert_eq!(with.reports.len(), rounds() as usize + 1);
    assert!(with.came.answered_by().len() > rounds() as usize / 2, "hardly anybody else answered");
    let (usual, restarting) = (without.came.within(99.9), with.came.within(99.9));
    // Late is the machine, not the restart: it shares its processors with whatever else is run.
    assert!(restarting <= usual + LATER + with.late * HOPS, "{usual:?} became {restarting:?}");
}

#[test]
fn restarts_by_inherited_descriptors_lose_nobody_and_hold_up_nobody() {
    restarts_cost_nothing(&inheriting(), |line, old| {
        line.signal(old, Signal::HUP);
        let upgraded = line.tells(old, "upgraded");
        u32::try_from(upgraded["successor"].as_u64().expect("a process id")).expect("a process id")
    });
}

#[test]
fn restarts_by_a_handover_at_a_path_lose_nobody_and_hold_up_nobody() {
    let scratch = Scratch::new();
    let path = scratch.join("handover");
    let setup = offering(&path);
    let mut successor = setup.clone();
    successor["connect"] = true.into();
    restarts_cost_nothing(&setup, |line, _| {
        let next = line.start(&successor);
        until("the successor is at the path", || who_listens_at(&path) == Some(next));
        next
    });
}

// ---------------------------------------------------------------- who waits in the room

/// As many are served at a time.
const PLACES: usize = 2;

/// More than go in one message.
const WAITING: usize = 150;

/// How long they have waited at least when the successor comes.
const AGE: Duration = Duration::from_millis(500);

fn client(to: SocketAddr, request: u8) -> TcpStream {
    let mut client = TcpStream::connect(to).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
    client.write_all(&[request]).expect("the byte is sent");
    client
}

/// The process that answers.
fn answered_by(mut client: &TcpStream) -> u32 {
    let mut answer = [0; 4];
    client.read_exact(&mut answer).expect("it is answered");
    u32::from_le_bytes(answer)
}

fn those_who_wait_go_along(mut setup: Value, succeed: impl FnOnce(&mut Lineage, u32) -> u32) {
    let _alone = alone();
    setup["config"] = json!({ "max_wait": "5m", "order": "fifo", "share": { "exempt": ["127.0.0.1"] } });
    setup["listen"][0]["places"] = PLACES.into();
    let mut line = Lineage::of(GENERATION);
    let old = line.start(&setup);
    let to = address(&line.tells(old, "serving"), "main");
    let held: Vec<_> = (0..PLACES).map(|_| client(to, b'h')).collect();
    assert!(held.iter().all(|client| answered_by(client) == old));
    let waiting: Vec<_> = (0..WAITING).map(|_| client(to, b'x')).collect();
    let room = |snapshot: &Value| snapshot["listeners"]["main"]["waiting"] == WAITING;
    line.becomes(old, "all of them wait in the room", room);
    let since = Instant::now();
    until("they have waited for some time", || since.elapsed() >= AGE);

    let new = succeed(&mut line, old);
    line.tells(new, "serving");
    assert!(waiting.iter().all(|client| answered_by(client) == new), "the successor serves all of them");
    let told = line.becomes(new, "they are through", |told| told["report"]["done"] == WAITING);
    assert_eq!(told["report"]["accepted"], WAITING);
    let main = &told["listeners"]["main"];
    assert_eq!(main["room_wait_count"], WAITING);
    let oldest = Duration::from_micros(main["room_wait_max"].as_u64().expect("a time"));
    assert!(oldest >= AGE, "their time in the old room counts: {oldest:?}");
    // Its own stay with the old one until they go.
    drop(held);
    let report = line.tells(old, "stopped")["report"].clone();
    assert_eq!((&report["handed_over"], &report["done"]), (&json!(WAITING), &json!(PLACES)), "{report}");
    assert_eq!(report["balanced"], true);
    line.shut_down(new);
}

#[test]
fn those_who_wait_in_the_room_go_along_with_their_ages_to_an_heir() {
    those_who_wait_go_along(inheriting(), |line, old| {
        line.signal(old, Signal::HUP);
        let upgraded = line.tells(old, "upgraded");
        assert_eq!((&upgraded["took"], &upgraded["kept"]), (&json!(WAITING), &Value::Null));
        u32::try_from(upgraded["successor"].as_u64().expect("a process id")).expect("a process id")
    });
}

#[test]
fn those_who_wait_in_the_room_go_along_with_their_ages_to_a_stranger() {
    let scratch = Scratch::new();
    let setup = offering(&scratch.join("handover"));
    let mut successor = setup.clone();
    successor["connect"] = true.into();
    successor["config"] = json!({ "max_wait": "5m", "share": { "exempt": ["127.0.0.1"] } });
    successor["listen"][0]["places"] = PLACES.into();
    those_who_wait_go_along(setup, |line, _| line.start(&successor));
}

// ---------------------------------------------------------------- a listener that is given up

#[test]
fn a_listener_that_the_successor_leaves_on_purpose_is_drained_by_the_old_one() {
    let _alone = alone();
    let mut setup = inheriting();
    let listen = setup["listen"].as_array_mut().expect("listeners");
    listen.push(json!({ "name": "legacy", "address": "127.0.0.1:0", "places": 1 }));
    setup["successors"] = json!([{ "fault": "leave" }]);
    let mut line = Lineage::of(GENERATION);
    let old = line.start(&setup);
    let serving = line.tells(old, "serving");
    let (main, legacy) = (address(&serving, "main"), address(&serving, "legacy"));
    let held = client(legacy, b'h');
    assert_eq!(answered_by(&held), old);
    let waits = client(legacy, b'x');
    line.becomes(old, "one waits", |told| told["listeners"]["legacy"]["waiting"] == 1);

    line.signal(old, Signal::HUP);
    let upgraded = line.tells(old, "upgraded");
    assert_eq!(upgraded["took"], 0);
    let new = u32::try_from(upgraded["successor"].as_u64().expect("a process id")).expect("a process id");
    line.tells(new, "serving");
    assert_eq!(answered_by(&client(main, b'x')), new);
    drop(held);
    assert_eq!(answered_by(&waits), old, "who waits for what only the old one serves is served there");
    let report = line.tells(old, "stopped")["report"].clone();
    assert_eq!((&report["done"], &report["handed_over"]), (&json!(2), &json!(0)), "{report}");
    assert!(TcpStream::connect(legacy).is_err(), "nobody listens there any more");
    let names: BTreeSet<_> =
        line.snapshot(new)["listeners"].as_object().expect("them").keys().cloned().collect();
    assert_eq!(names, BTreeSet::from(["main".to_owned()]));
    line.shut_down(new);
}
