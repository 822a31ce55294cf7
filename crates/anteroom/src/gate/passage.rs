//! Connections on their way between two servers: out of this one's room to its successor, and into it
//! from a predecessor, or back from a successor that did not take them.
//!
//! Owns those that have come and wait for the acceptor to let them in. Those that have gone out belong
//! to who carries them, and are counted here until their fate is known, so that no server ends before.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(all(feature = "handover", target_os = "linux"))]
use super::{AT_ONCE, Port};
use super::{Gate, Parked};
use crate::admit::Cause;
use crate::tick::Tick;

#[derive(Debug, Default)]
pub(super) struct Passage {
    way: Mutex<Way>,
    /// Out of the room, and not known to be somewhere else.
    abroad: AtomicUsize,
    /// A successor may still be given who waits, and some may come back.
    open: AtomicBool,
}

#[derive(Debug, Default)]
struct Way {
    arriving: Vec<Parked>,
    /// The ports of those who have gone out.
    out: Vec<usize>,
    /// The server has ended, and its account is closed: whoever was out is with the successor.
    #[cfg_attr(
        not(all(feature = "handover", target_os = "linux")),
        expect(dead_code, reason = "nobody comes without a handover")
    )]
    is_sealed: bool,
}

/// Whence a connection comes that was not accepted here, or not now.
#[cfg(all(feature = "handover", target_os = "linux"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// Accepted by a predecessor: it counts as accepted here.
    Predecessor,
    /// Counted already.
    Successor,
}

#[cfg(all(feature = "handover", target_os = "linux"))]
impl Gate {
    /// From now on who waits may be given away, and come back.
    pub(crate) fn open_passage(&self) {
        self.passage.open.store(true, Ordering::Release);
    }

    /// Nobody will be given away any more, nor come back.
    pub(crate) fn close_passage(&self) {
        self.passage.open.store(false, Ordering::Release);
        self.wake_acceptor();
    }

    /// Takes up to `most` out of the room, the oldest of each lane first. A lane with a listener that does
    /// not go along keeps those who wait there.
    pub(crate) fn export(&self, most: usize, goes: impl Fn(&Port) -> bool) -> Vec<Parked> {
        let now = Tick::now();
        let mut exported = Vec::new();
        for lane in 0..self.lanes {
            if self.ports.iter().any(|port| port.lane == lane && !goes(port)) {
                continue;
            }
            let before = exported.len();
            let room = most.min(AT_ONCE) - before;
            let (mut state, inside) = self.lock(lane);
            exported.extend(std::iter::from_fn(|| state.room.turn_away(inside, now)).take(room));
            // Under the lock: nobody is to find the room empty, and nobody abroad.
            let went: &[Parked] = exported.get(before..).unwrap_or_default();
            self.passage.abroad.fetch_add(went.len(), Ordering::AcqRel);
            self.passage.lock().out.extend(went.iter().map(|parked| parked.port));
        }
        for parked in &exported {
            // Most are not in the set.
            let _unwatched = self.poller.unwatch_peer(&parked.stream);
        }
        exported
    }

    /// The successor has these; our descriptors of them are closed.
    pub(crate) fn passed_on(&self, parked: Vec<Parked>) {
        let gone = parked.len();
        if self.passage.lock().come_in(&parked) {
            for port in parked.iter().filter_map(|parked| self.ports.get(parked.port)) {
                port.ledger.handed_over();
            }
            self.passage.abroad.fetch_sub(gone, Ordering::AcqRel);
        }
        drop(parked);
        self.wake_acceptor();
    }

    /// These come in with the acceptor's next turn, which gives them their numbers.
    pub(crate) fn send_in(&self, parked: Vec<Parked>, from: From) {
        let mut way = self.passage.lock();
        if way.is_sealed {
            // The server has ended: they are closed.
            return;
        }
        match from {
            From::Successor => {
                let _it_is_open = way.come_in(&parked);
            }
            From::Predecessor => {
                self.passage.abroad.fetch_add(parked.len(), Ordering::AcqRel);
                for port in parked.iter().filter_map(|parked| self.ports.get(parked.port)) {
                    port.ledger.accepted(1);
                }
            }
        }
        way.arriving.extend(parked);
        drop(way);
        self.wake_acceptor();
    }
}

impl Way {
    /// These are not out any more. Says whether that still counts.
    #[cfg(all(feature = "handover", target_os = "linux"))]
    fn come_in(&mut self, parked: &[Parked]) -> bool {
        for parked in parked {
            if let Some(place) = self.out.iter().position(|&port| port == parked.port) {
                self.out.swap_remove(place);
            }
        }
        !self.is_sealed
    }
}

impl Passage {
    fn lock(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    pub(crate) fn is_passage_open(&self) -> bool {
        self.passage.open.load(Ordering::Acquire)
    }

    /// Who has come; they count as abroad until [`Gate::let_in`].
    pub(crate) fn arrivals(&self) -> Vec<Parked> {
        if self.is_nobody_abroad() {
            return Vec::new();
        }
        std::mem::take(&mut self.passage.lock().arriving)
    }

    /// The server ends: who has come and is not in the room is refused, and who is out is the successor's,
    /// whatever it says later.
    pub(crate) fn seal_passage(&self, now: Tick) {
        let way = std::mem::replace(&mut *self.passage.lock(), Way { is_sealed: true, ..Way::default() });
        self.passage.abroad.store(0, Ordering::Release);
        for port in way.out.iter().filter_map(|&port| self.ports.get(port)) {
            port.ledger.handed_over();
        }
        for parked in way.arriving {
            self.refuse(parked, Cause::Closed, now);
        }
    }

    /// So many of those who came are in the room, or have ended.
    pub(crate) fn let_in(&self, connections: usize) {
        self.passage.abroad.fetch_sub(connections, Ordering::AcqRel);
    }

    pub(crate) fn is_nobody_abroad(&self) -> bool {
        self.passage.abroad.load(Ordering::Acquire) == 0
    }
}
