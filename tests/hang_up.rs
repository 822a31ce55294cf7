//! Who waits and hangs up frees his place at once, whether ten wait or fifteen thousand.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and tells its figures; not every helper counts as a test"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use anteroom_load::client::{connect_from, loopback_sources};
use anteroom_testkit::{BOUND, eventually};
use anteroom_tests::child::{ServerProcess, acceptor_of, waited_for_a_processor};
use anteroom_tests::clients::{ask, connect};
use anteroom_tests::lines::answer;
use serde_json::json;
use socket2::Socket;

const SERVER: &str = env!("CARGO_BIN_EXE_anteroom-test-server");

/// The promise's own number.
const AT_ONCE: Duration = Duration::from_millis(100);

/// How many hang up, one after the other.
const HANG_UPS: usize = 40;

/// Enough that nobody's share is a limit.
const SOURCES: u16 = 250;

/// Without the time in which the acceptor, or this thread, was ready to go on and others had the processors.
fn took(acceptor: &Path, act: impl FnOnce()) -> Duration {
    let waited =
        || [waited_for_a_processor(acceptor), waited_for_a_processor(Path::new("/proc/thread-self"))];
    let (before, start) = (waited(), Instant::now());
    act();
    let (took, after) = (start.elapsed(), waited());
    let waits = after.iter().zip(before).map(|(after, before)| after.saturating_sub(before));
    took.saturating_sub(waits.max().unwrap_or_default())
}

/// With every waiting place taken: so a place that is free is one that somebody left.
fn hang_up_among(waiting: usize) {
    let config = json!({
        "max_connections": 1,
        "max_waiting": waiting,
        "max_wait": "10m",
        "order": "fifo",
        "share": { "exempt": ["127.0.0.0/8"] },
        "descriptors": "unlimited",
    });
    let mut server = ServerProcess::start(SERVER, &json!({ "config": config }));
    let address = server.address();
    let target = address.tcp().expect("it is TCP");
    let acceptor = acceptor_of(server.pid());
    let holder = connect(&address);
    assert_eq!(ask(&holder, "hold").expect("it is served"), answer("hold"));

    let sources = loopback_sources(SOURCES);
    let arrive = |number: usize| {
        connect_from(sources[number % sources.len()], target, BOUND).expect("the room has a place")
    };
    let mut clients: Vec<_> = (0..waiting).map(arrive).collect();
    server.eventually("all wait", |now| now["waiting"] == waiting);

    let mut longest = Duration::ZERO;
    for number in 0..HANG_UPS {
        // From everywhere in the line; a prime's multiples meet every place of it.
        let leaver = clients.swap_remove(number * 7_919 % clients.len());
        let freed = took(&acceptor, || {
            if number % 2 == 0 {
                Socket::from(leaver.try_clone().expect("a descriptor"))
                    .set_linger(Some(Duration::ZERO))
                    .expect("SO_LINGER");
            }
            drop(leaver);
            eventually("the place is free", BOUND, || server.snapshot()["waiting"] == waiting - 1);
        });
        longest = longest.max(freed);
        assert!(freed <= AT_ONCE, "hang-up {number} among {waiting} freed its place after {freed:?}");
        // And it is one that can be had.
        clients.push(arrive(number));
        server.eventually("another one waits in it", |now| now["waiting"] == waiting);
    }
    println!("among {waiting} a hang-up freed its place within {longest:?}");
    let report = &server.snapshot()["report"];
    assert_eq!(report["refused"]["total"], 0, "{report}");
    assert_eq!(report["dead"]["total"], HANG_UPS, "{report}");
}

#[test]
fn among_ten_who_wait_the_place_of_who_hangs_up_is_free_at_once() {
    hang_up_among(10);
}

/// As many as this process may have connections.
#[test]
fn among_fifteen_thousand_who_wait_the_place_of_who_hangs_up_is_free_at_once() {
    hang_up_among(15_000);
}
