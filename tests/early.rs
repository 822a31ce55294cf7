//! Random early refusal: with a certain chance, which depends on how many wait, a newcomer is refused.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and tells its figures; not every helper counts as a test"
)]

use std::time::Duration;

use anteroom::{Config, EarlyRefusal, Order, Share};
use anteroom_testkit::BOUND;
use anteroom_tests::clients::{ask, connect, is_turned_away, next_line, reset, send, try_connect};
use anteroom_tests::lines::answer;
use anteroom_tests::local::LocalServer;
use socket2::Socket;

const PLACES: usize = 4;
const FROM: usize = 10;
const FULL: usize = 60;
const PERCENT: u8 = 30;

fn start() -> (LocalServer, Vec<Socket>) {
    let mut config = Config::default();
    config.max_connections = Some(PLACES);
    config.max_waiting = 100;
    config.max_wait = Duration::from_secs(600);
    config.order = Order::Fifo;
    config.share = Share::unlimited();
    config.refuse_early = Some(EarlyRefusal::between(FROM, FULL).percent(PERCENT));
    let server = LocalServer::start("127.0.0.1:0", config);
    let hold = |_| {
        let holder = connect(server.address());
        assert_eq!(ask(&holder, "hold").expect("it is served"), answer("hold"));
        holder
    };
    let held = (0..PLACES).map(hold).collect();
    (server, held)
}

/// One more comes; gives it if it waits. It may be refused before connect(2) has returned.
fn arrives(server: &LocalServer) -> Option<Socket> {
    let before = server.handle().snapshot();
    let client = try_connect(server.address()).ok();
    let now = server.becomes("it is decided on", |now| {
        now.waiting > before.waiting || now.report.refused.early > before.report.refused.early
    });
    client.filter(|_| now.waiting > before.waiting)
}

#[test]
fn below_the_first_number_nobody_is_refused_and_from_the_second_on_everybody() {
    let (server, held) = start();
    let mut waiting: Vec<_> =
        (0..FROM).map(|_| arrives(&server).expect("below the first nobody is refused")).collect();
    // All of them are reached by whoever tries often enough; the last step takes about a hundred.
    let mut tries = 0;
    while waiting.len() < FULL {
        tries += 1;
        assert!(tries < 10_000, "{} wait after {tries} tries", waiting.len());
        waiting.extend(arrives(&server));
    }
    println!("{tries} tries for {} places", FULL - FROM);
    for _ in 0..50 {
        assert!(arrives(&server).is_none(), "from the second on everybody is refused");
    }
    is_turned_away(server.address());
    drop(held);
    for client in &waiting {
        send(client, "ask");
        assert_eq!(next_line(client).expect("who waits is served"), answer("ask"));
        client.shutdown(std::net::Shutdown::Both).expect("it is there");
    }
    let report = server.drain(BOUND);
    assert_eq!(report.served.done, (PLACES + FULL) as u64, "{report}");
    assert_eq!(report.refused.total(), report.refused.early, "{report}");
    assert!(report.is_balanced(), "{report}");
}

#[test]
fn half_way_the_chance_is_half_way() {
    const TRIES: u32 = 400;
    const WAITING: usize = FROM + (FULL - FROM) / 2;
    let (server, _held) = start();
    let mut waiting = Vec::new();
    while waiting.len() < WAITING {
        waiting.extend(arrives(&server));
    }
    let mut refused = 0_u32;
    for _ in 0..TRIES {
        match arrives(&server) {
            None => refused += 1,
            Some(one) => {
                reset(one);
                server.becomes("as many wait as before", |now| now.waiting == WAITING);
            }
        }
    }
    let chance = f64::from(refused) / f64::from(TRIES);
    println!("{refused} of {TRIES} refused");
    // 65 in a hundred; five times the deviation of 400 throws is 12.
    assert!((chance - 0.65).abs() <= 0.12, "{refused} of {TRIES}");
}
