//! Connections that come so closely that a short pause lets several of them be accepted in one turn.
//!
//! Owns how closely they came lately. Never sleeps: the thread between two turns does.

use crate::tick::Tick;
use std::time::Duration;

/// So many connections at a time are what "lately" means.
const SAMPLE: usize = 32;

/// On average closer than this, some come within a [`PAUSE`], timer slack included.
const CLOSE: Duration = Duration::from_micros(80);

/// What the kernel makes some 100 µs of: a thread's timer slack is 50 µs (prctl(2), `PR_SET_TIMERSLACK`). A turn that
/// accepts one costs two system calls and a wake-up that a turn for several costs once.
const PAUSE: Duration = Duration::from_micros(50);

#[derive(Debug)]
pub(super) struct Gather {
    /// When the sample began.
    since: Tick,
    came: usize,
    is_close: bool,
    turn: Turn,
}

/// What this turn brought so far.
#[derive(Debug)]
struct Turn {
    is_busy: bool,
    /// Nobody is known to be left in a queue.
    is_all: bool,
}

impl Default for Turn {
    fn default() -> Self {
        Self { is_busy: false, is_all: true }
    }
}

impl Gather {
    pub(super) fn new(now: Tick) -> Self {
        Self { since: now, came: 0, is_close: false, turn: Turn::default() }
    }

    /// So many have been accepted, and that was all or not.
    pub(super) fn count(&mut self, accepted: usize, is_all: bool, now: Tick) {
        self.turn.is_busy |= accepted > 0;
        self.turn.is_all &= is_all;
        self.came += accepted;
        if self.came >= SAMPLE {
            let came = u32::try_from(self.came).unwrap_or(u32::MAX);
            self.is_close = now.since(self.since) < CLOSE * came;
            (self.since, self.came) = (now, 0);
        }
    }

    /// How long to wait after this turn before the next. Nobody waits for the first who comes after a rest.
    pub(super) fn pause(&mut self) -> Option<Duration> {
        let Turn { is_busy, is_all } = std::mem::take(&mut self.turn);
        (is_busy && is_all && self.is_close).then_some(PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(gather: &mut Gather, start: Tick, connections: u32, apart: Duration) -> Option<Duration> {
        for number in 1..=connections {
            let _between = gather.pause();
            gather.count(1, true, start + apart * number);
        }
        gather.pause()
    }

    #[test]
    fn it_pauses_when_they_come_closely_and_only_after_a_turn_in_which_somebody_came() {
        let start = Tick::now();
        let mut gather = Gather::new(start);
        assert_eq!(after(&mut gather, start, 31, Duration::from_micros(10)), None);
        assert_eq!(after(&mut gather, start, 1, Duration::from_micros(320)), Some(PAUSE));
        assert_eq!(gather.pause(), None);
        gather.count(8, false, start + Duration::from_micros(400));
        assert_eq!(gather.pause(), None, "there are more");
    }

    #[test]
    fn it_does_not_pause_when_they_come_one_by_one_nor_after_a_rest() {
        let start = Tick::now();
        let mut gather = Gather::new(start);
        assert_eq!(after(&mut gather, start, 64, Duration::from_micros(200)), None);
        let start = start + Duration::from_secs(1);
        assert_eq!(after(&mut gather, start, 32, Duration::from_micros(10)), None, "the rest counts");
        assert_eq!(after(&mut gather, start, 64, Duration::from_micros(40)), Some(PAUSE));
    }
}
