//! poll(2) over a list, and a socket pair that interrupts it.
//!
//! Owns the list of numbers to poll; whoever registers one removes it before closing it. Never watches peers: poll
//! cannot be asked for a hang-up alone, so unread bytes would keep it awake.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, BorrowedFd, RawFd},
        unix::net::UnixStream,
    },
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::sys::{Interest, Notice, PollSet, Sign};

/// The list that is polled.
#[derive(Debug)]
pub(crate) struct Selector {
    entries: Mutex<Vec<Entry>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    fd: RawFd,
    interest: Interest,
    token: u64,
}

impl Selector {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { entries: Mutex::default() })
    }

    pub(crate) fn add(&self, fd: BorrowedFd<'_>, interest: Interest, token: u64) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        let mut entries = self.entries();
        if entries.iter().any(|entry| entry.fd == fd) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        entries.push(Entry { fd, interest, token });
        Ok(())
    }

    pub(crate) fn modify(&self, fd: BorrowedFd<'_>, interest: Interest, token: u64) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        let mut entries = self.entries();
        let entry = entries.iter_mut().find(|entry| entry.fd == fd);
        *entry.ok_or_else(not_registered)? = Entry { fd, interest, token };
        Ok(())
    }

    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        let mut entries = self.entries();
        let place = entries.iter().position(|entry| entry.fd == fd).ok_or_else(not_registered)?;
        entries.remove(place);
        Ok(())
    }

    pub(crate) fn add_alarm(&self, alarm: &Alarm, token: u64) -> io::Result<()> {
        let fd = alarm.inner.as_raw_fd();
        self.entries().push(Entry { fd, interest: Interest::Acceptable, token });
        Ok(())
    }

    /// Waits; without a timeout, for as long as it takes. Every registration that is ready is told, beyond the
    /// capacity too: the list is short.
    pub(crate) fn wait(&self, notices: &mut Notices, timeout: Option<Duration>) -> io::Result<()> {
        notices.clear();
        notices.polled.extend(self.entries().iter().filter(|entry| entry.interest == Interest::Acceptable));
        for entry in &notices.polled {
            notices.polls.push_raw(entry.fd, libc::POLLIN);
        }
        notices.polls.poll(super::super::milliseconds(timeout))?;
        for (entry, ready) in notices.polled.iter().zip(notices.polls.answers()) {
            if ready.has(libc::POLLNVAL) {
                // Closed without being removed: polling it again would never sleep.
                self.entries().retain(|known| known.fd != entry.fd);
            } else if ready.has(libc::POLLIN | libc::POLLERR | libc::POLLHUP) {
                notices.told.push(Notice { token: entry.token, sign: Sign::Nothing });
            }
        }
        Ok(())
    }

    pub(crate) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// A sleeping `wait` polls the list as it was when it fell asleep.
    pub(crate) const NEEDS_WAKE_AFTER_CHANGE: bool = true;

    /// See above.
    pub(crate) const WATCHES_PEERS: bool = false;

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        // No panic can leave the list half-changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_registered() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOENT)
}

/// What wakes a selector: a byte in a socket pair.
#[derive(Debug)]
pub(crate) struct Alarm {
    inner: UnixStream,
    outer: UnixStream,
}

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        let (inner, outer) = UnixStream::pair()?;
        inner.set_nonblocking(true)?;
        outer.set_nonblocking(true)?;
        Ok(Self { inner, outer })
    }

    pub(crate) fn ring(&self) -> io::Result<()> {
        (&self.outer).write_all(&[1])
    }

    /// Makes it quiet after it rang.
    pub(crate) fn quiet(&self) {
        // Rings are coalesced, so there is one byte, hardly ever two; what were left would only ring again.
        let _ = (&self.inner).read(&mut [0; 64]);
    }
}

/// The reusable answer of [`Selector::wait`].
#[derive(Debug)]
pub(crate) struct Notices {
    polled: Vec<Entry>,
    polls: PollSet,
    told: Vec<Notice>,
}

impl Notices {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { polled: Vec::new(), polls: PollSet::default(), told: Vec::with_capacity(capacity) }
    }

    pub(crate) fn clear(&mut self) {
        self.polled.clear();
        self.polls.clear();
        self.told.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Notice> {
        self.told.iter().copied()
    }
}
