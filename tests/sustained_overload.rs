//! Twice what a service can do, for a while: it does what it can, for clients that still wait. `ANTEROOM_SECONDS=30` is as
//! long as the promise says; without it less must do.
//!
//! Its capacity is bound by time, not by the processor. The plain loop has the same load in the same run.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anteroom_load::client::{
    ClosedLoop, Ending, Exchange, Hearing, ImpatientLoop, Leaving, Schedule, Until, Visit, Visitor,
    loopback_sources, tally,
};
use anteroom_load::measure::now;
use anteroom_load::service::{Loop, Setup};
use anteroom_tests::machine::Lateness;
use anteroom_tests::promise::asked_for;
use serde_json::json;

const SERVICE: &str = env!("CARGO_BIN_EXE_anteroom-test-service");

const PLACES: usize = 50;
const TAKES: Duration = Duration::from_millis(50);

/// The promise's own numbers.
const PATIENCE: Duration = Duration::from_secs(1);
const GOODPUT: f64 = 0.95;
const P99: Duration = Duration::from_millis(300);

/// As many connections at a time keep every place taken, and few of them waiting.
const SATURATING: usize = PLACES * 3 / 2;

const SOURCES: u16 = 200;

fn length() -> Duration {
    Duration::from_secs(asked_for("ANTEROOM_SECONDS", 10))
}

fn setup(accepted_by: Loop) -> Setup {
    Setup { accepted_by, places: PLACES, takes: TAKES, workers: 2, backlog: 4096 }
}

/// What one server did under twice its peak.
struct Outcome {
    /// Answers per second at saturation.
    peak: f64,
    /// Answers per second under overload, to clients that were there to get them.
    goodput: f64,
    p99: Duration,
    late: Duration,
    ends: String,
    report: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peak, goodput, p99, late, ends, report } = self;
        write!(f, "peak {peak:.0}/s, goodput {goodput:.0}/s, p99 {p99:?}; {ends}; the machine was late by ")?;
        write!(f, "{late:?}; {report}")
    }
}

fn overload(accepted_by: Loop) -> Outcome {
    let mut server = setup(accepted_by).start(SERVICE).expect("it starts");
    let target = server.address();
    let saturate = ClosedLoop { target, exchange: Exchange::one_byte(), connections: SATURATING };
    let peak = saturate.run(Until::Elapsed(Duration::from_secs(4))).expect("the client works").rate();
    let lateness = Lateness::measure();
    let begin = now();
    let visits = offer(target, 2.0 * peak, begin);
    let late = lateness.worst();
    let (goodput, p99) = judge(&visits, begin);
    let report = server.ask("report").expect("it answers");
    Outcome { peak, goodput, p99, late, ends: tally(&visits), report }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of some thousands")]
fn offer(target: SocketAddr, rate: f64, begin: Duration) -> Vec<Visit> {
    let visitors = loopback_sources(SOURCES).into_iter().map(|source| Visitor {
        target,
        source: Some(source),
        request: Arc::from(&b"x"[..]),
        hearing: Hearing::FirstByte,
        leaving: Leaving::SendAndClose,
        patience: PATIENCE,
    });
    let load = ImpatientLoop { visitors: visitors.collect(), schedule: Schedule::new(rate as u32, length()) };
    load.run(begin).expect("the client works")
}

fn judge(visits: &[Visit], begin: Duration) -> (f64, Duration) {
    let answered = visits.iter().filter(|visit| visit.ending == Ending::Answered);
    let mut took: Vec<_> = answered.clone().map(Visit::took).collect();
    took.sort_unstable();
    let p99 = took.get((took.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(Duration::MAX);
    let in_time = answered.filter(|visit| visit.ended <= begin + length()).count();
    (in_time as f64 / length().as_secs_f64(), p99)
}

#[test]
fn under_twice_its_capacity_a_service_gives_all_it_can_to_clients_that_still_wait() {
    // The peak is measured from one address, which is to have every place; the overload comes from others.
    let config = json!({
        "share": { "exempt": ["127.0.0.1"] },
        "order": { "adaptive": { "target": "100ms", "interval": "100ms", "give_up": "200ms" } },
    });
    let config = serde_json::from_value(config).expect("a configuration");
    let plain = overload(Loop::Plain);
    println!("plain: {plain}");
    let anteroom = overload(Loop::Anteroom(Box::new(config)));
    println!("anteroom: {anteroom}");
    assert!(plain.goodput < plain.peak * 0.5, "the plain loop copes with this load: {plain}");
    assert!(anteroom.goodput >= anteroom.peak * GOODPUT, "{anteroom}");
    assert!(anteroom.p99 <= P99 + anteroom.late, "{anteroom}");
}
