//! Connections that are aborted in every stage leave nothing behind: no place, no descriptor, no entry, no
//! memory.
//!
//! `ANTEROOM_ABORTS=1000000` aborts as often as the promise says; without it less must do.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on says so, and tells its figures"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anteroom_load::client::{Aborts, loopback_sources};
use anteroom_testkit::{BOUND, eventually};
use anteroom_tests::child::ServerProcess;
use anteroom_tests::promise::asked_for;
use serde_json::{Value, json};

const SERVER: &str = env!("CARGO_BIN_EXE_anteroom-test-server");

const ABORTS: u64 = 200_000;

/// The promise's own number: by so much more memory at the end, in per cent.
const GROWTH: u64 = 5;

/// Before memory is looked at first, a tenth of all: what is kept for use again is there then.
const WARM_UP: u64 = 10;

/// Each has a core.
const THREADS: u64 = 2;

const AT_ONCE: usize = 300;

const SOURCES: u16 = 500;

fn setup() -> Value {
    json!({
        "events": "unheard",
        "config": {
            "max_connections": 64,
            "max_waiting": 64,
            "first_byte": { "within": "50ms", "max_silent": 200 },
            "refusal": { "reply": "we are full, come back later\n" },
            "farewell": { "max": 64, "within": "100ms" },
        },
    })
}

/// So many aborts, while the server pauses now and then: who comes meanwhile is aborted in the kernel's queue.
fn abort(count: u64, seed: u64, target: SocketAddr, server: &mut ServerProcess) {
    let made = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let aborts = Aborts {
                target,
                sources: loopback_sources(SOURCES),
                // Silence; half a line, for which the handler waits; a line, which it answers.
                requests: [&b""[..], b"half", b"line\n", b"line\n"].map(Arc::from).to_vec(),
                count: count / THREADS,
                at_once: AT_ONCE,
                seed: seed + thread,
            };
            let made = Arc::clone(&made);
            thread::spawn(move || aborts.run(&made).expect("the clients work"))
        })
        .collect();
    while !threads.iter().all(thread::JoinHandle::is_finished) {
        server.ask("pause");
        let queued = made.load(Ordering::Relaxed) + AT_ONCE as u64;
        eventually("some were aborted in the queue", BOUND, || {
            made.load(Ordering::Relaxed) >= queued || threads.iter().all(thread::JoinHandle::is_finished)
        });
        server.ask("resume");
        // Ten times as many while it accepts.
        let served = made.load(Ordering::Relaxed) + 20 * AT_ONCE as u64;
        eventually("others were aborted elsewhere", BOUND, || {
            made.load(Ordering::Relaxed) >= served || threads.iter().all(thread::JoinHandle::is_finished)
        });
    }
    let not_begun: u64 = threads.into_iter().map(|thread| thread.join().expect("it works")).sum();
    assert!(not_begun * 100 <= count, "{not_begun} of {count} could not begin");
}

fn settle(server: &mut ServerProcess) -> Value {
    server.eventually("nobody is left", |now| {
        let left = ["open", "waiting", "silent", "farewells", "sources"];
        left.iter().all(|what| now[*what] == 0) && now["depth"] == 0
    })
}

#[test]
fn whoever_aborts_in_whatever_stage_leaves_nothing_behind() {
    let count = asked_for("ANTEROOM_ABORTS", ABORTS);
    let mut server = ServerProcess::start(SERVER, &setup());
    let target = server.address().tcp().expect("it is TCP");
    let descriptors = server.descriptors();
    let began = Instant::now();

    abort(count / WARM_UP, 1, target, &mut server);
    settle(&mut server);
    let before = server.resident();
    abort(count - count / WARM_UP, 1_000, target, &mut server);
    let now = settle(&mut server);
    let after = server.resident();

    println!("{count} aborted in {:?}; {before} KiB before, {after} KiB after; {now}", began.elapsed());
    assert!(after * 100 <= before * (100 + GROWTH), "{before} KiB grew to {after} KiB");
    eventually("its descriptors are what they were", BOUND, || server.descriptors() <= descriptors);
    let report = &now["report"];
    for stage in [
        &report["dead"]["in_queue"]["reset"],
        &report["dead"]["in_room"]["reset"],
        &report["refused"]["silent"],
        &report["refused"]["full"],
        &report["served"]["total"],
    ] {
        assert!(stage.as_u64().expect("it is counted") * 1_000 >= count, "hardly any in a stage: {report}");
    }
    let report = server.drain(BOUND);
    assert_eq!(report["balanced"], true, "{report}");
}
