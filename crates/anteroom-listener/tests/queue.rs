//! Reading and changing a TCP listener's accept queue, held against the kernel's own view.
#![cfg(all(target_os = "linux", not(anteroom_portable)))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anteroom_listener::{Batch, BatchEnd, BindErrorKind, Builder, Listener, Queue};
use anteroom_testkit::{
    BOUND, TcpState, connect, eventually, has_connected, isolated, netstat, ss_tcp_queue, start_connecting,
    tcp_sockets, write_sysctl,
};

/// A client's SYN that was dropped is sent again after this long (`TCP_TIMEOUT_INIT`).
const FIRST_RETRY: Duration = Duration::from_secs(1);

fn tcp(listener: &Listener) -> SocketAddr {
    listener.local_addr().tcp().unwrap()
}

fn depth_and_limit(queue: Queue) -> (u32, u32) {
    queue.depth.zip(queue.limit).unwrap()
}

/// A client's `connect` returns a moment before the kernel has it in the queue.
fn await_depth(listener: &Listener, depth: u32) {
    eventually("the clients are queued", BOUND, || listener.depth() == Some(depth));
}

/// The same two numbers from the kernel's other windows.
fn assert_like_the_kernel_says(listener: &Listener) {
    let port = tcp(listener).port();
    let read = depth_and_limit(listener.queue());
    let mut lines = tcp_sockets().into_iter();
    let line = lines.find(|socket| socket.state == TcpState::Listen && socket.local.port() == port).unwrap();
    assert_eq!(read.0, line.receive_queue, "/proc/net/tcp");
    assert_eq!(listener.depth(), Some(read.0));
    if let Some(shown) = ss_tcp_queue(port) {
        assert_eq!(read, shown, "ss");
    }
}

#[test]
fn the_kernel_cuts_the_backlog_to_somaxconn() {
    let text = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let somaxconn: u32 = text.trim().parse().unwrap();
    assert!(somaxconn < 1_000_000);
    let listener = Listener::builder().backlog(1_000_000).bind("127.0.0.1:0").unwrap();
    let backlog = listener.backlog();
    assert_eq!((backlog.requested, backlog.effective), (Some(1_000_000), Some(somaxconn)));
    assert!(backlog.is_clamped());
}

#[test]
fn without_a_backlog_the_kernel_grants_its_most() {
    let text = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let backlog = Listener::bind("127.0.0.1:0").unwrap().backlog();
    assert_eq!((backlog.requested, backlog.effective), (None, text.trim().parse().ok()));
    assert!(!backlog.is_clamped());
}

#[test]
fn every_kind_of_tcp_listener_tells_its_queue() {
    isolated(|| {
        let kinds: [(&str, Builder, &str); 5] = [
            ("v4", Listener::builder(), "127.0.0.1:0"),
            ("v6", Listener::builder().only_v6(), "[::1]:0"),
            ("dual stack, v6 client", Listener::builder().dual_stack(), "[::]:0"),
            ("dual stack, v4 client", Listener::builder().dual_stack(), "[::]:0"),
            ("mptcp", Listener::builder().mptcp(), "127.0.0.1:0"),
        ];
        for (kind, builder, address) in kinds {
            let listener = builder.backlog(16).bind(address).unwrap();
            let mut to = tcp(&listener);
            if to.ip().is_unspecified() {
                let host = if kind.ends_with("v4 client") { "127.0.0.1" } else { "::1" };
                to.set_ip(host.parse().unwrap());
            }
            // Of a multipath listener the kernel would answer 0 whatever happens.
            assert_eq!(listener.queue().drops, (kind != "mptcp").then_some(0), "{kind}");
            assert_like_the_kernel_says(&listener);
            let _clients = connect(to, 3);
            await_depth(&listener, 3);
            assert_eq!(depth_and_limit(listener.queue()), (3, 16), "{kind}");
            assert_like_the_kernel_says(&listener);
        }
    });
}

/// Also the whole of *Truth* for the queue: the gauge is what `ss` says at every step, and the excess is counted.
#[test]
fn the_queue_holds_limit_plus_one_and_the_rest_are_drops() {
    isolated(|| {
        let listener = Listener::builder().backlog(16).bind("127.0.0.1:0").unwrap();
        let mut clients = Vec::new();
        for count in 0..=17u32 {
            await_depth(&listener, count);
            assert_eq!(depth_and_limit(listener.queue()), (count, 16));
            assert_eq!(listener.queue().is_full(), Some(count > 16));
            assert_like_the_kernel_says(&listener);
            if count < 17 {
                clients.extend(connect(tcp(&listener), 1));
            }
        }
        assert_eq!(listener.queue().drops, Some(0));

        let start = Instant::now();
        let excess: Vec<_> = (0..23).map(|_| start_connecting(tcp(&listener))).collect();
        eventually("the excess is counted", BOUND, || listener.queue().drops >= Some(23));
        let drops = listener.queue().drops;
        // Every retry counts again, so the exact number can be asked for only before the first one.
        if start.elapsed() < FIRST_RETRY {
            assert_eq!(drops, Some(23));
        }
        assert!(!excess.iter().any(has_connected));
        assert_eq!(depth_and_limit(listener.queue()), (17, 16));
        assert_like_the_kernel_says(&listener);
    });
}

#[test]
fn drops_count_segments_of_this_listener_alone() {
    isolated(|| {
        let full = Listener::builder().backlog(4).bind("127.0.0.1:0").unwrap();
        let other = Listener::builder().backlog(4).bind("127.0.0.1:0").unwrap();
        let _queued = connect(tcp(&full), 5);
        await_depth(&full, 5);
        let _one = connect(tcp(&other), 1);
        assert_eq!(full.queue().drops, Some(0));
        let _excess: Vec<_> = (0..3).map(|_| start_connecting(tcp(&full))).collect();
        eventually("three segments are counted", BOUND, || full.queue().drops >= Some(3));
        eventually("their first retries are counted again", BOUND, || full.queue().drops >= Some(6));
        assert_eq!(other.queue().drops, Some(0));
        // In a namespace of its own the counter of the whole namespace has nothing else to count.
        let (before, all, after) = (full.queue().drops, netstat("TcpExt", "ListenDrops"), full.queue().drops);
        assert!(before <= all && all <= after, "{before:?} {all:?} {after:?}");
    });
}

#[test]
fn listening_again_takes_effect_at_once_and_loses_nobody() {
    isolated(|| {
        let listener = Listener::builder().backlog(4).bind("127.0.0.1:0").unwrap();
        let queued = connect(tcp(&listener), 5);
        await_depth(&listener, 5);
        let excess: Vec<_> = (0..3).map(|_| start_connecting(tcp(&listener))).collect();
        eventually("the excess is turned away", BOUND, || listener.queue().drops >= Some(3));

        let backlog = listener.set_backlog(64).unwrap();
        assert_eq!((backlog.requested, backlog.effective), (Some(64), Some(64)));
        assert_eq!(listener.backlog(), backlog);
        let (depth, limit) = depth_and_limit(listener.queue());
        assert_eq!(limit, 64);
        assert!(depth >= 5, "nothing that was queued is lost");
        eventually("those who were turned away come in at their retry", BOUND, || {
            listener.depth() == Some(8)
        });
        assert!(excess.iter().all(has_connected));

        let mut batch = Batch::new();
        assert!(matches!(batch.fill(64, || listener.accept()), BatchEnd::Empty));
        let mut peers: Vec<_> = batch.classify().map(|connection| connection.peer.tcp().unwrap()).collect();
        let mut expected: Vec<_> = queued.iter().map(|client| client.local_addr().unwrap()).collect();
        expected.extend(excess.iter().map(|client| client.local_addr().unwrap().as_socket().unwrap()));
        peers.sort();
        expected.sort();
        assert_eq!(peers, expected);
    });
}

#[test]
fn a_clamp_is_told_fails_strictly_and_can_be_mended_live() {
    isolated(|| {
        write_sysctl("net.core.somaxconn", 128);
        let listener = Listener::builder().backlog(8192).bind("127.0.0.1:0").unwrap();
        let backlog = listener.backlog();
        assert_eq!((backlog.requested, backlog.effective), (Some(8192), Some(128)));
        assert!(backlog.is_clamped());

        let strict = Listener::builder().backlog(8192).strict_backlog();
        let error = strict.bind("127.0.0.1:0").unwrap_err();
        let clamped = BindErrorKind::Clamped { requested: 8192, effective: 128, somaxconn: Some(128) };
        assert_eq!(error.kind(), &clamped);
        assert!(error.to_string().contains("net.core.somaxconn is 128: raise it to 8192"), "{error}");

        let clients = connect(tcp(&listener), 129);
        await_depth(&listener, 129);
        assert_eq!(depth_and_limit(listener.queue()), (129, 128));
        write_sysctl("net.core.somaxconn", 8192);
        assert_eq!(listener.queue().limit, Some(128), "a raised sysctl alone changes nothing");
        assert!(!listener.set_backlog(8192).unwrap().is_clamped());
        assert_eq!(depth_and_limit(listener.queue()), (129, 8192));
        assert_eq!(strict.bind("127.0.0.1:0").unwrap().backlog().effective, Some(8192));

        let mut batch = Batch::new();
        assert!(matches!(batch.fill(1_000, || listener.accept()), BatchEnd::Empty));
        assert_eq!(batch.len(), clients.len());
    });
}

#[test]
fn a_strict_listener_stays_strict_when_its_backlog_changes() {
    isolated(|| {
        write_sysctl("net.core.somaxconn", 128);
        let listener = Listener::builder().backlog(64).strict_backlog().bind("127.0.0.1:0").unwrap();
        let error = listener.set_backlog(256).unwrap_err();
        assert!(
            matches!(error.kind(), BindErrorKind::Clamped { requested: 256, effective: 128, .. }),
            "{error}"
        );
        assert!(error.to_string().starts_with("cannot change the backlog"), "{error}");
        assert_eq!(listener.backlog().effective, Some(128), "what is in force is told all the same");
        assert_eq!(listener.set_backlog(0).unwrap_err().kind(), &BindErrorKind::ZeroBacklog);
        assert_eq!(listener.queue().limit, Some(128));
    });
}

#[test]
fn an_adopted_listener_tells_its_limit_but_not_what_was_asked_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = Listener::try_from(listener).unwrap();
    let _clients = connect(address, 2);
    await_depth(&listener, 2);
    assert_eq!(listener.backlog().requested, None);
    assert_eq!(listener.backlog().effective, listener.queue().limit);
    assert_like_the_kernel_says(&listener);
}
