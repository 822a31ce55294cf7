//! A log pipe that nobody reads stops the log and nothing else: accepting and serving go on.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on says so"
)]

use std::time::Duration;

use anteroom_tests::child::ServerProcess;
use anteroom_tests::clients::{ask, connect, reset, send};
use anteroom_tests::lines::answer;
use anteroom_tests::waiting::{PATIENCE, until};
use rustix::io::ioctl_fionread;
use rustix::pipe::fcntl_getpipe_size;
use serde_json::{Value, json};

/// The longest line of the log, and more.
const LINE: u64 = 4096;

/// Bytes that the log's pipe has still room for.
fn room(server: &ServerProcess) -> u64 {
    let size = fcntl_getpipe_size(server.log()).expect("it is a pipe") as u64;
    size - ioctl_fionread(server.log()).expect("it is a pipe")
}

/// So many clients that leave before they are accepted: each is an event.
fn clients_that_leave(server: &mut ServerProcess, clients: u64) {
    let dead = |snapshot: &Value| snapshot["report"]["dead"]["in_queue"]["reset"].as_u64().expect("a number");
    server.ask("pause");
    let before = dead(&server.snapshot());
    let address = server.address();
    for _ in 0..clients {
        reset(connect(&address));
    }
    server.ask("resume");
    server.eventually("all of them are counted", |snapshot| dead(snapshot) == before + clients);
}

/// A server whose log pipe is full, the clients that it took to fill it, and the room that is left in
/// it, which is less than a line.
fn with_a_full_log() -> (ServerProcess, u64, u64) {
    let setup = json!({ "log": true });
    let mut server = ServerProcess::start(env!("CARGO_BIN_EXE_anteroom-test-server"), &setup);
    let mut gone = 0;
    until("the pipe is full", || {
        clients_that_leave(&mut server, 100);
        gone += 100;
        room(&server) < LINE
    });
    // Whoever writes has met the end by now: a hundred more lines change nothing.
    clients_that_leave(&mut server, 100);
    let left = room(&server);
    (server, gone + 100, left)
}

#[test]
fn a_full_log_pipe_stops_neither_accepting_nor_serving_nor_the_snapshot() {
    let (mut server, gone, left) = with_a_full_log();
    let address = server.address();
    let open = connect(&address);
    for round in 0..300 {
        let line = format!("hello {round}");
        let client = connect(&address);
        assert_eq!(ask(&client, &line).expect("it is served"), answer(&line));
    }
    clients_that_leave(&mut server, 300);
    assert_eq!(ask(&open, "still").expect("it is served"), answer("still"));
    assert_eq!(room(&server), left, "nothing was spoken meanwhile");
    let snapshot = server.snapshot();
    assert_eq!(snapshot["depth"], 0, "{snapshot}");
    drop(open);
    let report = server.drain(PATIENCE);
    assert_eq!((&report["balanced"], &report["error"]), (&json!(true), &Value::Null), "{report}");
    assert_eq!(report["served"]["done"], 301, "{report}");
    assert_eq!(report["dead"]["total"], gone + 300, "{report}");
    assert_eq!(room(&server), left, "the log was full to the end");
}

#[test]
fn accepting_goes_on_even_when_every_worker_waits_for_the_log() {
    let (mut server, ..) = with_a_full_log();
    let address = server.address();
    // The failure of a connection is spoken by its own task, which then waits for the pipe.
    for calls in 1..=2 {
        let client = connect(&address);
        send(&client, "hello");
        until("its handler has begun", || server.calls()["by_kind"]["hello"] == calls);
        reset(client);
    }
    let before = server.snapshot()["report"]["accepted"].as_u64().expect("a number");
    let waiting: Vec<_> = (0..200).map(|_| connect(&address)).collect();
    let snapshot = server.eventually("all are accepted", |snapshot| {
        snapshot["report"]["accepted"].as_u64() == Some(before + 200) && snapshot["depth"] == 0
    });
    assert_eq!(snapshot["drops"], 0, "{snapshot}");
    let report = server.drain(Duration::from_millis(500));
    assert_eq!((&report["balanced"], &report["error"]), (&json!(true), &Value::Null), "{report}");
    drop(waiting);
}
