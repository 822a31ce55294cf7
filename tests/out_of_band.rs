//! While every worker of the application is blocked the admin listener answers, and names who blocks them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on says so, and tells its figures"
)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anteroom_testkit::{BOUND, eventually};
use anteroom_tests::clients::{PATIENCE, next_line, send};
use anteroom_tests::machine::Lateness;
use anteroom_tests::stalling::Stalling;
use serde_json::{Value, json};

const STALLED: &str = env!("CARGO_BIN_EXE_anteroom-test-stalled");

const WORKERS: usize = 4;

/// The promise's own numbers.
const BLOCKED_FOR: Duration = Duration::from_secs(10);
const REQUESTS: usize = 1000;
const WITHIN: Duration = Duration::from_millis(50);
const TURNS_WITHIN: Duration = Duration::from_secs(1);

/// A connection to the admin listener that is kept alive.
struct Asking(BufReader<TcpStream>);

impl Asking {
    fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Self(BufReader::new(stream))
    }

    /// The status and the body.
    fn get(&mut self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).expect("it is sent");
        let mut line = String::new();
        self.0.read_line(&mut line).expect("it answers");
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {line:?}"));
        let mut length = 0;
        loop {
            let mut header = String::new();
            self.0.read_line(&mut header).expect("a header");
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the body");
        (status, String::from_utf8(body).expect("a text"))
    }
}

/// Connection and thread of everybody who is blamed.
fn blamed(status: &str) -> BTreeSet<(Option<u64>, Option<u64>)> {
    let status: Value = serde_json::from_str(status).expect("JSON");
    let server = status["servers"].as_object().and_then(|servers| servers.values().next());
    let stalls = server.expect("there is one")["stalls"].as_array().expect("a list");
    let held = stalls.iter().filter(|stall| stall["cause"] == "held");
    let by = held.flat_map(|stall| stall["evidence"]["held_by"].as_array().expect("a list"));
    by.map(|by| (by["connection"]["id"].as_u64(), by["thread"]["id"].as_u64())).collect()
}

/// How long it takes until `/ready` answers so, and by how much the machine was late.
fn turns(admin: SocketAddr, wanted: u16) -> (Duration, Duration) {
    let (since, lateness, mut asking) = (Instant::now(), Lateness::measure(), Asking::connect(admin));
    eventually("readiness turns", BOUND, || asking.get("/ready").0 == wanted);
    (since.elapsed(), lateness.worst())
}

#[test]
fn a_thousand_requests_are_answered_while_every_worker_is_blocked() {
    let mut stalling = Stalling::start(STALLED, &json!({ "workers": WORKERS, "admin": "127.0.0.1:0" }));
    let admin = stalling.server.admin().tcp().expect("it is TCP");
    assert_eq!(Asking::connect(admin).get("/ready").0, 200);
    let blockers: Vec<_> = (0..WORKERS).map(|_| stalling.client()).collect();
    let order = format!("sleep {}", BLOCKED_FOR.as_millis());
    for blocker in &blockers {
        send(&blocker.socket, &order);
    }
    let holding = stalling.holding(WORKERS);
    let (unready, late) = turns(admin, 503);
    assert!(unready <= TURNS_WITHIN + late, "not ready after {unready:?}, late by {late:?}");
    let number = |holding: &Value, key: &str| holding[key].as_u64();
    let all: BTreeSet<_> =
        holding.iter().map(|one| (number(one, "connection"), number(one, "thread"))).collect();
    assert_eq!(all.len(), WORKERS, "{holding:?}");
    eventually("all are named", BOUND, || blamed(&Asking::connect(admin).get("/status").1) == all);

    let lateness = Lateness::measure();
    let mut kept = Asking::connect(admin);
    let mut took = Vec::new();
    for number in 0..REQUESTS {
        let _before = lateness.worst();
        let since = Instant::now();
        let (status, body) = match number % 2 {
            0 => kept.get("/status"),
            _ => Asking::connect(admin).get("/status"),
        };
        let (elapsed, late) = (since.elapsed(), lateness.worst());
        took.push(elapsed);
        assert_eq!((status, blamed(&body)), (200, all.clone()), "{body}");
        assert!(elapsed <= WITHIN + 2 * late, "request {number}: {elapsed:?}, late by {late:?}");
    }
    took.sort();
    println!(
        "{REQUESTS} requests: median {:?}, longest {:?}; not ready after {unready:?}",
        took[REQUESTS / 2],
        took[REQUESTS - 1]
    );
    assert_eq!(
        stalling.holding(WORKERS),
        holding,
        "the block must outlast the requests, or nothing is shown"
    );

    for blocker in &blockers {
        assert_eq!(next_line(&blocker.socket).expect("it comes back"), order);
    }
    let (ready, late) = turns(admin, 200);
    println!("ready again after {ready:?}, the machine being late by {late:?}");
    assert!(ready <= TURNS_WITHIN + late, "ready after {ready:?}, late by {late:?}");
    eventually("nobody is blamed any more", BOUND, || {
        blamed(&Asking::connect(admin).get("/status").1).is_empty()
    });
}
