//! A client that closed its sending side is not dead: who is served, under which policy, and for how long.
//!
//! The server stands still while its clients come and leave, so that all of them are met in the queue.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on fails; not every helper of a test counts as one"
)]

use std::io;
use std::thread::sleep;
use std::time::Duration;

use anteroom_testkit::{BOUND, Scratch};
use anteroom_tests::child::ServerProcess;
use anteroom_tests::clients::{connect, half_close, read_to_end, send};
use anteroom_tests::lines::{BANNER, answer};
use serde_json::{Value, json};
use socket2::Socket;

const SERVER: &str = env!("CARGO_BIN_EXE_anteroom-test-server");

/// Of each manner of leaving.
const CLIENTS: usize = 500;

/// Longer than any of these tests lets its server stand still, however busy the machine.
const LONG: &str = "10m";

const SHORT: &str = "300ms";

/// How long the server stands still for clients who are to be older than [`SHORT`].
const PAST_SHORT: Duration = Duration::from_millis(600);

/// Half of them send and half-close, the other half send and close. Gives those who still read.
fn clients_who_spoke(server: &ServerProcess, of_each: usize) -> Vec<Socket> {
    let address = server.address();
    (0..of_each)
        .map(|number| {
            let (stays, leaves) = (connect(&address), connect(&address));
            send(&stays, &format!("stay {number}"));
            half_close(&stays);
            send(&leaves, &format!("leave {number}"));
            stays
        })
        .collect()
}

/// Half of them half-close without a word, the other half close. Gives those who still read.
fn clients_who_said_nothing(server: &ServerProcess, of_each: usize) -> Vec<Socket> {
    let address = server.address();
    let clients: Vec<_> = (0..of_each).map(|_| (connect(&address), connect(&address))).collect();
    let stay = clients.into_iter().map(|(stays, _leaves)| stays);
    stay.inspect(half_close).collect()
}

fn all_are_answered(clients: &[Socket]) {
    for (number, client) in clients.iter().enumerate() {
        let text = read_to_end(client).unwrap_or_else(|error| panic!("client {number}: {error}"));
        assert_eq!(text, format!("{}\n", answer(&format!("stay {number}"))), "client {number}");
    }
}

fn all_are_reset(clients: &[Socket]) {
    for client in clients {
        let error = read_to_end(client).expect_err("it is refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

/// Starts a server that stands still.
fn stopped(setup: &Value) -> ServerProcess {
    let server = ServerProcess::start(SERVER, setup);
    assert!(server.effective_backlog() >= 2 * CLIENTS as u64, "the queue is too short for this test");
    server.stop();
    server
}

/// Drains, and gives the report with the calls in it.
fn account(mut server: ServerProcess) -> Value {
    let mut report = server.drain(BOUND);
    assert_eq!(report["balanced"], true, "{report}");
    report["calls"] = server.calls();
    report
}

#[test]
fn within_the_patience_who_sent_and_closed_is_served_and_who_half_closed_is_answered() {
    let server = stopped(&json!({ "config": { "half_close": { "patience": LONG } } }));
    let clients = clients_who_spoke(&server, CLIENTS);
    server.go_on();
    all_are_answered(&clients);
    let report = account(server);
    assert_eq!(report["calls"]["by_kind"], json!({ "stay": CLIENTS, "leave": CLIENTS }), "{report}");
    assert_eq!(report["served"]["total"], 2 * CLIENTS, "{report}");
    assert_eq!(report["accepted"], 2 * CLIENTS, "{report}");
}

#[test]
fn past_the_patience_who_sent_and_closed_is_refused_as_probably_left() {
    let server = stopped(&json!({ "config": { "half_close": { "patience": SHORT } } }));
    let clients = clients_who_spoke(&server, CLIENTS);
    sleep(PAST_SHORT);
    server.go_on();
    all_are_reset(&clients);
    let report = account(server);
    assert_eq!(report["calls"]["total"], 0, "{report}");
    assert_eq!(report["refused"]["probably_left"], 2 * CLIENTS, "{report}");
    assert_eq!(report["accepted"], 2 * CLIENTS, "{report}");
}

#[test]
fn the_default_patience_is_one_second() {
    let server = stopped(&json!({}));
    let clients = clients_who_spoke(&server, 10);
    sleep(Duration::from_millis(1200));
    server.go_on();
    all_are_reset(&clients);
    let report = account(server);
    assert_eq!((&report["refused"]["probably_left"], &report["calls"]["total"]), (&json!(20), &json!(0)));
}

#[test]
fn under_serve_age_does_not_matter() {
    let server = stopped(&json!({ "config": { "half_close": "serve" } }));
    let clients = clients_who_spoke(&server, CLIENTS);
    // The default patience is over.
    sleep(Duration::from_millis(1200));
    server.go_on();
    all_are_answered(&clients);
    let report = account(server);
    assert_eq!(report["calls"]["by_kind"], json!({ "stay": CLIENTS, "leave": CLIENTS }), "{report}");
    assert_eq!(report["served"]["total"], 2 * CLIENTS, "{report}");
}

#[test]
fn under_gone_who_closed_is_dead_at_any_age() {
    let mut server = stopped(&json!({ "config": { "half_close": "gone" } }));
    let clients = clients_who_spoke(&server, CLIENTS);
    server.go_on();
    server.eventually("all are counted", |now| now["report"]["dead"]["total"] == 2 * CLIENTS);
    drop(clients);
    let report = account(server);
    assert_eq!(report["dead"]["in_queue"]["gone"], 2 * CLIENTS, "{report}");
    assert_eq!(report["calls"]["total"], 0, "{report}");
}

#[test]
fn the_silent_are_dead_unless_the_server_speaks_first() {
    let mut server = stopped(&json!({ "speaks_first": true }));
    let clients = clients_who_said_nothing(&server, 100);
    server.go_on();
    server.eventually("all are counted", |now| now["report"]["dead"]["total"] == 200);
    drop(clients);
    let report = account(server);
    assert_eq!(report["dead"]["in_queue"]["silent"], 200, "{report}");
    assert_eq!(report["calls"]["total"], 0, "{report}");

    let server = stopped(&json!({ "speaks_first": true, "config": { "silent_close": "serve" } }));
    let clients = clients_who_said_nothing(&server, 100);
    server.go_on();
    for client in &clients {
        assert_eq!(read_to_end(client).expect("it is greeted"), BANNER);
    }
    let report = account(server);
    // TCP cannot tell the two apart: those who closed cost a call each.
    assert_eq!(report["calls"]["total"], 200, "{report}");
    assert_eq!(report["served"]["total"], 200, "{report}");
}

/// What becomes of a Unix socket's clients, of whom 50 each send and half-close, send and close,
/// half-close in silence, and close in silence.
fn unix_account(half_close: &Value, silent_close: &str, stands_still: Duration) -> Value {
    let scratch = Scratch::new();
    let path = scratch.join("socket");
    let setup = json!({
        "listen": format!("unix:{}", path.display()),
        "config": { "half_close": half_close, "silent_close": silent_close },
    });
    let server = stopped(&setup);
    let spoke = clients_who_spoke(&server, 50);
    let silent = clients_who_said_nothing(&server, 50);
    sleep(stands_still);
    server.go_on();
    all_are_answered(&spoke);
    let report = account(server);
    drop(silent);
    assert_eq!(report["accepted"], 200, "{report}");
    assert_eq!(report["calls"]["by_kind"]["stay"], 50, "a half-close is no close: {report}");
    report
}

#[test]
fn a_unix_socket_tells_a_half_close_from_a_close() {
    let served_and_dead = |report: &Value| {
        let dead = &report["dead"]["in_queue"];
        [&report["served"]["total"], &dead["silent"], &dead["gone"]].map(|count| count.as_u64())
    };
    let patience = json!({ "patience": LONG });
    let cases = [
        // Half-close policy, silent policy; served, dead in silence, dead as gone.
        (&patience, "drop", [100, 100, 0]),
        (&json!("serve"), "drop", [100, 100, 0]),
        (&json!("gone"), "drop", [50, 100, 50]),
        // The silent that are known to have closed are dead even so.
        (&patience, "serve", [150, 50, 0]),
        (&json!("gone"), "serve", [100, 50, 50]),
    ];
    for (half_close, silent_close, expected) in cases {
        let report = unix_account(half_close, silent_close, Duration::ZERO);
        assert_eq!(served_and_dead(&report), expected.map(Some), "{half_close} {silent_close}: {report}");
    }
}

#[test]
fn on_a_unix_socket_patience_begins_at_accept_for_the_kernel_does_not_tell_the_wait() {
    let report = unix_account(&json!({ "patience": SHORT }), "drop", PAST_SHORT);
    assert_eq!(report["served"]["total"], 100, "{report}");
    assert_eq!(report["refused"]["probably_left"], 0, "{report}");
}
