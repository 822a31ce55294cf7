//! A process that stood still comes back to a queue full of clients who have given up.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails; not every helper of a test counts as one"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use anteroom_testkit::{BOUND, TcpState, eventually, isolated, tcp_sockets, write_sysctl};
use anteroom_tests::child::{ServerProcess, acceptor_of, waited_for_a_processor};
use anteroom_tests::clients::{ask, connect};
use anteroom_tests::lines::answer;
use serde_json::json;

const SERVER: &str = env!("CARGO_BIN_EXE_anteroom-test-server");

const BACKLOG: u64 = 4096;

/// The queue holds one more than its limit.
const CLIENTS: u64 = BACKLOG + 1;

/// The promise's own number, for the emptying and for the first live client after it.
const PROMISED: Duration = Duration::from_millis(500);

/// What the kernel shows of a port: connections in its queue, and in `CLOSE_WAIT`.
fn kernels_view(port: u16) -> (u64, u64) {
    let sockets = tcp_sockets().into_iter().filter(|socket| socket.local.port() == port);
    sockets.fold((0, 0), |(depth, close_wait), socket| match socket.state {
        TcpState::Listen => (depth + u64::from(socket.receive_queue), close_wait),
        TcpState::CloseWait => (depth, close_wait + 1),
        _ => (depth, close_wait),
    })
}

/// How long something took, without the time in which the acceptor, or this thread, was ready to go on
/// and others had the processors: on a machine that does nothing else it is what the clock says.
fn took(acceptor: &Path, act: impl FnOnce()) -> Duration {
    let waited =
        || [waited_for_a_processor(acceptor), waited_for_a_processor(Path::new("/proc/thread-self"))];
    let (before, start) = (waited(), Instant::now());
    act();
    let (took, after) = (start.elapsed(), waited());
    // They may have waited at the same time: the longer wait counts.
    let waits = after.iter().zip(before).map(|(after, before)| after.saturating_sub(before));
    took.saturating_sub(waits.max().unwrap_or_default())
}

#[test]
fn a_queue_of_the_dead_is_emptied_at_once_and_costs_no_handler() {
    isolated(|| {
        write_sysctl("net.core.somaxconn", BACKLOG);
        let mut server = ServerProcess::start(SERVER, &json!({ "backlog": BACKLOG }));
        assert_eq!(server.effective_backlog(), BACKLOG);
        let address = server.address();
        let port = address.tcp().expect("it is TCP").port();

        let acceptor = acceptor_of(server.pid());
        server.stop();
        for _ in 0..CLIENTS {
            drop(connect(&address));
        }
        eventually("all of them are in the queue, and gone", BOUND, || {
            kernels_view(port) == (CLIENTS, CLIENTS)
        });

        let emptied = took(&acceptor, || {
            server.go_on();
            eventually("the queue is empty and no CLOSE_WAIT is left", BOUND, || {
                kernels_view(port) == (0, 0)
            });
        });
        let served = took(&acceptor, || {
            let client = connect(&address);
            assert_eq!(ask(&client, "live").expect("it is served"), answer("live"));
        });
        assert!(emptied <= PROMISED, "the queue was empty only after {emptied:?}");
        assert!(served <= PROMISED, "the first live client was served only after {served:?}");

        let calls = server.calls();
        assert_eq!((&calls["total"], &calls["by_kind"]["live"]), (&json!(1), &json!(1)), "{calls}");
        let drops = server.snapshot()["drops"].clone();
        assert_eq!(drops, 0, "the kernel had turned nobody away");
        let report = server.drain(BOUND);
        assert_eq!(report["dead"]["in_queue"]["silent"], CLIENTS, "{report}");
        assert_eq!(report["accepted"], CLIENTS + 1, "{report}");
        assert_eq!(report["served"]["done"], 1, "{report}");
        assert_eq!(report["balanced"], true, "{report}");
    });
}
