//! After a stall the newest clients are served, and nobody who has left.
//!
//! One load for four servers at once, each a process: the plain loop, Anteroom in order of arrival, and
//! Anteroom as it is, with its patience for a half-close and without. The folder for the curves and the list
//! of clients can be given in `ANTEROOM_CURVES`.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use anteroom::Config;
use anteroom_load::client::{Leaving, tally};
use anteroom_load::service::Loop;
use anteroom_load::stall::{AfterAStall, Curve, StallRun};
use anteroom_tests::machine::Lateness;
use anteroom_tests::promise::asked_for;
use serde_json::json;

const SERVICE: &str = env!("CARGO_BIN_EXE_anteroom-test-service");

/// The promise's own numbers: from so long after the release on, such a share of the new clients succeeds.
const RECOVERED_AFTER: Duration = Duration::from_millis(250);
const SUCCEED: f64 = 0.99;

/// A client has left when its close returned. The call may begin before that, and its handler note it after.
const SAME_MOMENT: Duration = Duration::from_millis(1);

const SLOT: Duration = Duration::from_millis(100);

fn anteroom(settings: serde_json::Value) -> Loop {
    let config: Config = serde_json::from_value(settings).expect("a configuration");
    Loop::Anteroom(Box::new(config))
}

fn write_down(folder: &Path, runs: &[StallRun]) {
    let create = |name: &str| BufWriter::new(File::create(folder.join(name)).expect("a file in the folder"));
    let (mut curves, mut clients) = (create("after_a_stall.csv"), create("after_a_stall_clients.csv"));
    writeln!(curves, "{}", Curve::HEADING).expect("it is written");
    for run in runs {
        Curve::of(run, SLOT).write_csv(&mut curves).expect("it is written");
        run.write_clients(&mut clients).expect("it is written");
    }
}

/// Calls for those who had left so, but for what the machine kept from being noted in time.
fn served_the_dead(run: &StallRun, manner: Leaving, patience: Duration, late: Duration) -> Vec<String> {
    let calls = run.called_after_leaving(manner).into_iter();
    let after = calls.filter(|(visit, since)| {
        let age = visit.took() + *since;
        *since > SAME_MOMENT + late && age > patience + late
    });
    after.map(|(visit, since)| format!("{visit:?} had left {since:?} before")).collect()
}

#[test]
fn after_a_stall_new_clients_succeed_at_once_and_nobody_who_left_is_served() {
    // Long enough for the plain loop to be seen failing; `ANTEROOM_SECONDS=12` is as long as the promise says.
    let after = Duration::from_secs(asked_for("ANTEROOM_SECONDS", 5));
    let load = AfterAStall { after, ..AfterAStall::default() };
    let servers = [
        ("plain", Loop::Plain),
        ("fifo", anteroom(json!({ "order": "fifo" }))),
        ("anteroom", anteroom(json!({}))),
        ("gone", anteroom(json!({ "half_close": "gone" }))),
    ];
    let lateness = Lateness::measure();
    let runs = load.run(SERVICE, &servers).expect("servers and clients work");
    let late = lateness.worst();
    if let Some(folder) = std::env::var_os("ANTEROOM_CURVES") {
        write_down(Path::new(&folder), &runs);
    }
    for run in &runs {
        let recovered = run.recovered_after(SUCCEED, Duration::from_secs(1));
        println!("{}: {}; recovered after {recovered:?}; {}", run.name, tally(&run.visits), run.report);
        for manner in Leaving::ALL {
            let calls = run.called_after_leaving(manner);
            let last = calls.iter().map(|(_, since)| *since).max();
            println!("  calls for clients that had {manner}: {}, the last {last:?} after", calls.len());
        }
    }
    println!("the machine was late by {late:?}");

    for run in runs.iter().filter(|run| run.name != "plain") {
        let Config { half_close, .. } = Config::default();
        let patience = match (&*run.name, half_close) {
            ("gone", _) => Duration::ZERO,
            (_, anteroom::HalfClose::Patience(patience)) => patience,
            (_, other) => panic!("not the default that this test knows: {other:?}"),
        };
        for (manner, patience) in [
            (Leaving::Silent, Duration::ZERO),
            (Leaving::Reset, Duration::ZERO),
            (Leaving::SendAndClose, patience),
        ] {
            let dead = served_the_dead(run, manner, patience, late);
            assert!(dead.is_empty(), "{} served who had {manner}: {dead:#?}", run.name);
        }
    }
    for run in runs.iter().filter(|run| matches!(&*run.name, "anteroom" | "gone")) {
        let whole = run.success(RECOVERED_AFTER..load.after);
        // Right after it, where it is hardest.
        let first = run.success(RECOVERED_AFTER..RECOVERED_AFTER + Duration::from_secs(2));
        assert!(whole >= SUCCEED && first >= SUCCEED, "{}: {first} at first, {whole} in all", run.name);
    }
    // What it is compared with fails under the very same load, or nothing was shown.
    let plain = runs.first().expect("the plain loop");
    let share = plain.success(RECOVERED_AFTER..RECOVERED_AFTER + Duration::from_secs(2));
    assert!(share < 0.5, "the plain loop served {share}: this load stalls nobody");
    assert!(!plain.called_after_leaving(Leaving::Silent).is_empty(), "the plain loop serves the dead");
}
