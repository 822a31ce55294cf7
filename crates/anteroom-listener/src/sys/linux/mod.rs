//! Linux: accept4(2), `TCP_INFO`, `SO_MEMINFO`, `SO_ATTACH_FILTER`, epoll(7), eventfd(2).
//!
//! Owns what only Linux tells. Never guesses at what the kernel did not return.

mod accept;
mod facts;
pub(crate) mod fence;
mod network;
pub(crate) mod options;
mod selector;
mod stream;

pub(crate) use accept::accept;
pub(crate) use facts::{drops, open_descriptors, somaxconn, tcp_info};
pub(crate) use network::{cookies_sent, network_setting};
pub(crate) use selector::{Alarm, Notices, Selector};
pub(crate) use stream::discard_uncopied;

use super::{Ready, Sign};

/// The bits of poll(2) that tell whether a peer left.
pub(crate) const PEER_INTEREST: i16 = libc::POLLIN | libc::POLLRDHUP;

/// What poll's answer says of the peer (`tcp_poll` in `net/ipv4/tcp.c`, `unix_poll` in `net/unix/af_unix.c`).
pub(crate) fn peer_sign(ready: Ready) -> Sign {
    if ready.has(libc::POLLERR) {
        Sign::Error
    } else if ready.has(libc::POLLHUP) {
        Sign::ClosedBothWays
    } else if ready.has(libc::POLLRDHUP) {
        Sign::ClosedOneWay
    } else {
        Sign::Nothing
    }
}
