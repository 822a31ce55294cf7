//! Shutting down under load: who waits in the kernel's queue or in the room is served, who is in flight ends,
//! who streams is cut at the deadline, and nobody is reset whose `connect` had succeeded.
//!
//! `ANTEROOM_ROUNDS` is the number of rounds of each kind of listener; 200 are the promise.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so, and tells its figures"
)]

mod drained;
mod plain;

use std::time::Duration;

use anteroom_testkit::{isolated, write_sysctl};
use anteroom_tests::promise::asked_for;
use anteroom_tests::shutdown::{Crowd, Outcome, Part};
use anteroom_tests::waiting::becomes;

use drained::{Kind, rounds_of, silent_ones_of};

/// The promise's own numbers.
const QUEUED: u32 = 200;
const WAITING: u32 = 50;
const IN_FLIGHT: u32 = 20;
const PER_SECOND: u32 = 2_000;

/// Clients that are connected and say nothing until the server is being stopped: at once after it, and when a
/// listener with `TCP_DEFER_ACCEPT` must have let them in without a word.
const SILENT: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(300),
    Duration::from_millis(700),
    Duration::from_millis(1_500),
    Duration::from_millis(2_500),
];

/// So many of those who come all the time have come before the server is told.
const CAME_BEFORE: u64 = 100;

/// And they go on coming for so long after the first of them was refused.
const COME_ON_FOR: Duration = Duration::from_millis(50);

/// Those in flight end one after the other.
const IN_FLIGHT_END: Duration = Duration::from_millis(5);

fn rounds() -> usize {
    asked_for("ANTEROOM_ROUNDS", 4)
}

/// Those whom the server has in hand first.
fn come_in_flight(crowd: &mut Crowd) {
    crowd.come(Part::Endless);
    for number in 0..IN_FLIGHT {
        crowd.come(Part::InTwo(IN_FLIGHT_END * number));
    }
}

/// Those whom nobody accepts, and the first of those who come all the time.
async fn come_into_queue(crowd: &mut Crowd, number: u32) {
    for _ in 0..number {
        crowd.come(Part::Quick);
    }
    for after in SILENT {
        crowd.come(Part::Silent(after));
    }
    crowd.is_connected().await;
    crowd.keep_coming(PER_SECOND);
    becomes("they come all the time", || crowd.arrived() >= CAME_BEFORE).await;
}

/// They come until nobody is let in any more, and a little longer.
async fn come_until_refused(crowd: &Crowd) {
    becomes("the listener goes", || crowd.refused() > 0).await;
    tokio::time::sleep(COME_ON_FOR).await;
    crowd.stop_coming();
}

#[test]
fn a_drain_on_v4_resets_nobody_who_was_connected() {
    isolated(|| rounds_of(Kind::V4, rounds()));
}

#[test]
fn a_drain_on_both_stacks_resets_nobody_who_was_connected() {
    isolated(|| rounds_of(Kind::DualStack, rounds()));
}

#[test]
fn a_drain_on_a_unix_socket_resets_nobody_who_was_connected() {
    isolated(|| rounds_of(Kind::Unix, rounds()));
}

#[test]
fn a_drain_with_deferred_accept_resets_nobody_who_was_connected() {
    isolated(|| rounds_of(Kind::Deferred, rounds()));
}

#[test]
fn who_was_silent_for_seconds_behind_deferred_accept_is_served() {
    isolated(|| silent_ones_of(|| ()));
}

/// The kernel does not know then whether there are others; these it knows.
#[test]
fn who_was_silent_for_seconds_is_served_where_there_may_be_cookies() {
    isolated(|| silent_ones_of(|| write_sysctl("net.ipv4.tcp_syncookies", 2)));
}

/// What all of this is for: the same clients, and the server that most would write.
#[test]
fn a_plain_loop_with_axums_graceful_shutdown_resets_who_is_queued() {
    isolated(|| {
        let rounds = rounds();
        let tally = plain::rounds(rounds);
        println!(
            "axum::serve, {rounds} rounds: {tally}; connected and not served: {} ({:.1} a round)",
            tally.unserved(),
            tally.unserved() as f64 / rounds as f64,
        );
        assert!(tally.unserved() > 0, "nobody was reset: then this load shows nothing");
        assert_eq!(tally.of(Outcome::NeverConnected), 0);
    });
}
