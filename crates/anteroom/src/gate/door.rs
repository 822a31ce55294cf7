//! One lane's exit: who takes there, what it sleeps on, and when it has to be woken.
//!
//! Owns the taker's waker. Never takes anybody itself.

use std::task::Waker;

use crate::tick::Tick;

/// What somebody who asked for a connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doorstep {
    Someone,
    /// Nobody is left and nobody will come.
    End,
}

/// What a taker sleeps on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asleep {
    /// Nobody waits.
    Arrival,
    /// Somebody waits, and every place is taken.
    Place,
    /// Somebody waits, and the service is not ready.
    Service,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Traffic {
    #[default]
    Open,
    /// No more arrivals.
    Closed,
    /// No taker any more.
    Abandoned,
}

#[derive(Debug, Default)]
pub(super) struct Door {
    taker: Option<(Waker, Asleep)>,
    /// The taker is awake, whoever woke it: its waker is kept for the next time.
    is_awake: bool,
    traffic: Traffic,
    /// The service has said that it may be ready; kept until a taker hears it.
    rung: bool,
    /// The taker comes when it is woken, as soon as the runtime lets it: how long it takes tells of the
    /// runtime. The taker of an `Incoming` may have other things to do.
    is_prompt: bool,
    /// When it was woken, if it has not come yet.
    summoned: Option<Tick>,
    /// How often it has asked for somebody.
    asks: u64,
}

impl Door {
    /// The taker asks for somebody.
    pub(super) fn ask(&mut self) {
        self.asks += 1;
        self.is_awake = true;
    }

    pub(super) fn asks(&self) -> u64 {
        self.asks
    }

    pub(super) fn sleep(&mut self, taker: &Waker, on: Asleep) {
        self.is_awake = false;
        match &mut self.taker {
            Some((known, asleep)) => {
                known.clone_from(taker);
                *asleep = on;
            }
            none => *none = Some((taker.clone(), on)),
        }
    }

    /// The waker of the taker, if that is what it sleeps on: it is summoned.
    pub(super) fn wake_from(&mut self, on: Asleep) -> Option<Waker> {
        if !self.sleeps_on(on) {
            return None;
        }
        let (waker, _) = self.taker.take()?;
        self.summoned = self.is_prompt.then(Tick::now);
        Some(waker)
    }

    /// The taker comes, and always comes when it is woken. When it was, if it was.
    pub(super) fn comes_promptly(&mut self) -> Option<Tick> {
        self.is_prompt = true;
        self.summoned.take()
    }

    /// When the taker was woken, if it has not come yet.
    pub(super) fn summoned(&self) -> Option<Tick> {
        self.summoned
    }

    /// What the taker sleeps on. `None`: it is awake, or there is none.
    pub(super) fn asleep(&self) -> Option<Asleep> {
        self.taker.as_ref().filter(|_| !self.is_awake).map(|(_, asleep)| *asleep)
    }

    pub(super) fn sleeps_on(&self, on: Asleep) -> bool {
        self.asleep() == Some(on)
    }

    /// Somebody has come for whom there is no place: a taker that slept until somebody came sleeps
    /// from now on until a place is free.
    pub(super) fn wait_for_place(&mut self) {
        if let (false, Some((_, asleep @ Asleep::Arrival))) = (self.is_awake, &mut self.taker) {
            *asleep = Asleep::Place;
        }
    }

    pub(super) fn ring(&mut self) {
        self.rung = true;
    }

    /// The waker of a taker that sleeps on its service, if the service has rung.
    pub(super) fn answer(&mut self) -> Option<Waker> {
        if self.rung && self.sleeps_on(Asleep::Service) {
            self.rung = false;
            return self.wake_from(Asleep::Service);
        }
        None
    }

    /// Whether the service has rung while its taker was awake.
    pub(super) fn was_rung(&mut self) -> bool {
        std::mem::take(&mut self.rung)
    }

    /// No more arrivals: whatever the taker sleeps on, it has to see that.
    pub(super) fn close(&mut self) -> Option<Waker> {
        if self.traffic == Traffic::Open {
            self.traffic = Traffic::Closed;
        }
        self.taker.take().map(|(waker, _)| waker)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.traffic != Traffic::Open
    }

    /// Nobody is to take here any more: a taker that sleeps has to see that.
    pub(super) fn abandon(&mut self) -> Option<Waker> {
        self.traffic = Traffic::Abandoned;
        self.summoned = None;
        self.taker.take().map(|(waker, _)| waker)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.traffic == Traffic::Abandoned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_asks_is_awake_whoever_woke_it() {
        let mut door = Door::default();
        door.sleep(Waker::noop(), Asleep::Arrival);
        assert!(door.sleeps_on(Asleep::Arrival));
        // The runtime's driver has woken it.
        door.ask();
        assert_eq!((door.asleep(), door.wake_from(Asleep::Arrival).is_some()), (None, false));
        door.sleep(Waker::noop(), Asleep::Service);
        door.wait_for_place();
        door.ring();
        assert!(door.answer().is_some() && door.asleep().is_none());
    }

    #[test]
    fn one_that_runs_is_told_the_end_all_the_same() {
        let mut door = Door::default();
        door.sleep(Waker::noop(), Asleep::Arrival);
        door.ask();
        assert!(door.close().is_some() && door.is_closed());
    }
}
