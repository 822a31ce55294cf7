//! recv(2) with `MSG_TRUNC`, by which TCP throws bytes away without copying them (tcp(7)).
//!
//! Owns the one call. Never reads into memory.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

/// Throws away up to `most` bytes that wait; `None` if this kind of socket would have to copy them.
pub(crate) fn discard_uncopied(socket: BorrowedFd<'_>, most: usize) -> io::Result<Option<usize>> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: a kernel that copies after all finds no memory behind the null pointer and fails with EFAULT.
    let answer = unsafe { libc::recv(socket.as_raw_fd(), ptr::null_mut(), most, flags) };
    match usize::try_from(answer) {
        Ok(count) => Ok(Some(count)),
        Err(_) => refused(io::Error::last_os_error()),
    }
}

/// A Unix socket fails with `EFAULT` where bytes wait and leaves them there; so does, or refuses the flag, a multipath
/// socket of an older kernel.
fn refused(error: io::Error) -> io::Result<Option<usize>> {
    match error.raw_os_error() {
        Some(libc::EFAULT | libc::EOPNOTSUPP | libc::EINVAL) => Ok(None),
        _ => Err(error),
    }
}
