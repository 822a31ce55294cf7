//! Counting the dead in the queue before anybody accepts them.
#![cfg(all(target_os = "linux", not(anteroom_portable)))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use anteroom_listener::{Builder, Census, Listener};
use anteroom_testkit::{BOUND, connect, eventually, reset};

fn counts(census: Census) -> (u32, u32, u32, u32) {
    (census.queued, census.open, census.closed, census.reset)
}

fn assert_counts(kind: &str, builder: Builder, bind: &str, host: &str) {
    let listener = builder.backlog(64).bind(bind).unwrap();
    let mut to = listener.local_addr().tcp().unwrap();
    to.set_ip(host.parse().unwrap());
    assert_eq!(counts(listener.census().unwrap().unwrap()), (0, 0, 0, 0), "{kind}");

    let _open = connect(to, 3);
    connect(to, 5).into_iter().for_each(drop);
    connect(to, 7).into_iter().for_each(reset);
    // The other end's segments are handled by the kernel in its own time.
    eventually(kind, BOUND, || listener.census().unwrap().map(counts) == Some((15, 3, 5, 7)));
    assert_eq!(listener.depth(), Some(15), "{kind}: the dead keep their places");

    // Whoever was accepted is no longer of the queue.
    let _accepted: Vec<_> = (0..3).map(|_| listener.accept().unwrap()).collect();
    assert_eq!(counts(listener.census().unwrap().unwrap()), (12, 0, 5, 7), "{kind}");
}

#[test]
fn the_dead_are_counted_by_how_they_left() {
    assert_counts("v4", Listener::builder(), "127.0.0.1:0", "127.0.0.1");
    assert_counts("v4 on every address", Listener::builder(), "0.0.0.0:0", "127.0.0.1");
}

#[test]
fn they_are_counted_on_ipv6_and_on_both() {
    assert_counts("v6", Listener::builder().only_v6(), "[::1]:0", "::1");
    assert_counts("v6 on every address", Listener::builder().only_v6(), "[::]:0", "::1");
    assert_counts("v4 client of a dual stack", Listener::builder().dual_stack(), "[::]:0", "127.0.0.1");
    assert_counts("v6 client of a dual stack", Listener::builder().dual_stack(), "[::]:0", "::1");
    assert_counts("mapped", Listener::builder().dual_stack(), "[::ffff:127.0.0.1]:0", "127.0.0.1");
}

#[test]
fn they_are_counted_on_a_multipath_listener() {
    assert_counts("mptcp", Listener::builder().mptcp(), "127.0.0.1:0", "127.0.0.1");
}

#[test]
fn a_neighbour_on_the_same_port_is_not_counted() {
    let here = Listener::bind("127.0.0.1:0").unwrap();
    let mut address = here.local_addr().tcp().unwrap();
    let mine = connect(address, 2);
    address.set_ip("127.0.0.2".parse().unwrap());
    let there = Listener::bind(address).unwrap();
    let others = connect(address, 3);
    let open = |listener: &Listener| listener.census().unwrap().unwrap().open;
    eventually("each counts its own", BOUND, || (open(&here), open(&there)) == (2, 3));
    drop((mine, others));
}

#[test]
fn a_group_that_shares_a_port_cannot_be_told_apart() {
    let listener = Listener::builder().reuse_port().bind("127.0.0.1:0").unwrap();
    assert_eq!(listener.census().unwrap(), None);
}
