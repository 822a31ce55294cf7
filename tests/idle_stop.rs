//! An idle server stops as soon as it is told.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on says so, and tells its figures"
)]

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anteroom::{Address, Config};
use anteroom_testkit::{Scratch, isolated};
use anteroom_tests::clients::{ask, connect, try_connect};
use anteroom_tests::lines::answer;
use anteroom_tests::local::LocalServer;
use anteroom_tests::machine::Lateness;

/// The promise's own numbers.
const WITHIN: Duration = Duration::from_millis(100);
const ROUNDS: usize = 20;

/// The time that it is given, and does not need.
const GIVEN: Duration = Duration::from_secs(10);

/// Of one round, without what the machine was late by: it has served somebody, and nobody is there any more.
fn round(listen: &str) -> Duration {
    let server = LocalServer::start(listen, Config::default());
    for target in targets(server.address()) {
        let client = connect(&target);
        assert_eq!(ask(&client, "live").expect("it is served"), answer("live"));
    }
    server.becomes("it is idle", |now| now.open == 0 && now.report.is_balanced());
    let address = server.address().clone();
    let (told, lateness) = (Instant::now(), Lateness::measure());
    let report = server.drain(GIVEN);
    let (took, late) = (told.elapsed(), lateness.worst());
    assert_eq!(report.served.done, report.accepted, "{report:?}");
    let refused = try_connect(&address).expect_err("nobody listens").kind();
    assert!(matches!(refused, ErrorKind::ConnectionRefused | ErrorKind::NotFound), "{refused}");
    took.saturating_sub(late)
}

/// One of each kind of client.
fn targets(address: &Address) -> Vec<Address> {
    match address.tcp() {
        Some(any) if any.ip().is_unspecified() => ["127.0.0.1", "[::1]"]
            .map(|host| format!("{host}:{}", any.port()).parse().expect("an address"))
            .into(),
        _ => vec![address.clone()],
    }
}

fn rounds_on(mut listen: impl FnMut(usize) -> String) {
    let took: Vec<_> = (0..ROUNDS).map(|number| round(&listen(number))).collect();
    let longest = took.iter().max().expect("there are rounds");
    println!("{}: it stopped after {longest:?} at most", listen(0));
    assert!(*longest <= WITHIN, "{took:?}");
}

// Each in a namespace of its own: where SYN cookies have been sent, by whatever test, it has to wait a round trip.

#[test]
fn an_idle_server_on_v4_stops_at_once() {
    isolated(|| rounds_on(|_| "127.0.0.1:0".to_owned()));
}

#[test]
fn an_idle_server_on_both_stacks_stops_at_once() {
    isolated(|| rounds_on(|_| "[::]:0".to_owned()));
}

#[test]
fn an_idle_server_on_a_unix_socket_stops_at_once() {
    isolated(|| {
        let files = Scratch::new();
        rounds_on(|number| format!("unix:{}", files.join(&number.to_string()).display()));
    });
}
