//! A filter on a listening socket: not here.
//!
//! Owns the refusal.

use std::{io, os::fd::BorrowedFd};

pub(crate) fn attach(_listener: BorrowedFd<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn detach(_listener: BorrowedFd<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
