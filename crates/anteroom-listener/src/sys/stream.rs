//! What both halves ask of a connected socket: ioctl(2) with `FIONREAD`.
//!
//! Owns the one call. Never takes bytes or the pending error from the socket.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use libc::c_int;

/// How many bytes wait to be read. Unlike a look at the first of them it leaves the error of a reset connection where
/// it is.
pub(crate) fn unread_bytes(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: c_int = 0;
    // SAFETY: the request writes one `c_int`, which is live and exclusively borrowed, and does not keep the pointer.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(count).unwrap_or(0))
}
