//! Whoever comes first after a quiet time is let in by a taker before the acceptor has woken up: their time is kept all
//! the same, and that they hang up is seen, although nobody else comes.

#![allow(
    clippy::expect_used,
    reason = "a test that cannot go on fails; not every helper of a test counts as one"
)]

use std::thread;
use std::time::{Duration, Instant};

use anteroom::Config;
use anteroom_testkit::BOUND;
use anteroom_tests::clients::{ask, connect, read_to_end, reset, send};
use anteroom_tests::lines::answer;
use anteroom_tests::local::LocalServer;
use anteroom_tests::machine::Lateness;
use socket2::Socket;

/// Who is faster is a matter of chance.
const ROUNDS: u64 = 15;

/// Longer than the acceptor looks after the takers when nobody comes.
const QUIET: Duration = Duration::from_millis(60);

/// A server that has but one place, and who has it.
fn start(max_wait: Duration) -> (LocalServer, Socket) {
    let mut config = Config::default();
    config.max_connections = Some(1);
    config.max_wait = max_wait;
    let server = LocalServer::start("127.0.0.1:0", config);
    let holder = connect(server.address());
    assert_eq!(ask(&holder, "hold").expect("it is served"), answer("hold"));
    (server, holder)
}

#[test]
fn is_refused_when_their_time_is_over() {
    let (server, _holder) = start(Duration::from_millis(100));
    for round in 1..=ROUNDS {
        thread::sleep(QUIET);
        let client = connect(server.address());
        send(&client, "ask");
        let (since, lateness) = (Instant::now(), Lateness::measure());
        server.becomes("nobody waits any more", |now| now.report.refused.total() == round);
        let (took, late) = (since.elapsed(), lateness.worst());
        assert!(took <= Duration::from_secs(1) + late, "{took:?} for 100 ms; the machine {late:?} late");
        // Reset, or closed: what it sent was not read.
        let _how = read_to_end(&client);
    }
}

#[test]
fn is_known_to_have_hung_up() {
    let (server, _holder) = start(20 * BOUND);
    for round in 1..=ROUNDS {
        thread::sleep(QUIET);
        let client = connect(server.address());
        send(&client, "ask");
        server.becomes("it waits", |now| now.waiting == 1);
        reset(client);
        server.becomes("its place is free", |now| {
            now.waiting == 0 && now.report.dead_on_arrival.in_room.total() == round
        });
    }
}
