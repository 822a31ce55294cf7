//! Where there is no socket diagnosis.
//!
//! Owns the honest absences.

use std::{io, net::SocketAddr, os::fd::BorrowedFd};

/// Never exists here.
#[derive(Debug)]
pub(crate) enum UnixQueue {}

impl UnixQueue {
    pub(crate) fn of(_listener: BorrowedFd<'_>) -> Option<Self> {
        None
    }

    pub(crate) fn depth_and_limit(&self) -> Option<(u32, u32)> {
        match *self {}
    }
}

pub(crate) fn queued_by_state(_listener: SocketAddr) -> io::Result<Option<(u32, u32)>> {
    Ok(None)
}

pub(crate) fn handshakes(_listener: SocketAddr) -> io::Result<Option<u32>> {
    Ok(None)
}

pub(crate) fn listening_with(_listener: SocketAddr, _inode: u32) -> io::Result<Option<u32>> {
    Ok(None)
}
