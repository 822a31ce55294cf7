//! One source that takes what it can, and many that take little: these do not notice. `ANTEROOM_SECONDS` is how long
//! they are looked at, each time.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and tells its figures; not every helper counts as a test"
)]

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anteroom_load::client::{
    Ending, Flood, Hearing, ImpatientLoop, Leaving, Schedule, Visit, Visitor, answered_within,
    loopback_sources, tally,
};
use anteroom_load::measure::now;
use anteroom_testkit::{BOUND, eventually, isolated};
use anteroom_tests::child::ServerProcess;
use anteroom_tests::clients::{ask, connect};
use anteroom_tests::lines::answer;
use anteroom_tests::machine::Lateness;
use anteroom_tests::promise::asked_for;
use serde_json::json;

const SERVER: &str = env!("CARGO_BIN_EXE_anteroom-test-server");

/// The promise's own numbers.
const FLOOD: u32 = 5_000;
const SOURCES: u16 = 50;
const SLOWER: Duration = Duration::from_millis(20);

/// A flood that had no processor for half of its time is none: then the round says nothing.
const FLOOD_AT_LEAST: f64 = 2_500.0;

const ROUNDS: usize = 3;

const ALPHA: usize = 8;

/// A source takes another place only while it holds at most α times the free ones: then it holds one more.
const fn share(places: usize) -> usize {
    ALPHA * places / (ALPHA + 1) + 1
}

/// Places of the lane.
#[derive(Clone, Copy, Debug)]
struct Places {
    open: usize,
    waiting: usize,
}

impl Places {
    /// Most of them open.
    const MANY: Self = Self { open: 900, waiting: 90 };

    /// Few, and as many may wait as by default: by far the most of what a source may hold is places to wait.
    const FEW: Self = Self { open: 64, waiting: 4_096 };

    /// What one source gets, open or waiting.
    fn share(self) -> usize {
        share(self.open + self.waiting)
    }
}

/// How long the fifty are looked at, each time.
fn length() -> Duration {
    Duration::from_secs(asked_for("ANTEROOM_SECONDS", 5))
}

/// Nobody is refused for the time that he waits: the flooder keeps all that it gets.
fn start(listen: &str, places: Places) -> (ServerProcess, SocketAddr) {
    let config = json!({
        "max_connections": places.open,
        "max_waiting": places.waiting,
        "max_wait": "10m",
    });
    let server = ServerProcess::start(SERVER, &json!({ "listen": listen, "config": config }));
    let address = server.address().tcp().expect("it is TCP");
    (server, address)
}

/// Opens, says nothing, and stays.
fn holder(target: SocketAddr, source: IpAddr) -> Visitor {
    Visitor {
        target,
        source: Some(source),
        request: Arc::from(&b""[..]),
        hearing: Hearing::FirstByte,
        leaving: Leaving::Silent,
        patience: Duration::from_secs(3_600),
    }
}

/// Fifty sources, each of which asks once a second.
fn fifty(target: SocketAddr) -> Vec<Visit> {
    let visitors = loopback_sources(SOURCES).into_iter().map(|source| Visitor {
        target,
        source: Some(source),
        request: Arc::from(&b"live\n"[..]),
        hearing: Hearing::FirstByte,
        leaving: Leaving::SendAndClose,
        patience: BOUND,
    });
    let schedule = Schedule::new(u32::from(SOURCES), length());
    ImpatientLoop { visitors: visitors.collect(), schedule }.run(now()).expect("the client works")
}

/// All of them answered; the time for 99 of 100, and how late the machine was.
fn p99(what: &str, target: SocketAddr) -> (Duration, Duration) {
    let lateness = Lateness::measure();
    let visits = fifty(target);
    let late = lateness.worst();
    let p99 = answered_within(&visits, 99).expect("somebody is answered");
    println!("{what}: {}; p99 {p99:?}; the machine was late by {late:?}", tally(&visits));
    assert!(visits.iter().all(|visit| visit.ending == Ending::Answered), "{what}: {}", tally(&visits));
    (p99, late)
}

/// Once nobody comes any more, everything is decided.
fn holds_no_more_than_its_share(flood: &Flood, server: &mut ServerProcess, places: Places) {
    flood.hold();
    let now = server.eventually("the flood is decided on", |now| {
        let held = now["open"].as_u64().zip(now["waiting"].as_u64()).map(|(open, waiting)| open + waiting);
        held == Some(flood.held() as u64)
    });
    let held = flood.held();
    let (open, share_of_all, share_of_open) = (&now["open"], places.share(), share(places.open));
    println!(
        "the flood made {} connections and holds {held} of {share_of_all}, {open} of {share_of_open} open ones",
        flood.made()
    );
    assert!(held <= share_of_all, "one source holds {held} of {places:?}");
    let open = open.as_u64().expect("a number");
    assert!(open <= share_of_open as u64, "one source has {open} open ones of {places:?}");
    // It came first and for long: were it less, something else had turned it away.
    assert!(held * 10 >= share_of_all * 9, "one source holds only {held} of its share of {share_of_all}");
}

/// Whether the flood was one, and both while it came and after it had come first nobody noticed.
fn nobody_notices(places: Places) -> bool {
    let (mut server, target) = start("127.0.0.1:0", places);
    let (unloaded, _) = p99("without a flood", target);
    let flood = Flood::begin(vec![holder(target, [127, 200, 0, 1].into())], FLOOD);
    let began = now();
    let (with, late) = p99("while it comes", target);
    let rate = flood.made() as f64 / (now() - began).as_secs_f64();
    // It has all that it gets before these come.
    let (behind, late_again) = p99("behind it", target);
    assert_eq!(flood.not_started(), 0, "the flooder itself could not go on");
    holds_no_more_than_its_share(&flood, &mut server, places);
    flood.end().expect("the flooder works");
    println!("p99 {unloaded:?} without, {with:?} and {behind:?} with a flood of {rate:.0}/s");
    rate >= FLOOD_AT_LEAST && with <= unloaded + SLOWER + late && behind <= unloaded + SLOWER + late_again
}

#[test]
fn fifty_sources_do_not_notice_that_one_takes_all_that_it_gets() {
    // The flood is there in every round: a source that can shut others out does so in all of them. What
    // differs from round to round is what else this machine has to do.
    let unnoticed = (0..ROUNDS).any(|_| nobody_notices(Places::MANY));
    assert!(unnoticed, "the fifty were slower in each of {ROUNDS} rounds");
}

#[test]
fn a_source_that_waits_by_the_thousands_leaves_open_places_to_the_others() {
    let unnoticed = (0..ROUNDS).any(|_| nobody_notices(Places::FEW));
    assert!(unnoticed, "the fifty were slower in each of {ROUNDS} rounds");
}

#[test]
fn ten_thousand_addresses_of_one_v6_network_count_as_one_source() {
    isolated(|| {
        for route in ["2001:db8:0:1::/64", "2001:db8:0:2::/64"] {
            let ip = Command::new("ip").args(["-6", "route", "add", "local", route, "dev", "lo"]).status();
            assert!(ip.expect("ip runs").success(), "{route}");
        }
        let (mut server, target) = start("[::]:0", Places::MANY);
        let target = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), target.port());
        let address = |host: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host);
        let flooders = (1..=10_000).map(|host| holder(target, address(host).into())).collect();
        let flood = Flood::begin(flooders, FLOOD);
        eventually("each of the ten thousand has come", BOUND, || flood.made() >= 10_000);
        holds_no_more_than_its_share(&flood, &mut server, Places::MANY);
        assert_eq!(flood.not_started(), 0, "the flooders themselves could not go on");

        // Another network is another source.
        let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 1);
        let live = Visitor {
            request: Arc::from(&b"live\n"[..]),
            leaving: Leaving::SendAndClose,
            patience: BOUND,
            ..holder(target, other.into())
        };
        let once = ImpatientLoop { visitors: vec![live], schedule: Schedule::new(1, Duration::from_secs(1)) };
        let visits = once.run(now()).expect("the client works");
        assert_eq!(visits[0].ending, Ending::Answered);
        // And so is an IPv4 client of the same listener.
        let mapped = format!("127.0.0.1:{}", target.port()).parse().expect("an address");
        assert_eq!(ask(&connect(&mapped), "live").expect("it is served"), answer("live"));
        flood.end().expect("the flooder works");
    });
}
