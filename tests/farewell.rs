//! The farewell of the refused is bounded: in number, in bytes that are read away, and in time.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails; not every helper counts as a test")]

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use anteroom::{Address, Config, Farewell, Phase, Refusal, Reply, Share};
use anteroom_testkit::{BOUND, Scratch, eventually};
use anteroom_tests::clients::{ask, connect, is_turned_away, read_to_end};
use anteroom_tests::lines::answer;
use anteroom_tests::local::LocalServer;
use anteroom_tests::machine::Lateness;
use socket2::Socket;

const REPLY: &str = "we are full, come back later\n";

/// Nobody's time is over because the machine is slow.
const LONG: Duration = Duration::from_secs(600);

/// One place, which is taken, and nobody may wait.
fn full(listen: &str, bounds: impl FnOnce(&mut Farewell)) -> (LocalServer, Socket) {
    let mut config = Config::default();
    config.max_connections = Some(1);
    config.max_waiting = 0;
    config.share = Share::unlimited();
    config.refusal = Refusal::Reply(Reply::new(REPLY));
    config.farewell.within = LONG;
    bounds(&mut config.farewell);
    let server = LocalServer::start(listen, config);
    let holder = connect(server.address());
    assert_eq!(ask(&holder, "hold").expect("it is served"), answer("hold"));
    (server, holder)
}

fn farewells(server: &LocalServer, count: usize) {
    server.becomes("so many are being told", |now| now.farewells == count);
}

/// One who comes and is refused, one after the other.
fn refused(server: &LocalServer) -> Socket {
    let before = server.handle().snapshot().report.refused.full;
    let client = connect(server.address());
    server.becomes("it is refused", |now| now.report.refused.full > before);
    client
}

fn reads_the_reply(client: &Socket) {
    assert_eq!(read_to_end(client).expect("the reply is whole"), REPLY);
}

/// The other side has closed for good: what is sent now is answered with a reset, and then fails.
fn is_closed(client: &Socket) {
    let mut client = client;
    eventually("it is closed", BOUND, || client.write_all(b"still there?").is_err());
}

#[test]
fn who_comes_when_the_farewell_is_full_is_reset() {
    let (server, holder) = full("127.0.0.1:0", |bounds| bounds.max = 4);
    let told: Vec<_> = (0..4).map(|_| refused(&server)).collect();
    farewells(&server, 4);
    for _ in 0..3 {
        // There is no room to be told.
        is_turned_away(server.address());
    }
    told.iter().for_each(reads_the_reply);
    farewells(&server, 4);
    // Who leaves makes room for another one.
    drop(told);
    farewells(&server, 0);
    reads_the_reply(&refused(&server));
    drop(holder);
    let report = server.drain(BOUND);
    assert_eq!((report.refused.full, report.served.done), (8, 1), "{report}");
}

#[test]
fn who_never_closes_is_closed_at_the_deadline_and_not_before() {
    const WITHIN: Duration = Duration::from_secs(1);
    let scratch = Scratch::new();
    let path = format!("unix:{}", scratch.join("socket").display());
    for listen in ["127.0.0.1:0", &path] {
        let (server, holder) = full(listen, |bounds| bounds.within = WITHIN);
        let lateness = Lateness::measure();
        let since = Instant::now();
        let client = refused(&server);
        reads_the_reply(&client);
        farewells(&server, 0);
        let took = since.elapsed();
        assert!(took >= WITHIN, "closed after {took:?}");
        assert!(took <= 2 * WITHIN + lateness.worst(), "closed after {took:?}");
        is_closed(&client);
        drop(holder);
        assert!(server.drain(BOUND).is_balanced());
    }
}

#[test]
fn who_goes_on_sending_is_read_up_to_the_bound_and_closed_then() {
    const BYTES: usize = 64 * 1024;
    let (server, holder) = full("127.0.0.1:0", |bounds| bounds.bytes = BYTES);
    // Within the bound: the reply survives what nobody has asked for.
    let mut modest = refused(&server);
    modest.write_all(&[b'x'; BYTES / 2]).expect("it is read away");
    modest.shutdown(Shutdown::Write).expect("it is there");
    reads_the_reply(&modest);
    farewells(&server, 0);

    let mut tireless = refused(&server);
    farewells(&server, 1);
    tireless.set_nonblocking(true).expect("it can be set");
    let mut sent = 0;
    // What is on its way is not bounded by what is read.
    let on_the_way = 16 << 20;
    eventually("it is closed", BOUND, || {
        loop {
            match tireless.write(&[b'x'; 4096]) {
                Ok(written) => sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => return true,
            }
            assert!(sent < BYTES + on_the_way, "it is read for ever");
        }
    });
    farewells(&server, 0);
    drop(holder);
    let report = server.drain(BOUND);
    assert_eq!((report.refused.full, report.is_balanced()), (2, true), "{report}");
}

/// Nobody is served any more, and the drain goes on for this one alone.
fn drains_for_one(address: &Address, phase: impl Fn() -> Phase, open: impl Fn() -> usize) {
    eventually("nobody else is left", BOUND, || open() == 0);
    // The listener is closed as soon as its queue is empty.
    eventually("nobody listens", BOUND, || {
        let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.connect(&address.tcp().expect("it is TCP").into()).is_err()
    });
    assert_eq!(phase(), Phase::Draining);
}

#[test]
fn a_drain_waits_for_those_who_are_being_told() {
    let (server, holder) = full("127.0.0.1:0", |_| {});
    let client = refused(&server);
    farewells(&server, 1);
    let (handle, address) = (server.handle().clone(), server.address().clone());
    let report = server.begin_drain(BOUND);
    drop(holder);
    drains_for_one(&address, || handle.phase(), || handle.snapshot().open);
    reads_the_reply(&client);
    drop(client);
    let since = Instant::now();
    let report = report();
    assert!(since.elapsed() < BOUND / 2, "it ended with the client, not by its own time");
    assert_eq!((report.refused.full, report.served.done, report.served.cut), (1, 1, 0), "{report}");
}

#[test]
fn a_drain_waits_no_longer_than_it_was_told() {
    let (server, holder) = full("127.0.0.1:0", |_| {});
    let client = refused(&server);
    farewells(&server, 1);
    drop(holder);
    let since = Instant::now();
    let report = server.drain(Duration::from_millis(500));
    assert!(since.elapsed() < BOUND, "it is not the farewell's time that counts");
    assert!(report.is_balanced(), "{report}");
    reads_the_reply(&client);
    is_closed(&client);
}
