//! Every place is taken, nobody may wait, and the refused get a reply: they read all of it, although the
//! server read nothing of what they had sent.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on says so, and tells its figures"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anteroom_load::client::{Ending, Hearing, Leaving, Visit, Visitor, Visitors, loopback_sources, tally};
use anteroom_load::measure::now;
use anteroom_testkit::BOUND;
use anteroom_tests::child::ServerProcess;
use anteroom_tests::machine::Lateness;
use serde_json::json;

const SERVER: &str = env!("CARGO_BIN_EXE_anteroom-test-server");

/// The promise's own numbers.
const CAP: usize = 500;
const CLIENTS: usize = 700;
const REQUEST: usize = 64 * 1024;
const WITHIN: Duration = Duration::from_millis(100);
const ROUNDS: usize = 20;
const READ_IT: f64 = 0.999;

const FAREWELLS: usize = 256;
const REPLY: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
    Content-Length: 19\r\n\r\ncome back later, ok\n";

/// One each, so that nobody's share is a limit: with no place free, who holds one has no share of another.
const SOURCES: u16 = 700;

/// What a refused client has to say of it. Its time counts from when its request was wholly in the kernel's
/// hands: before, it has not sent what it sends, and whoever reads for it is this same thread. As it connected
/// after the first 500, its refusal was possible from then on; what the server needs to take in those before
/// it is in the time.
fn waited(visit: &Visit) -> Option<Duration> {
    let whole = visit.ending == Ending::Answered && visit.heard == REPLY.as_bytes();
    whole.then(|| visit.sent.map_or(Duration::ZERO, |sent| visit.ended.saturating_sub(sent)))
}

fn clients(target: SocketAddr) -> Vec<Visitor> {
    let request: Arc<[u8]> = vec![b'x'; REQUEST].into();
    let sources = loopback_sources(SOURCES);
    let clients = sources.iter().cycle().take(CLIENTS).map(|source| Visitor {
        target,
        source: Some(*source),
        request: Arc::clone(&request),
        hearing: Hearing::UntilTheEnd,
        leaving: Leaving::SendAndClose,
        patience: BOUND,
    });
    clients.collect()
}

/// The records of the refused.
fn round(clients: &[Visitor]) -> Vec<Visit> {
    let mut here = Visitors::new().expect("a client");
    for client in clients {
        here.arrive(client.clone(), now());
    }
    let mut refused = Vec::new();
    let bound = now() + BOUND;
    while refused.len() < CLIENTS - CAP {
        assert!(now() < bound, "only {} were refused: {}", refused.len(), tally(&refused));
        here.wait(bound).expect("the client works");
        refused.extend(here.take_ended());
    }
    assert_eq!(here.present(), CAP, "the places are taken by others");
    refused
}

#[test]
fn who_is_refused_reads_the_whole_reply_in_time_although_nobody_read_what_he_sent() {
    let config = json!({
        "max_connections": CAP,
        "max_waiting": 0,
        "refusal": { "reply": REPLY },
        "farewell": { "max": FAREWELLS },
    });
    let mut server = ServerProcess::start(SERVER, &json!({ "config": config }));
    let target = server.address().tcp().expect("it is TCP");
    let clients = clients(target);
    let (mut refused, mut in_time, mut worst) = (0_u32, 0_u32, Duration::ZERO);
    for number in 0..ROUNDS {
        let lateness = Lateness::measure();
        let visits = round(&clients);
        let late = lateness.worst();
        let waits: Vec<_> = visits.iter().map(waited).collect();
        let longest = waits.iter().flatten().max().copied().unwrap_or_default();
        println!("round {number}: {}, longest {longest:?}; late by {late:?}", tally(&visits));
        worst = worst.max(longest.saturating_sub(late));
        refused += u32::try_from(waits.len()).expect("few");
        let kept = waits.iter().flatten().filter(|wait| **wait <= WITHIN + late).count();
        in_time += u32::try_from(kept).expect("few");
        server.eventually("everybody has gone", |now| now["open"] == 0 && now["waiting"] == 0);
    }
    let share = f64::from(in_time) / f64::from(refused);
    assert!(share >= READ_IT, "{in_time} of {refused} read the reply in time; the longest took {worst:?}");
    let report = server.drain(BOUND);
    assert_eq!(report["refused"]["full"], refused, "{report}");
    assert_eq!(report["balanced"], true, "{report}");
}
