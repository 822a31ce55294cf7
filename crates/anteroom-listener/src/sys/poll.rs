//! poll(2), the call that both halves have.
//!
//! Owns the reusable argument of the call. Never waits longer than it is told, never touches the descriptors' bytes.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use libc::c_int;

/// The descriptors of one `poll`, and after it the answers.
///
/// It holds bare numbers between calls. A number whose descriptor was closed meanwhile can only give a wrong answer,
/// not harm memory; callers fill, poll and read in one go.
#[derive(Default)]
pub(crate) struct PollSet {
    entries: Vec<libc::pollfd>,
}

impl PollSet {
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Asks for `interest` (`POLL*` bits) of a descriptor.
    pub(crate) fn push(&mut self, fd: BorrowedFd<'_>, interest: i16) {
        self.entries.push(libc::pollfd { fd: fd.as_raw_fd(), events: interest, revents: 0 });
    }

    /// As `push`, for one whose answer is known: the next call has to leave it out.
    pub(crate) fn push_answered(&mut self, ready: i16) {
        self.entries.push(libc::pollfd { fd: -1, events: 0, revents: ready });
    }

    /// As `push`, for a number that the caller has promised to keep open.
    #[cfg(not(all(target_os = "linux", not(anteroom_portable))))]
    pub(crate) fn push_raw(&mut self, fd: std::os::fd::RawFd, interest: i16) {
        self.entries.push(libc::pollfd { fd, events: interest, revents: 0 });
    }

    /// Polls without waiting.
    pub(crate) fn poll_now(&mut self) -> io::Result<()> {
        loop {
            match self.poll(0) {
                // A signal that is pending interrupts even a call that does not wait.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Polls; `timeout` in milliseconds, negative for without end.
    pub(crate) fn poll(&mut self, timeout: c_int) -> io::Result<()> {
        let count = libc::nfds_t::try_from(self.entries.len())
            .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        // SAFETY: the pointer and the count describe one live, exclusively borrowed slice of `pollfd`.
        let answer = unsafe { libc::poll(self.entries.as_mut_ptr(), count, timeout) };
        if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Makes every answer an empty one.
    pub(crate) fn forget_answers(&mut self) {
        for entry in &mut self.entries {
            entry.revents = 0;
        }
    }

    /// The answers, in the order of the pushes.
    pub(crate) fn answers(&self) -> impl Iterator<Item = Ready> {
        self.entries.iter().map(|entry| Ready(entry.revents))
    }

    /// One of them, from 0.
    pub(crate) fn answer(&self, place: usize) -> Option<Ready> {
        self.entries.get(place).map(|entry| Ready(entry.revents))
    }
}

/// By hand: `pollfd` shows itself only in recent versions of its crate.
impl std::fmt::Debug for PollSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PollSet").field("len", &self.entries.len()).finish()
    }
}

/// The answer for one descriptor: `POLL*` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready(i16);

impl Ready {
    /// Whether any of these bits is set.
    pub(crate) fn has(self, bits: i16) -> bool {
        self.0 & bits != 0
    }
}
