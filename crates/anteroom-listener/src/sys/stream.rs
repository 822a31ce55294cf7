//! What both halves ask of a connected socket: recv(2), and ioctl(2) with `FIONREAD`.
//!
//! Owns the two calls. Never waits, and never retries.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use bytes::BufMut;
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

/// Reads into the next piece of `buffer`, which it is advanced by.
pub(crate) fn read(socket: BorrowedFd<'_>, buffer: &mut impl BufMut) -> io::Result<usize> {
    let piece = buffer.chunk_mut();
    // SAFETY: the call writes at most `len` bytes to the piece, which is live and exclusively borrowed, and does not
    // keep the pointer.
    let count = unsafe { libc::recv(socket.as_raw_fd(), piece.as_mut_ptr().cast(), piece.len(), 0) };
    let Ok(count) = usize::try_from(count) else { return Err(io::Error::last_os_error()) };
    // SAFETY: recv has written so many bytes to the beginning of the piece.
    unsafe { buffer.advance_mut(count) };
    Ok(count)
}
