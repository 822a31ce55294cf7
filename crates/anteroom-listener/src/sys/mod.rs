//! The fence around the kernel: the only unsafe code of the project, and the choice of the platform's half.
//!
//! Owns one safe function per kernel call, descriptors in and out as `BorrowedFd` and `OwnedFd`. Never keeps a
//! descriptor that it was lent, never decides anything, never retries.
//!
//! What a half must supply (the Linux one with every fact, the portable one with what POSIX has):
//!
//! - `accept`: one call, the new socket non-blocking and close-on-exec, with the peer's address.
//! - `tcp_info`, `drops`, `somaxconn`: the queue's facts, `None` where the platform does not tell.
//! - `network_setting`, `cookies_sent`: what the network namespace tells of itself, `None` likewise.
//! - `fence`: a filter on a listener that drops new SYNs; an error of kind `Unsupported` where there is none.
//! - `open_descriptors`: how many this process has, `None` likewise.
//! - `options`: the socket options that not every Unix has; a missing one is an error of kind `Unsupported`.
//! - `discard_uncopied`: throws bytes away without copying them, or says that it cannot.
//! - `PEER_INTEREST` and `peer_sign`: which bits of poll(2) to ask for, and what the answer says of the peer.
//! - `Selector`, `Alarm`, `Notices`: what a poller sleeps on, what wakes it, and what it is told.

mod clock;
mod descriptors;
pub(crate) mod inherited;
mod poll;
mod stream;

#[cfg(all(target_os = "linux", not(anteroom_portable)))]
mod linux;
#[cfg(not(all(target_os = "linux", not(anteroom_portable))))]
mod portable;

#[cfg(all(target_os = "linux", not(anteroom_portable)))]
use linux as platform;
#[cfg(not(all(target_os = "linux", not(anteroom_portable))))]
use portable as platform;

use std::time::Duration;

pub(crate) use clock::monotonic_nanos;
pub(crate) use descriptors::descriptor_limit;
pub(crate) use platform::{
    Alarm, Notices, PEER_INTEREST, Selector, accept, cookies_sent, discard_uncopied, drops, fence,
    network_setting, open_descriptors, options, peer_sign, somaxconn, tcp_info,
};
pub(crate) use poll::{PollSet, Ready};
pub(crate) use stream::{read, unread_bytes};

/// The flag of send(2) by which a peer that has gone is an error and no signal; Apple's systems have a socket option for
/// that, which the standard library sets.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const NO_SIGNAL: libc::c_int = libc::MSG_NOSIGNAL;
#[cfg(target_vendor = "apple")]
pub(crate) const NO_SIGNAL: libc::c_int = 0;

/// What poll's answer says of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "each half tells some of them")]
pub(crate) enum Sign {
    /// Nothing speaks against it.
    Nothing,
    /// Readable, which may be bytes or the end: only a look at the bytes tells.
    Readable,
    /// It sends no more.
    ClosedOneWay,
    /// Neither direction is open.
    ClosedBothWays,
    /// Reset, or given up.
    Error,
}

/// The part of `TCP_INFO` that is of use here, as the kernel gave it. Fields that it did not return are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TcpInfo {
    /// The socket's state, a value of the kernel's `enum` in `include/net/tcp_states.h`.
    pub(crate) state: Option<u8>,
    /// On a listening socket: how many connections are queued.
    pub(crate) unacked: Option<u32>,
    /// On a listening socket: the limit of the queue.
    pub(crate) sacked: Option<u32>,
    /// Bytes that came, read or not; the end of the stream counts as one.
    pub(crate) received: Option<u64>,
    /// Since data was last sent, or since the handshake.
    pub(crate) last_data_sent: Option<Duration>,
}

/// What a registration with a [`Selector`] wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// That `accept` has something to say, for as long as it is so.
    Acceptable,
    /// Nothing for now; trouble at most once.
    Paused,
    /// That the peer hung up, once for each way of it.
    HangUp,
    /// That too, and that bytes came, once for each arrival.
    Bytes,
}

/// One thing that a [`Selector`] was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) token: u64,
    pub(crate) sign: Sign,
}

/// A timeout as poll(2) and epoll_wait(2) take it: whole milliseconds, rounded up so that nobody wakes too early and
/// spins; negative for without end.
fn milliseconds(timeout: Option<Duration>) -> libc::c_int {
    let Some(timeout) = timeout else { return -1 };
    libc::c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_round_up_and_saturate() {
        assert_eq!(milliseconds(None), -1);
        assert_eq!(milliseconds(Some(Duration::ZERO)), 0);
        assert_eq!(milliseconds(Some(Duration::from_nanos(1))), 1);
        assert_eq!(milliseconds(Some(Duration::from_millis(7))), 7);
        assert_eq!(milliseconds(Some(Duration::from_micros(7_001))), 8);
        assert_eq!(milliseconds(Some(Duration::MAX)), libc::c_int::MAX);
    }
}
