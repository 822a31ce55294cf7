//! Nothing is called a stall that is none: under full load nothing is told, and on a machine that others keep busy
//! no handler is blamed.
//!
//! `ANTEROOM_SECONDS=600` takes as long as the promise says; without it less must do.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on says so, and tells its figures"
)]

use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anteroom::Address;
use anteroom_tests::child::ServerProcess;
use anteroom_tests::clients::{ask, connect};
use anteroom_tests::machine::Lateness;
use anteroom_tests::promise::asked_for;
use anteroom_tests::stalling::THRESHOLD;
use serde_json::{Value, json};

const STALLED: &str = env!("CARGO_BIN_EXE_anteroom-test-stalled");

/// Connections at a time: all that two workers can do.
const CONNECTIONS: usize = 32;

/// How many answers a connection asks for before the next one follows it.
const ANSWERS: usize = 20;

/// Of processor time: less than the threshold, and more than that of time when others have the processors.
const COMPUTES: Duration = Duration::from_millis(150);

/// One at a time: the load of one is no health of the other.
static ALONE: Mutex<()> = Mutex::new(());

fn length() -> Duration {
    Duration::from_secs(asked_for("ANTEROOM_SECONDS", 6))
}

/// A closed loop of clients, each of which comes, asks, and is followed by the next. Gives the answers.
fn load(target: &Address, connections: usize, until: Instant) -> u64 {
    let answers = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                while Instant::now() < until {
                    let client = connect(target);
                    for _ in 0..ANSWERS {
                        assert_eq!(ask(&client, "live").expect("it is served"), "live");
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    answers.into_inner()
}

fn causes(told: &[Value]) -> Vec<&str> {
    told.iter().filter_map(|event| event["fields"]["cause"].as_str()).collect()
}

#[test]
fn under_full_load_nothing_is_told() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut server = ServerProcess::start(STALLED, &json!({ "workers": 2 }));
    let (target, until) = (server.address(), Instant::now() + length());
    let lateness = Lateness::measure();
    let answers = load(&target, CONNECTIONS, until);
    let late = lateness.worst();
    let snapshot = server.snapshot();
    println!("{answers} answers in {:?}; the machine was late by {late:?}; {snapshot}", length());
    assert!(u128::from(answers) > length().as_millis(), "that is no full load: {answers}");
    let told = server.events("anteroom::stall");
    // Where a thread that does nothing but sleep is kept from running for so long, it is true.
    let is_true = |cause: &&str| *cause == "starved" && late >= THRESHOLD;
    let untrue: Vec<_> = causes(&told).into_iter().filter(|cause| !is_true(cause)).collect();
    assert!(untrue.is_empty(), "the machine was late by {late:?}: {told:?}");
    assert!(server.events("anteroom::blame").is_empty(), "{told:?}");
    assert_eq!(snapshot["readiness"]["ready"], true, "{snapshot}");
}

/// Processes that compute for nothing, as long as this lives.
struct Busy(Vec<Child>);

impl Busy {
    fn start(many: usize) -> Self {
        let spin = || {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            command.spawn().expect("a shell")
        };
        Self((0..many).map(|_| spin()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ended_already = process.kill();
            let _reaped = process.wait();
        }
    }
}

#[test]
fn while_others_keep_every_processor_busy_no_handler_is_blamed() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let processors = thread::available_parallelism().expect("the machine tells").get();
    let mut server = ServerProcess::start(STALLED, &json!({ "workers": 4 }));
    let (target, until) = (server.address(), Instant::now() + length());
    let _busy = Busy::start(2 * processors);
    let order = format!("compute {}", COMPUTES.as_millis());
    let (answers, took) = thread::scope(|scope| {
        let load = scope.spawn(|| load(&target, 4, until));
        // A handler that computes for a while, which takes it longer than the threshold here. One order for each
        // connection: a second one that comes early is carried out in the same poll.
        let mut took = Vec::new();
        while Instant::now() < until {
            let (since, client) = (Instant::now(), connect(&target));
            assert_eq!(ask(&client, &order).expect("it is served"), order);
            took.push(since.elapsed());
        }
        (load.join().expect("it is served"), took)
    });
    let long = took.iter().filter(|took| **took > THRESHOLD).count();
    let told = server.events("anteroom::stall");
    println!("{answers} answers, {long} of {} long polls, told: {:?}", took.len(), causes(&told));
    assert!(long > 0, "nothing took long: {took:?}");
    assert!(!causes(&told).contains(&"held"), "{told:?}");
    let blamed = server.events("anteroom::blame");
    assert!(blamed.is_empty(), "{blamed:?}");
}
