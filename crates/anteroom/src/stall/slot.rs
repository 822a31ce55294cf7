//! What one thread runs of the user's code, and since when.
//!
//! Owns what its thread writes and the pulse reads. Never says anything about it.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use histogram::AtomicHistogram;

use super::line::Line;
use crate::observe::{Part, Thread, microseconds, record_nanos};
use crate::tick::Tick;

/// Which piece of user code it is, for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) part: Part,
    /// The number of the lane; of the listener for a filter.
    pub(crate) of: usize,
    /// Names the open connection in the gate's register; 0 for none.
    pub(crate) key: u64,
    /// The id of its span; 0 for none.
    pub(crate) span: u64,
}

/// What the pulse saw at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glimpse {
    pub(super) since: Tick,
    pub(super) work: Work,
}

/// In the order of their numbers.
const PARTS: [Part; 4] = [Part::Handler, Part::Call, Part::PollReady, Part::Filter];

/// One thread on the board.
#[derive(Debug)]
pub(super) struct Slot {
    line: Line,
    /// How often something was begun: it grows while its thread is alive to the server.
    begun: AtomicU64,
    /// How long polls of handlers took, in microseconds.
    pub(super) times: AtomicHistogram,
    /// Their sum, in nanoseconds.
    polled: AtomicU64,
    pub(super) thread: Thread,
}

impl Slot {
    pub(super) fn new(thread: Thread) -> Self {
        Self {
            line: Line::new(),
            begun: AtomicU64::new(0),
            times: microseconds(),
            polled: AtomicU64::new(0),
            thread,
        }
    }

    /// By its own thread only.
    #[inline]
    pub(super) fn begin(&self, since: Tick, work: Work) {
        let what = (work.of as u64) << 8 | work.part as u64;
        self.line.begin(since.nanos(), [what, work.key, work.span]);
        self.begun.store(self.begun.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Its thread has come back. By its own thread only.
    #[inline]
    pub(super) fn end(&self) {
        self.line.end();
    }

    /// One poll of a handler took so many nanoseconds. By its own thread only.
    #[inline]
    pub(super) fn poll_took(&self, nanos: u64) {
        record_nanos(&self.times, nanos);
        self.polled.store(self.polled.load(Relaxed).wrapping_add(nanos), Relaxed);
    }

    /// How long all polls of handlers took so far, in nanoseconds.
    pub(super) fn polled(&self) -> u64 {
        self.polled.load(Relaxed)
    }

    pub(super) fn look(&self) -> Option<Glimpse> {
        let (since, [what, key, span]) = self.line.look()?;
        let part = usize::try_from(what & 0xff).ok().and_then(|part| PARTS.get(part).copied())?;
        let of = usize::try_from(what >> 8).unwrap_or(usize::MAX);
        Some(Glimpse { since: Tick::from_nanos(since), work: Work { part, of, key, span } })
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn work(number: u64) -> Work {
        Work { part: Part::Handler, of: 3, key: number, span: number.wrapping_mul(7) }
    }

    #[test]
    fn a_look_sees_what_was_begun_until_it_ends() {
        let slot = Slot::new(Thread { name: None, id: None });
        assert_eq!(slot.look(), None);
        let filter = Work { part: Part::Filter, of: 70_000, key: u64::MAX, span: 1 };
        slot.begin(Tick::from_nanos(4), filter);
        assert_eq!(slot.look(), Some(Glimpse { since: Tick::from_nanos(4), work: filter }));
        slot.begin(Tick::from_nanos(5), work(2));
        assert_eq!(slot.look(), Some(Glimpse { since: Tick::from_nanos(5), work: work(2) }));
        slot.end();
        assert_eq!(slot.look(), None);
        assert_eq!(slot.begun(), 2);
    }

    #[test]
    fn every_part_is_known_by_its_number() {
        for (number, part) in PARTS.into_iter().enumerate() {
            assert_eq!(part as usize, number);
        }
    }

    /// The model of `line.rs` in `tests/line_model.rs` goes through every order; this is the real thing.
    #[test]
    fn a_look_from_another_thread_never_mixes_two_works() {
        let slot = Arc::new(Slot::new(Thread { name: None, id: None }));
        let over = Arc::new(AtomicBool::new(false));
        let (looked, until) = (Arc::clone(&slot), Arc::clone(&over));
        let reader = std::thread::spawn(move || {
            while !until.load(Relaxed) {
                if let Some(glimpse) = looked.look() {
                    assert_eq!(glimpse.work, work(glimpse.since.nanos()), "two works in one");
                }
            }
        });
        for number in 1..1_000_000 {
            slot.begin(Tick::from_nanos(number), work(number));
            if number % 3 == 0 {
                slot.end();
            }
        }
        over.store(true, Relaxed);
        reader.join().expect("nothing was mixed");
    }
}
