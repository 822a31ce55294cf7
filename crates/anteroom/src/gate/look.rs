//! What the pulse asks the gate: who waits for what, whose a place is, and which permits have leaked.
//!
//! Owns nothing, and changes nothing but what is watched for hang-ups.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anteroom_listener::last_sent;

use super::door::{Asleep, Door};
use super::open::{Whose, Wire};
use super::register::OPEN_BIT;
use super::{Gate, State};
use crate::admit::{Token, Turn};
use crate::tick::Tick;

/// How the gate moves: cheap, for every tick.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// How often a taker was woken from outside the runtime and came.
    pub(crate) summons: u64,
    /// Since when the first of those has been waiting for its turn that were woken and have not come.
    pub(crate) summoned: Option<Tick>,
    pub(crate) open: usize,
    pub(crate) waiting: usize,
    /// When the handshake of the one was that waits longest in line.
    pub(crate) oldest: Option<Tick>,
}

/// One lane as it stands at its exit.
#[derive(Clone, Debug)]
pub(crate) struct Doorway {
    pub(crate) lane: usize,
    pub(crate) open: usize,
    /// Somebody waits in line: not because of a share of its own.
    pub(crate) is_wanted: bool,
    /// What the taker sleeps on. `None`: it is awake, or there is none.
    pub(crate) asleep: Option<Asleep>,
    /// Nobody can be taken because every place is taken; a rate that holds back is no such thing.
    pub(crate) is_full: bool,
}

/// Permits that are held of connections that have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaked {
    pub(crate) permits: usize,
    /// For how long the first of them has been known to be.
    pub(crate) oldest: Duration,
}

impl Gate {
    pub(crate) fn pace(&self) -> Pace {
        let mut pace = Pace { summons: self.delays.summons.load(Ordering::Relaxed), ..Pace::default() };
        for (_, state) in self.each_hall() {
            let State { room, doors, .. } = &*state;
            let summoned = doors.iter().filter_map(Door::summoned).min();
            let oldest = (0..doors.len()).filter_map(|lane| room.first_in_line(lane)).min();
            pace.summoned = [pace.summoned, summoned].into_iter().flatten().min();
            pace.open += room.open();
            pace.waiting += room.len() - room.silent();
            pace.oldest = [pace.oldest, oldest].into_iter().flatten().min();
        }
        pace
    }

    pub(crate) fn doorways(&self) -> Vec<Doorway> {
        let doorways = (0..self.lanes).filter_map(|lane| {
            let (state, inside) = self.lock(lane);
            let State { room, doors, .. } = &*state;
            Some(Doorway {
                lane,
                open: room.open_in(inside),
                is_wanted: room.first_in_line(inside).is_some(),
                asleep: doors.get(inside)?.asleep(),
                is_full: room.waiting_in(inside) > 0 && room.turn(inside) == Turn::NotYet,
            })
        });
        doorways.collect()
    }

    /// Whose the connection is that a stamp names. `None`: it has ended.
    pub(crate) fn whose(&self, key: u64) -> Option<Whose> {
        let token = Token::from_bits(key)?;
        self.lock_of(token).open.get(token).map(|open| open.whose)
    }

    /// Permits that have been held for `long` of connections that have ended: the task has come back, and
    /// the socket is closed, or its peer has gone. The cost grows with the number of open connections.
    pub(crate) fn leaked(&self, long: Duration, now: Tick) -> Option<Leaked> {
        let mut leaked = None::<Leaked>;
        let mut count = |held| {
            let known = leaked.get_or_insert(Leaked { permits: 0, oldest: held });
            known.permits += 1;
            known.oldest = known.oldest.max(held);
        };
        let mut half_closed = Vec::new();
        let mut to_watch: Vec<(Token, Arc<dyn Wire>)> = Vec::new();
        for (_, mut state) in self.each_hall() {
            if state.open.len() == state.running {
                continue;
            }
            for (token, open) in state.open.iter_mut() {
                match open.leaked_for(long, now) {
                    Some((held, Some(wire))) => half_closed.push((held, wire)),
                    Some((held, None)) => count(held),
                    None => {}
                }
                to_watch.extend(open.take_unwatched().map(|wire| (token, wire)));
            }
        }
        for (held, wire) in half_closed {
            // A peer that said all it had to say may still be told something: then nothing has leaked.
            if wire.fd().and_then(last_sent).is_some_and(|sent| sent >= long) {
                count(held);
            }
        }
        for (token, wire) in to_watch {
            if let Some(fd) = wire.fd() {
                // Where the platform cannot watch, nobody is called leaked for it.
                let _unwatched = self.poller.watch_peer(fd, token.to_bits() | OPEN_BIT);
            }
        }
        leaked
    }
}
