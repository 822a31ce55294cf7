//! What the handlers of one server count, and the report that they make of it.
//!
//! Owns: the counters of this process (a process is one server), the block, and the text form of the report.
//! Never: a figure that belongs to the kernel.

use crate::plan::{Kind, STALL, WORKERS};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    time::{ClockId, clock_gettime},
};
use std::{
    os::fd::AsFd,
    sync::{
        Barrier, LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

/// The counters of this process.
pub(crate) static CALLS: Calls = Calls::new();

/// All blocked handlers meet here, so that the stall begins when the last worker is blocked.
static ALL_BLOCKED: LazyLock<Barrier> = LazyLock::new(|| Barrier::new(WORKERS));

/// See the module.
pub(crate) struct Calls {
    present: [AtomicU64; Kind::ALL.len()],
    dead: [AtomicU64; Kind::ALL.len()],
    requests: [AtomicU64; Kind::ALL.len()],
    blocked: AtomicU64,
    stall_began: AtomicU64,
    stall_ended: AtomicU64,
}

impl Calls {
    const fn new() -> Self {
        Self {
            present: [const { AtomicU64::new(0) }; Kind::ALL.len()],
            dead: [const { AtomicU64::new(0) }; Kind::ALL.len()],
            requests: [const { AtomicU64::new(0) }; Kind::ALL.len()],
            blocked: AtomicU64::new(0),
            stall_began: AtomicU64::new(0),
            stall_ended: AtomicU64::new(0),
        }
    }

    /// A connection of this kind was given to a handler. Whether its client is still there, the kernel says.
    pub(crate) fn connection(&self, kind: Kind, socket: &impl AsFd) {
        let counts = if has_left(socket) { &self.dead } else { &self.present };
        if let Some(count) = counts.get(kind as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// A request of this kind is being handled. A blocker's blocks the worker that it runs on.
    pub(crate) fn request(&self, kind: Kind) {
        if let Some(count) = self.requests.get(kind as usize) {
            count.fetch_add(1, Relaxed);
        }
        if kind == Kind::Blocker {
            self.block();
        }
    }

    /// What such a handler does is wrong, and what this example is about.
    fn block(&self) {
        self.blocked.fetch_add(1, Relaxed);
        ALL_BLOCKED.wait();
        let _ = self.stall_began.compare_exchange(0, monotonic_nanos(), Relaxed, Relaxed);
        thread::sleep(STALL);
        let _ = self.stall_ended.compare_exchange(0, monotonic_nanos(), Relaxed, Relaxed);
    }

    pub(crate) fn report(&self) -> Counts {
        let read = |counts: &[AtomicU64; Kind::ALL.len()]| counts.each_ref().map(|count| count.load(Relaxed));
        Counts {
            present: read(&self.present),
            dead: read(&self.dead),
            requests: read(&self.requests),
            blocked: self.blocked.load(Relaxed),
            stall_began: self.stall_began.load(Relaxed),
            stall_ended: self.stall_ended.load(Relaxed),
        }
    }
}

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Connections given to a handler while their client was there, in the order of `Kind::ALL`.
    pub(crate) present: [u64; Kind::ALL.len()],
    /// Connections given to a handler after their client had left.
    pub(crate) dead: [u64; Kind::ALL.len()],
    /// Requests handled.
    pub(crate) requests: [u64; Kind::ALL.len()],
    /// Handlers that have blocked their worker.
    pub(crate) blocked: u64,
    /// When the last of them did, by the machine's monotonic clock in ns; 0 before.
    pub(crate) stall_began: u64,
    /// When the first of them returned; 0 before.
    pub(crate) stall_ended: u64,
}

impl Counts {
    pub(crate) fn present_of(&self, kind: Kind) -> u64 {
        self.present.get(kind as usize).copied().unwrap_or(0)
    }

    pub(crate) fn dead_of(&self, kind: Kind) -> u64 {
        self.dead.get(kind as usize).copied().unwrap_or(0)
    }

    pub(crate) fn requests_of(&self, kind: Kind) -> u64 {
        self.requests.get(kind as usize).copied().unwrap_or(0)
    }

    /// As numbers of a line.
    pub(crate) fn to_numbers(self) -> impl Iterator<Item = u64> {
        self.present.into_iter().chain(self.dead).chain(self.requests).chain([
            self.blocked,
            self.stall_began,
            self.stall_ended,
        ])
    }

    /// From the numbers of a line; `None` when there are too few.
    pub(crate) fn from_numbers(mut numbers: impl Iterator<Item = u64>) -> Option<Self> {
        let mut counts = Self::default();
        let all = counts.present.iter_mut().chain(&mut counts.dead).chain(&mut counts.requests);
        for count in all {
            *count = numbers.next()?;
        }
        counts.blocked = numbers.next()?;
        counts.stall_began = numbers.next()?;
        counts.stall_ended = numbers.next()?;
        Some(counts)
    }
}

/// A FIN or a reset has come; what was sent before it may still wait to be read.
fn has_left(socket: &impl AsFd) -> bool {
    let mut polled = [PollFd::new(socket, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).is_ok_and(|count| count > 0)
}

/// The same clock in all processes of the machine.
pub(crate) fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_kernel_says_who_has_left_and_the_report_survives_the_line() {
        let calls = Calls::new();
        calls.request(Kind::Live);
        let (ours, theirs) = UnixStream::pair().unwrap();
        calls.connection(Kind::Silent, &ours);
        drop(theirs);
        calls.connection(Kind::Silent, &ours);
        calls.connection(Kind::Silent, &ours);
        let counts = calls.report();
        assert_eq!((counts.present_of(Kind::Silent), counts.dead_of(Kind::Silent)), (1, 2));
        assert_eq!(counts.requests_of(Kind::Live), 1);
        assert_eq!(Counts::from_numbers(counts.to_numbers()), Some(counts));
        assert_eq!(Counts::from_numbers(counts.to_numbers().skip(1)), None);
    }
}
