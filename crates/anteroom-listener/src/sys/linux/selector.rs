//! epoll(7) and eventfd(2): what a poller sleeps on, and what wakes it.
//!
//! Owns the epoll descriptor and the meaning of its bits. Never owns the descriptors that it watches.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Duration,
};

use libc::c_int;

use crate::sys::{Interest, Notice, Sign};

/// One epoll set.
#[derive(Debug)]
pub(crate) struct Selector {
    epoll: OwnedFd,
}

impl Selector {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointer.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        Ok(Self { epoll: owned(fd)? })
    }

    pub(crate) fn add(&self, fd: BorrowedFd<'_>, interest: Interest, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, event(interest, token))
    }

    pub(crate) fn modify(&self, fd: BorrowedFd<'_>, interest: Interest, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, event(interest, token))
    }

    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        // Kernels before 2.6.9 wanted an event here too; giving one costs nothing.
        self.control(libc::EPOLL_CTL_DEL, fd, event(Interest::Paused, 0))
    }

    pub(crate) fn add_alarm(&self, alarm: &Alarm, token: u64) -> io::Result<()> {
        let event = libc::epoll_event { events: bits(libc::EPOLLIN | libc::EPOLLET), u64: token };
        self.control(libc::EPOLL_CTL_ADD, alarm.eventfd.as_fd(), event)
    }

    /// Waits; without a timeout, for as long as it takes.
    pub(crate) fn wait(&self, notices: &mut Notices, timeout: Option<Duration>) -> io::Result<()> {
        notices.filled = 0;
        let timeout = super::super::milliseconds(timeout);
        let room = c_int::try_from(notices.events.len()).unwrap_or(c_int::MAX);
        let events = notices.events.as_mut_ptr();
        // SAFETY: `events` is writable for `room` events, exclusively borrowed, and the call does not keep it.
        let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events, room, timeout) };
        if count == -1 {
            return Err(io::Error::last_os_error());
        }
        notices.filled = usize::try_from(count).unwrap_or(0);
        Ok(())
    }

    pub(crate) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }

    /// A change is seen by a sleeping `wait` at once.
    pub(crate) const NEEDS_WAKE_AFTER_CHANGE: bool = false;

    /// Peers can be watched without a wake-up for every byte.
    pub(crate) const WATCHES_PEERS: bool = true;

    fn control(&self, what: c_int, fd: BorrowedFd<'_>, mut event: libc::epoll_event) -> io::Result<()> {
        // SAFETY: `event` lives for the call, which copies it; both descriptors are borrowed and therefore open.
        let answer = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), what, fd.as_raw_fd(), &raw mut event) };
        if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// What wakes a selector: an eventfd, registered edge-triggered, so that nobody needs to read it.
#[derive(Debug)]
pub(crate) struct Alarm {
    eventfd: File,
}

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointer.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        Ok(Self { eventfd: owned(fd)?.into() })
    }

    pub(crate) fn ring(&self) -> io::Result<()> {
        (&self.eventfd).write_all(&1u64.to_ne_bytes())
    }

    /// Makes it quiet after it rang.
    pub(crate) fn quiet(&self) {}
}

/// The reusable answer of [`Selector::wait`].
pub(crate) struct Notices {
    events: Vec<libc::epoll_event>,
    filled: usize,
}

impl Notices {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { events: vec![libc::epoll_event { events: 0, u64: 0 }; capacity.max(1)], filled: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Notice> {
        self.events
            .iter()
            .take(self.filled)
            .map(|event| Notice { token: event.u64, sign: sign(event.events) })
    }
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn event(interest: Interest, token: u64) -> libc::epoll_event {
    let events = match interest {
        Interest::Acceptable => libc::EPOLLIN,
        // EPOLLERR and EPOLLHUP cannot be switched off: edge-triggered, a broken listener that is paused tells it once
        // instead of keeping the poller awake.
        Interest::Paused => libc::EPOLLET,
        Interest::HangUp => libc::EPOLLRDHUP | libc::EPOLLET,
        Interest::Bytes => libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET,
    };
    libc::epoll_event { events: bits(events), u64: token }
}

fn bits(events: c_int) -> u32 {
    u32::from_ne_bytes(events.to_ne_bytes())
}

fn sign(events: u32) -> Sign {
    let has = |bit: c_int| events & bits(bit) != 0;
    if has(libc::EPOLLERR) {
        Sign::Error
    } else if has(libc::EPOLLHUP) {
        Sign::ClosedBothWays
    } else if has(libc::EPOLLRDHUP) {
        Sign::ClosedOneWay
    } else if has(libc::EPOLLIN) {
        Sign::Readable
    } else {
        Sign::Nothing
    }
}

fn owned(fd: c_int) -> io::Result<OwnedFd> {
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given this descriptor to us, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
