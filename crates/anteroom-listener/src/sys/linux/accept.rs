//! accept4(2).
//!
//! Owns the one call. Never retries it and never sorts its errors.

use std::{io, os::fd::BorrowedFd};

use socket2::{SockAddr, SockRef, Socket};

/// Takes one connection; the new socket is non-blocking and close-on-exec from its first moment.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(Socket, SockAddr)> {
    SockRef::from(&listener).accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
}
