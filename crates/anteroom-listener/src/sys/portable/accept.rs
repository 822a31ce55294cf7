//! accept(2).
//!
//! Owns the one call, and what must be said about the new socket after it. Never retries and never sorts errors.

use std::{io, os::fd::BorrowedFd};

use socket2::{SockAddr, SockRef, Socket};

/// Takes one connection; the new socket is close-on-exec (atomically where the system can) and non-blocking.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(Socket, SockAddr)> {
    let (socket, address) = SockRef::from(&listener).accept()?;
    if address.len() == 0 {
        // Some systems give a connection that was reset in the queue, and no address with it.
        return Err(io::Error::from_raw_os_error(libc::ECONNABORTED));
    }
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}
