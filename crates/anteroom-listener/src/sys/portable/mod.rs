//! Any Unix: accept(2), poll(2) and a socket pair.
//!
//! Owns honest absence: a fact that POSIX does not offer is `None` here, even where this platform might know it.

mod accept;
pub(crate) mod fence;
pub(crate) mod options;
mod selector;

use std::{io, os::fd::BorrowedFd};

pub(crate) use accept::accept;
pub(crate) use selector::{Alarm, Notices, Selector};

use super::{Ready, Sign, TcpInfo};

/// The bits of poll(2) that tell whether a peer left.
pub(crate) const PEER_INTEREST: i16 = libc::POLLIN;

/// What poll's answer says of the peer. `POLLHUP` means different things on different systems, the weaker one is taken.
pub(crate) fn peer_sign(ready: Ready) -> Sign {
    if ready.has(libc::POLLERR) {
        Sign::Error
    } else if ready.has(libc::POLLHUP) {
        Sign::ClosedOneWay
    } else if ready.has(libc::POLLIN) {
        Sign::Readable
    } else {
        Sign::Nothing
    }
}

pub(crate) fn discard_uncopied(_socket: BorrowedFd<'_>, _most: usize) -> io::Result<Option<usize>> {
    Ok(None)
}

pub(crate) fn tcp_info(_socket: BorrowedFd<'_>) -> Option<TcpInfo> {
    None
}

pub(crate) fn drops(_socket: BorrowedFd<'_>) -> Option<u64> {
    None
}

pub(crate) fn open_descriptors() -> Option<u64> {
    None
}

pub(crate) fn somaxconn() -> Option<u32> {
    None
}

pub(crate) fn network_setting(_path: &str) -> Option<u32> {
    None
}

pub(crate) fn cookies_sent() -> Option<u64> {
    None
}
