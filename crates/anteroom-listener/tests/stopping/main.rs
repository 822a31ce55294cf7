//! Stopping without resetting anyone: what the kernel does when a listener closes, and what the fence changes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests fail the test, and say why"
)]

#[cfg(all(target_os = "linux", not(anteroom_portable)))]
mod arrivals;
mod closing;
#[cfg(all(target_os = "linux", not(anteroom_portable)))]
mod deaf;
#[cfg(all(target_os = "linux", not(anteroom_portable)))]
mod fence;
#[cfg(all(target_os = "linux", not(anteroom_portable)))]
mod fence_refused;
#[cfg(all(target_os = "linux", not(anteroom_portable)))]
mod group;
#[cfg(all(target_os = "linux", not(anteroom_portable)))]
mod handshakes;
#[cfg(not(all(target_os = "linux", not(anteroom_portable))))]
mod portable;
mod sharing;
mod unix;

use std::net::SocketAddr;

use anteroom_listener::{Accepted, Listener};
use anteroom_testkit::{BOUND, eventually_gives};

fn address(listener: &Listener) -> SocketAddr {
    listener.local_addr().tcp().unwrap()
}

/// Takes the next connection as soon as the kernel has it in the queue.
fn accept(listener: &Listener) -> Accepted {
    eventually_gives("a connection", BOUND, || listener.accept().ok())
}
