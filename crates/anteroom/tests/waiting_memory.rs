//! What a waiting connection costs beyond its socket: user memory, read from the process itself.
//!
//! One test, alone in its process: nobody else's memory is in the figure.

#![cfg(all(feature = "simulate", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anteroom::simulate::{Arrived, Fate, Room, Tended, Visitor};
use anteroom::{Config, Order};

/// The promise's own numbers.
const WAITING: u32 = 100_000;
const MOST: usize = 256;

/// Anonymous memory that the process has touched, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn a_waiting_connection_costs_at_most_256_bytes_beyond_its_socket() {
    let mut config = Config::default();
    config.max_waiting = WAITING as usize;
    config.max_wait = Duration::from_secs(3_600);
    config.order = Order::Fifo;
    let mut room = Room::new(&config, 1, 0).unwrap();
    let before = resident();
    for id in 0..WAITING {
        // The worst case: each has an address of its own, and the table of sources is full.
        let from = IpAddr::V4(Ipv4Addr::from_bits(id));
        let arrived = room.arrive(Visitor::new(id.into(), Duration::ZERO).from(from), Duration::ZERO);
        assert!(matches!(arrived, Arrived { fate: Fate::Waits, instead: None, .. }), "{arrived:?}");
    }
    let watched = std::iter::from_fn(|| room.tend(Duration::from_secs(1)));
    let watched = watched.filter(|tended| matches!(tended, Tended::Watched { .. })).count();
    assert_eq!((room.counts().waiting, watched), (WAITING as usize, WAITING as usize));
    let each = resident().saturating_sub(before) / WAITING as usize;
    println!("{each} bytes for each of {WAITING}, {} sources included", room.counts().sources);
    assert!((64..=MOST).contains(&each), "{each} bytes each");
}
