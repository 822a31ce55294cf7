//! The bounded ring between the acceptor and the watch.
//!
//! Owns the notes that wait to be spoken. The acceptor never waits here: a full ring loses the note
//! and counts the loss; the counts themselves are in the ledgers, which lose nothing.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use anteroom_listener::{AcceptErrorClass, Address, Backlog, PeerAddr};

use tracing::level_filters::LevelFilter;

use super::readiness::Unready;
use super::snapshot::Phase;
use super::stall::Stall;
use crate::admit::{Cause, Death, Stage};

/// Something that happened on the acceptor and that people may want to read.
#[derive(Debug)]
pub(crate) enum Note {
    Dead {
        listener: usize,
        stage: Stage,
        death: Death,
        peer: PeerAddr,
        age: Duration,
    },
    Refused {
        listener: usize,
        cause: Cause,
        peer: PeerAddr,
        age: Duration,
    },
    AcceptError {
        listener: usize,
        class: AcceptErrorClass,
        error: io::Error,
        pause: Option<Duration>,
    },
    /// A listener is in use: where, and with what backlog.
    Listening {
        address: Arc<Address>,
        listener: usize,
        backlog: Backlog,
    },
    /// It shares its port by `SO_REUSEPORT` with so many, itself included, and the kernel does not move
    /// the queue of one that closes to the others.
    ReusePort {
        listener: usize,
        members: u32,
    },
    ReserveLost,
    ReserveRegained,
    FilterSlow {
        listener: usize,
        took: Duration,
    },
    FilterPanicked {
        listener: usize,
    },
    /// A drain has fenced newcomers off.
    Fenced {
        listener: usize,
    },
    NotFenced {
        listener: usize,
        error: io::Error,
    },
    /// It was closed although handshakes were under way.
    NotQuiet {
        listener: usize,
        after: Duration,
    },
    ListenerClosed {
        listener: usize,
        /// SYNs that the fence has dropped, if there was one.
        fenced: Option<u64>,
    },
    /// Closed without a fence: a successor has the queue.
    HandedOver {
        listener: usize,
    },
    ListenerFailed {
        listener: usize,
        error: io::Error,
    },
    /// This server was not succeeded, or did not succeed another; the old one serves on.
    #[cfg(all(feature = "handover", target_os = "linux"))]
    HandoverFailed {
        error: String,
    },
    /// Clients are being kept waiting.
    Stall(Box<Stall>),
    StallOver {
        cause: &'static str,
        lasted: Duration,
    },
    /// It keeps up again (`None`), or does not.
    KeepsUp(Option<Unready>),
    Phase(Phase),
    Paused,
    Resumed,
    /// The order of a lane has changed.
    Order {
        lane: usize,
        newest_first: bool,
    },
    /// More connections are allowed than there are descriptors for.
    FewDescriptors {
        sockets: usize,
    },
}

/// Notes that may wait for the watch.
const CAPACITY: usize = 8192;

#[derive(Debug, Default)]
pub(crate) struct Notes {
    ring: Mutex<VecDeque<Note>>,
    lost: AtomicU64,
    reader: OnceLock<Thread>,
}

impl Notes {
    /// Whom [`Notes::leave`] wakes.
    pub(crate) fn read_by(&self, reader: Thread) {
        let _only_the_first = self.reader.set(reader);
    }

    /// Leaves a note of a single connection, where somebody listens that closely. That is an atomic
    /// of `tracing`; no subscriber is asked.
    pub(crate) fn leave_detail(&self, note: Note) {
        if LevelFilter::current() >= LevelFilter::DEBUG {
            self.leave(note);
        }
    }

    pub(crate) fn leave(&self, note: Note) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() >= CAPACITY {
            self.lost.fetch_add(1, Relaxed);
            return;
        }
        ring.push_back(note);
        let was_empty = ring.len() == 1;
        drop(ring);
        if was_empty {
            self.wake();
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(reader) = self.reader.get() {
            reader.unpark();
        }
    }

    /// Moves everything that waits into `taken`, whose room the ring keeps in exchange.
    pub(crate) fn take(&self, taken: &mut VecDeque<Note>) {
        taken.clear();
        std::mem::swap(taken, &mut *self.ring.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Notes that found the ring full.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_loses_the_newest_and_says_how_many() {
        let notes = Notes::default();
        for _ in 0..CAPACITY + 3 {
            notes.leave(Note::ReserveLost);
        }
        let mut taken = VecDeque::new();
        notes.take(&mut taken);
        assert_eq!(taken.len(), CAPACITY);
        assert_eq!(notes.lost(), 3);
    }
}
