//! Connections that never send a byte are closed at the deadline of the first byte, every one, and nobody
//! else notices them.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on says so, and tells its figures"
)]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anteroom_load::client::{
    Ending, Hearing, ImpatientLoop, Leaving, Schedule, Visit, Visitor, answered_within, loopback_sources,
    tally,
};
use anteroom_load::measure::now;
use anteroom_testkit::BOUND;
use anteroom_tests::child::ServerProcess;
use anteroom_tests::machine::Lateness;
use serde_json::json;

const SERVER: &str = env!("CARGO_BIN_EXE_anteroom-test-server");

/// The promise's own numbers.
const SILENT: u32 = 8_000;
const SLOWER: Duration = Duration::from_millis(20);

const DEADLINE: Duration = Duration::from_secs(5);
const TOLERANCE: Duration = Duration::from_millis(500);

/// How fast they come: all of them are there for most of the time.
const PER_SECOND: u32 = 4_000;

/// Enough that nobody's share is a limit.
const SOURCES: u16 = 250;

fn visitor(target: SocketAddr, source: IpAddr, request: &[u8], leaving: Leaving) -> Visitor {
    Visitor {
        target,
        source: Some(source),
        request: Arc::from(request),
        hearing: Hearing::FirstByte,
        leaving,
        patience: BOUND,
    }
}

/// The active client, once every 10 ms for so long: the time for 99 of 100 answers.
fn p99(what: &str, target: SocketAddr, length: Duration) -> Duration {
    let active = visitor(target, [127, 200, 0, 1].into(), b"live\n", Leaving::SendAndClose);
    let load = ImpatientLoop { visitors: vec![active], schedule: Schedule::new(100, length) };
    let visits = load.run(now()).expect("the client works");
    let p99 = answered_within(&visits, 99).expect("somebody is answered");
    println!("{what}: {}, p99 {p99:?}", tally(&visits));
    assert!(visits.iter().all(|visit| visit.ending == Ending::Answered), "{what}: {}", tally(&visits));
    p99
}

fn silence(target: SocketAddr) -> Vec<Visit> {
    let sources = loopback_sources(SOURCES).into_iter();
    let visitors = sources.map(|source| visitor(target, source, b"", Leaving::Silent)).collect();
    let length = Duration::from_secs(u64::from(SILENT / PER_SECOND));
    ImpatientLoop { visitors, schedule: Schedule::new(PER_SECOND, length) }
        .run(now())
        .expect("the client works")
}

#[test]
fn who_never_sends_is_closed_at_the_deadline_and_nobody_notices() {
    let config = json!({ "first_byte": { "within": "5s", "max_silent": 10_000 } });
    let mut server = ServerProcess::start(SERVER, &json!({ "config": config }));
    let target = server.address().tcp().expect("it is TCP");
    let unloaded = p99("unloaded", target, Duration::from_secs(4));
    let lateness = Lateness::measure();
    let coming = thread::spawn(move || silence(target));
    let among = p99("among the silent", target, DEADLINE + Duration::from_secs(2));
    let visits = coming.join().expect("the silent clients work");
    let late = lateness.worst();

    println!("{}; the machine was late by {late:?}", tally(&visits));
    assert_eq!(visits.len(), SILENT as usize);
    let mut ages: Vec<_> = visits
        .iter()
        .map(|visit| {
            assert!(matches!(visit.ending, Ending::Reset | Ending::Closed), "{visit:?}");
            visit.ended.saturating_sub(visit.connected.expect("it was connected"))
        })
        .collect();
    ages.sort_unstable();
    let (youngest, oldest) = (ages.first().expect("many"), ages.last().expect("many"));
    println!("closed at an age of {youngest:?} to {oldest:?}");
    assert!(*youngest >= DEADLINE - TOLERANCE, "closed at {youngest:?}");
    assert!(*oldest <= DEADLINE + TOLERANCE + late, "closed at {oldest:?}");
    assert!(among <= unloaded + SLOWER + late, "p99 {among:?} among the silent, {unloaded:?} without");
    let report = server.drain(BOUND);
    assert_eq!(report["refused"]["silent"], SILENT, "{report}");
    assert_eq!(report["balanced"], true, "{report}");
}
