//! A server with nothing to do hardly wakes: with nobody there, and with connections that are idle.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on says so, and tells its figures"
)]

use std::thread;
use std::time::{Duration, Instant};

use anteroom_tests::child::ServerProcess;
use anteroom_tests::clients::{ask, connect};
use anteroom_tests::machine::voluntary_switches;
use serde_json::{Value, json};
use socket2::Socket;

const STALLED: &str = env!("CARGO_BIN_EXE_anteroom-test-stalled");

/// The promise's own number: so often in a second, all threads together.
const PER_SECOND: u32 = 2;

const LOOKED_AT: Duration = Duration::from_secs(10);

/// What was under way when the last client was answered has ended by then.
const SETTLED: Duration = Duration::from_secs(3);

struct Idle {
    name: &'static str,
    server: ServerProcess,
    _clients: Vec<Socket>,
}

impl Idle {
    fn start(name: &'static str, config: Value, clients: usize) -> Self {
        let server = ServerProcess::start(STALLED, &json!({ "config": config }));
        let clients: Vec<_> = (0..clients).map(|_| connect(&server.address())).collect();
        for client in &clients {
            assert_eq!(ask(client, "live").expect("it is served"), "live");
        }
        Self { name, server, _clients: clients }
    }
}

#[test]
fn an_idle_server_wakes_at_most_twice_a_second() {
    let unwatched = || json!({ "stall_watch": null });
    let idle = [
        Idle::start("nobody there", Value::Null, 0),
        Idle::start("nobody there, no watch", unwatched(), 0),
        Idle::start("10 idle connections", Value::Null, 10),
        Idle::start("10 idle connections, no watch", unwatched(), 10),
    ];
    // The case itself, and the time over which it is counted: nothing is waited for.
    thread::sleep(SETTLED);
    let count = |idle: &Idle| voluntary_switches(idle.server.pid());
    let (before, since) = (idle.iter().map(count).collect::<Vec<_>>(), Instant::now());
    thread::sleep(LOOKED_AT);
    let (after, seconds) = (idle.iter().map(count).collect::<Vec<_>>(), since.elapsed().as_secs());
    let mut too_often = Vec::new();
    for ((idle, before), after) in idle.iter().zip(before).zip(after) {
        let by_thread: Vec<_> = after
            .iter()
            .map(|(thread, count)| (&thread.1, count - before.get(thread).copied().unwrap_or(0)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let switches: u64 = by_thread.iter().map(|(_, count)| count).sum();
        println!("{}: {switches} in {seconds} s: {by_thread:?}", idle.name);
        // Who wakes exactly every half second does so 21 times in 10 s that begin right before.
        if switches > seconds * u64::from(PER_SECOND) + 1 {
            too_often.push(idle.name);
        }
    }
    assert!(too_often.is_empty(), "more than {PER_SECOND} a second: {too_often:?}");
}
