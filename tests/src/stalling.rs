//! A server that is being stalled, and what it says of it in time.
//!
//! Owns the bound within which a stall has to be told, and the machine's lateness beside it.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use anteroom_testkit::{BOUND, eventually_gives};
use serde_json::Value;
use socket2::Socket;

use crate::child::ServerProcess;
use crate::clients::{ask, connect, name_of};
use crate::machine::Lateness;

/// The default of `StallWatch::threshold`.
pub const THRESHOLD: Duration = Duration::from_millis(250);

/// The promise's own number: a stall is told so long after it has passed its threshold.
pub const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// The process, and how late the machine was while it was watched.
#[derive(Debug)]
pub struct Stalling {
    /// The conversation with it.
    pub server: ServerProcess,
    lateness: Lateness,
}

impl Stalling {
    /// Starts `program`, which is the test's `env!("CARGO_BIN_EXE_anteroom-test-stalled")`.
    #[must_use]
    pub fn start(program: &str, setup: &Value) -> Self {
        Self::start_under(&[], program, setup)
    }

    /// The same, by a program that starts programs, such as `prlimit`.
    #[must_use]
    pub fn start_under(starter: &[&str], program: &str, setup: &Value) -> Self {
        Self { server: ServerProcess::start_under(starter, program, setup), lateness: Lateness::measure() }
    }

    /// A client that is being served, and the id of its connection.
    #[must_use]
    pub fn client(&self) -> Client {
        let socket = connect(&self.server.address());
        let answer = ask(&socket, "id").expect("it is served");
        let id = answer.strip_prefix("id ").and_then(|id| id.parse().ok()).expect("its id");
        Client { peer: name_of(&socket), socket, id }
    }

    /// From now on the machine's lateness counts.
    #[must_use]
    pub fn begin(&self) -> Instant {
        let _before = self.lateness.worst();
        Instant::now()
    }

    /// The stall of this cause, which has begun no earlier than `since`: in the snapshot and as an event, both
    /// within the promise's time.
    pub fn told(&mut self, cause: &str, since: Instant) -> Value {
        self.told_such(cause, since, |_| true)
    }

    /// The same, of one that is as wanted: it may not be known at once how far it goes.
    #[expect(clippy::print_stdout, reason = "a test tells its figures")]
    pub fn told_such(&mut self, cause: &str, since: Instant, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let shown = eventually_gives(&format!("{cause} is shown"), BOUND, || {
            last = self.server.ask("stalls");
            let stalls = last.as_array().expect("a list");
            stalls.iter().find(|stall| stall["cause"] == cause && is_so(stall)).cloned()
        });
        let is_it = |event: &Value| event["fields"]["cause"] == cause;
        let event = eventually_gives("it is spoken of", BOUND, || {
            self.server.events("anteroom::stall").into_iter().find(is_it)
        });
        let (after, late) = (since.elapsed(), self.lateness.worst());
        println!("{cause}: told after {after:?} (the machine was late by {late:?}): {}", shown["message"]);
        assert!(after <= THRESHOLD + TOLD_WITHIN + late, "told after {after:?}, late by {late:?}: {shown}");
        assert_eq!(event["level"], "WARN", "{event}");
        assert_eq!(event["fields"]["advice"], shown["advice"], "{event}");
        shown
    }

    /// Waits until it is over, and has been said to be.
    pub fn is_over(&mut self, cause: &str) {
        eventually_gives(&format!("{cause} is over"), BOUND, || {
            let over = self.server.events("anteroom::stall_over");
            let said = over.iter().any(|event| event["fields"]["cause"] == cause);
            let shown = self.server.ask("stalls");
            let gone = shown.as_array().expect("a list").iter().all(|stall| stall["cause"] != cause);
            (said && gone).then_some(())
        });
    }

    /// Waits until so many handlers hold a thread, and gives what they themselves know of it.
    pub fn holding(&mut self, many: usize) -> Vec<Value> {
        eventually_gives("threads are held", BOUND, || {
            let holding = self.server.ask("holding");
            let holding = holding.as_array().expect("a list");
            (holding.len() == many).then(|| holding.clone())
        })
    }

    /// Nothing has ever been told of this cause.
    pub fn never_told(&mut self, cause: &str) {
        let told = self.server.events("anteroom::stall");
        let of_cause: Vec<_> = told.iter().filter(|event| event["fields"]["cause"] == cause).collect();
        assert!(of_cause.is_empty(), "{of_cause:?}");
    }

    /// The blame is right: exactly these threads, by name and number, for exactly these connections.
    pub fn blames(&self, stall: &Value, clients: &[&Client], holding: &[Value]) {
        let by = stall["by"].as_array().expect("a list");
        assert_eq!(by.len(), clients.len(), "{stall}");
        let pairs = |of: &[Value], thread: &str| -> BTreeSet<(u64, u64)> {
            let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number: {stall}"));
            of.iter().map(|one| (number(&one["connection"]), number(&one[thread]))).collect()
        };
        assert_eq!(pairs(by, "thread_id"), pairs(holding, "thread"), "{stall}");
        for blame in by {
            assert_eq!(blame["thread"], "app-worker", "{stall}");
            let thread = &blame["thread_id"];
            let comm = fs::read_to_string(format!("/proc/{}/task/{thread}/comm", self.server.pid()));
            assert_eq!(comm.expect("there is such a thread").trim(), "app-worker", "{stall}");
            let client = clients.iter().find(|client| blame["connection"] == client.id);
            let client = client.unwrap_or_else(|| panic!("nobody's connection: {stall}"));
            assert_eq!(blame["peer"], client.peer, "{stall}");
            assert_eq!(blame["listeners"], serde_json::json!(["main"]), "{stall}");
        }
    }
}

/// A client whose connection has a number.
#[derive(Debug)]
pub struct Client {
    /// Its end.
    pub socket: Socket,
    /// The id of its connection.
    pub id: u64,
    /// Its address, as the server sees it.
    pub peer: String,
}
