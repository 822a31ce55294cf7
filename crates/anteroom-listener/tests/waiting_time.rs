//! How long a connection waited in the kernel's accept queue.
#![cfg(all(target_os = "linux", not(anteroom_portable)))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anteroom_listener::{Batch, Listener, PeerState, Unread};
use anteroom_testkit::{BOUND, connect, eventually};

/// What the kernel's clock may differ: its tick is at most 10 ms, and two readings are subtracted.
const TOLERANCE: Duration = Duration::from_millis(20);

fn tcp(listener: &Listener) -> SocketAddr {
    listener.local_addr().tcp().unwrap()
}

/// A client, and the two moments between which its handshake ended.
struct Client {
    stream: Option<TcpStream>,
    before: Instant,
    after: Instant,
}

impl Client {
    fn connect(listener: &Listener) -> Self {
        let depth = listener.depth().unwrap();
        let before = Instant::now();
        let stream = TcpStream::connect(tcp(listener)).unwrap();
        eventually("it is queued", BOUND, || listener.depth() == Some(depth + 1));
        Self { stream: Some(stream), before, after: Instant::now() }
    }

    /// Checks a wait that was read between the two moments. The test's own clock brackets it, so that a machine which
    /// is late makes the bracket wider and not the test fail.
    fn assert_wait(&self, wait: Duration, asked: Instant, answered: Instant) {
        let least = asked.duration_since(self.after).saturating_sub(TOLERANCE);
        let most = answered.duration_since(self.before) + TOLERANCE;
        assert!((least..=most).contains(&wait), "{wait:?} is not between {least:?} and {most:?}");
    }
}

/// The number: 800 ms read as 800 ± 20 ms. Sleeping is what is measured here.
#[test]
fn a_wait_of_800_ms_reads_as_800_ms() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let client = Client::connect(&listener);
    thread::sleep(Duration::from_millis(800));
    let accepted = listener.accept().unwrap();
    let asked = Instant::now();
    let wait = accepted.stream.kernel_wait().unwrap();
    client.assert_wait(wait, asked, Instant::now());
    assert!(wait >= Duration::from_millis(780), "{wait:?}");
}

#[test]
fn what_the_client_does_while_it_waits_does_not_change_it() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect(&listener)).collect();
    thread::sleep(Duration::from_millis(200));
    clients[1].stream.as_mut().unwrap().write_all(b"request").unwrap();
    clients[2].stream = None;
    anteroom_testkit::reset(clients[3].stream.take().unwrap());
    thread::sleep(Duration::from_millis(200));
    for client in &clients {
        let accepted = listener.accept().unwrap();
        let asked = Instant::now();
        let wait = accepted.stream.kernel_wait().unwrap();
        client.assert_wait(wait, asked, Instant::now());
    }
}

#[test]
fn where_nobody_can_have_waited_nothing_is_read() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    for (longest, is_read) in [
        (Some(Duration::ZERO), false),
        (Some(Batch::NO_WAIT - Duration::from_nanos(1)), false),
        (Some(Batch::NO_WAIT), true),
        (None, true),
    ] {
        let mut clients: Vec<_> = (0..3).map(|_| Client::connect(&listener)).collect();
        clients[1].stream.as_mut().unwrap().write_all(b"request").unwrap();
        clients[2].stream = None;
        thread::sleep(Duration::from_millis(60));
        for expected in [&[PeerState::Open, PeerState::Open][..], &[PeerState::HalfClosed(Unread::Nothing)]] {
            let mut batch = Batch::new();
            batch.fill(expected.len(), || listener.accept());
            // Where nobody waited the states are told all the same, of several and of one alone.
            let told: Vec<_> = batch.classify_within(longest).collect();
            assert_eq!(told.iter().map(|one| one.state).collect::<Vec<_>>(), expected);
            // It has waited for 60 ms. That is what shows whether the kernel was asked.
            assert!(
                told.iter().all(|one| (one.kernel_wait.unwrap() > Duration::ZERO) == is_read),
                "{told:?}"
            );
        }
    }
}

#[test]
fn the_look_at_a_batch_tells_whether_anybody_is_left_behind_it() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    for longest in [None, Some(Duration::ZERO)] {
        let _clients = connect(tcp(&listener), 3);
        eventually("they are queued", BOUND, || listener.depth() == Some(3));
        let mut batch = Batch::new();
        for (at_once, is_anybody_left) in [(2, true), (1, false)] {
            batch.fill(at_once, || listener.accept());
            let looked = batch.classify_at(&listener, longest);
            assert_eq!(looked.is_anybody_left(), Some(is_anybody_left));
            let states: Vec<_> = looked.map(|one| one.state).collect();
            assert_eq!(states, vec![PeerState::Open; at_once]);
        }
        assert_eq!(batch.classify_within(longest).is_anybody_left(), None, "nobody looked");
    }
}

#[test]
fn the_head_of_a_batch_has_waited_longest() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::connect(&listener));
        thread::sleep(Duration::from_millis(60));
    }
    let mut batch = Batch::new();
    batch.fill(4, || listener.accept());
    let asked = Instant::now();
    let waits: Vec<_> = batch.classify().map(|connection| connection.kernel_wait.unwrap()).collect();
    let answered = Instant::now();
    assert!(waits.is_sorted_by(|sooner, later| sooner >= later), "{waits:?}");
    for (client, wait) in clients.iter().zip(waits) {
        // The head waited longer than `SHORT_WAIT`, so each was read.
        client.assert_wait(wait, asked, answered);
    }
}

#[test]
fn a_short_wait_of_the_head_stands_for_all() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    // A machine that is busy can make any wait long; it will not do so for ever.
    for _ in 0..1_000 {
        let start = Instant::now();
        let _clients = connect(tcp(&listener), 4);
        eventually("they are queued", BOUND, || listener.depth() == Some(4));
        let mut batch = Batch::new();
        batch.fill(4, || listener.accept());
        let waits: Vec<_> = batch.classify().map(|connection| connection.kernel_wait.unwrap()).collect();
        let most = start.elapsed() + TOLERANCE;
        assert!(
            waits.iter().all(|wait| *wait <= most),
            "an upper bound, but never above the truth: {waits:?}"
        );
        if waits[0] < Batch::SHORT_WAIT {
            assert!(waits.iter().all(|wait| *wait == waits[0]), "{waits:?}");
            return;
        }
    }
    unreachable!("the head never waited less than {:?}", Batch::SHORT_WAIT);
}
