//! Whether somebody was rightly taken, or ended.

use super::*;

impl Model {
    /// Somebody is taken, if that may be.
    pub(in super::super) fn take(&mut self, lane: usize) -> Option<u32> {
        let could = self.room.can_take(lane, self.now);
        let rate = self.room.rate_allows(lane);
        let has_place = self.free_places(lane).is_none_or(|free| free > 0);
        let taken = match self.room.take(lane, self.now) {
            Take::Ready { item, place, is_watched } => {
                assert!(could && has_place, "a place was passed");
                let guest = self.in_turn(lane, item);
                assert_eq!(self.is_due(&guest), [], "handed out past its time");
                assert_eq!(guest.is_watched, is_watched);
                assert!(self.may_open(lane, guest.source), "a source took another of the open places");
                self.end(item);
                self.served += 1;
                self.open.push(Open { lane, source: guest.source, place });
                self.taken[lane].push(self.now);
                let within = |rate| is_within(rate, &self.taken[lane]);
                assert!(self.config.accept_rate.is_none_or(within), "faster than the rate");
                Some(item)
            }
            Take::Late(item, cause) => {
                assert!(could && has_place);
                let guest = self.in_turn(lane, item);
                assert!(self.is_due(&guest).contains(&cause), "{cause} before its time");
                self.end(item);
                None
            }
            Take::Empty => {
                assert_eq!((could, self.waiting_in(lane)), (false, 0));
                None
            }
            Take::NoPlace => {
                assert!(self.waiting_in(lane) > 0);
                let may = |guest: &Guest| {
                    guest.lane == lane && !guest.is_silent && self.may_open(lane, guest.source)
                };
                let too_fast = rate.is_some_and(|at| at > self.now);
                assert!(!has_place || too_fast || !self.guests.iter().any(may), "somebody was kept");
                // Who has no share of the places is found so by asking, once.
                assert!(!self.room.can_take(lane, self.now));
                None
            }
        };
        self.compare();
        taken
    }

    /// The one under that name, who must not have gone before another whose turn it was.
    fn in_turn(&self, lane: usize, item: u32) -> Guest {
        let waiting: Vec<_> = self.guests.iter().filter(|g| g.lane == lane && !g.is_silent).collect();
        let at = waiting.iter().position(|guest| guest.item == item).expect("the dead are not handed out");
        let guest = *waiting[at];
        let newest_first = self.is_newest_first(lane);
        if !self.ever_shared {
            let turn = if newest_first { waiting.last() } else { waiting.first() };
            assert_eq!(turn.map(|guest| guest.item), Some(item), "it was the turn of another");
        }
        let overtaken = &waiting[..at];
        if !newest_first && !self.ever_aged {
            let longer = |other: &&&Guest| other.source.is_none() && other.since < guest.since;
            assert!(!overtaken.iter().any(|other| longer(&other)), "who is held to no share was overtaken");
        }
        guest
    }

    pub(in super::super) fn release(&mut self, nth: usize) {
        if self.open.is_empty() {
            return;
        }
        let open = self.open.remove(nth % self.open.len());
        self.room.release(open.place, || self.now);
        self.compare();
    }

    /// One of those that are open in a lane ends.
    pub(in super::super) fn release_in(&mut self, lane: usize, nth: usize) {
        self.release_any(nth, |open| open.lane == lane);
    }

    /// One of a source that is open in a lane ends.
    pub(in super::super) fn release_of(&mut self, lane: usize, from: IpAddr) {
        let source = Source::of(Some(from), &self.room.rules.share);
        self.release_any(0, |open| (open.lane, open.source) == (lane, source));
    }

    fn release_any(&mut self, nth: usize, is_meant: impl Fn(&Open) -> bool) {
        let meant: Vec<_> = (0..self.open.len()).filter(|&at| is_meant(&self.open[at])).collect();
        if let Some(&at) = nth.checked_rem(meant.len()).and_then(|nth| meant.get(nth)) {
            self.release(at);
        }
    }

    fn nth(&self, nth: usize) -> Option<(u32, Token)> {
        let guest = self.guests.get(nth.checked_rem(self.guests.len())?)?;
        let found = self.room.entries.iter().find(|(_, entry)| entry.item == guest.item);
        Some((guest.item, found.expect("it is in the room").0))
    }

    pub(in super::super) fn leave(&mut self, nth: usize) {
        let Some((item, token)) = self.nth(nth) else { return };
        assert_eq!(self.room.leave(token, self.now), Some(item));
        assert_eq!(self.room.leave(token, self.now), None);
        self.end(item);
        self.compare();
    }

    pub(in super::super) fn lose_patience(&mut self, nth: usize, patience: Duration) {
        let Some((item, token)) = self.nth(nth) else { return };
        self.room.lose_patience(token, patience);
        let guest = self.guests.iter_mut().find(|guest| guest.item == item);
        guest.expect("it is there").patience = Some(patience);
        self.compare();
    }

    pub(in super::super) fn speak(&mut self, nth: usize) {
        let Some((item, token)) = self.nth(nth) else { return };
        let at = self.guests.iter().position(|guest| guest.item == item).expect("it is there");
        let guest = self.guests[at];
        let is_full = self.waiting_in(guest.lane) >= self.waiting_limit(guest.lane);
        let refused = self.room.speak(token, self.now);
        if !guest.is_silent {
            assert_eq!(refused, None);
            return self.compare();
        }
        self.guests.remove(at);
        self.guests.push(Guest { is_silent: false, is_watched: false, since: self.now, ..guest });
        if let Some((out, Cause::Early)) = refused {
            assert!(out == item && self.config.refuse_early.is_some());
            self.end(out);
            return self.compare();
        }
        assert_eq!(refused.is_some(), is_full && !self.is_back_pressure());
        if let Some((out, cause)) = refused {
            assert_eq!(cause, Cause::Full);
            assert!(out != item || self.waiting_in(guest.lane) == 1, "others waited longer");
            assert_eq!(self.end(out).lane, guest.lane);
        }
        self.compare();
    }

    pub(in super::super) fn turn_away(&mut self, lane: usize) {
        match self.room.turn_away(lane, self.now) {
            Some(item) => assert_eq!(self.end(item).lane, lane),
            None => assert_eq!(self.numbers(lane).held(), self.numbers(lane).open),
        }
        self.compare();
    }

    /// The silent stay, and those who stand back.
    pub(in super::super) fn move_out(&mut self, lane: usize) {
        let in_line = self.room.lanes[lane].waiting.len();
        match self.room.move_out(lane, self.now) {
            Some(item) => {
                let guest = self.end(item);
                assert!(guest.lane == lane && !guest.is_silent);
                assert_eq!(self.room.lanes[lane].waiting.len(), in_line - 1);
            }
            None => assert_eq!(in_line, 0),
        }
        self.compare();
    }

    /// Everybody accepted by then is given to be watched, once.
    pub(in super::super) fn watch(&mut self) {
        while let Some((_, &item)) = self.room.next_to_watch(self.now) {
            let guest = self.guests.iter_mut().find(|guest| guest.item == item).expect("it is there");
            assert!(!std::mem::replace(&mut guest.is_watched, true), "watched twice");
        }
        assert!(self.guests.iter().all(|guest| guest.is_watched), "somebody is not watched");
        self.compare();
    }

    /// Time passes, and nobody looks.
    pub(in super::super) fn sleep(&mut self, time: Duration) {
        self.now = self.now + time;
        self.compare();
    }

    /// Time passes, and the room is looked at whenever it has asked to be.
    pub(in super::super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.drain();
        while let Some(due) = self.room.next_due().filter(|&due| due <= until) {
            let before = before(due, Duration::from_nanos(1));
            if before > self.now {
                assert_eq!(self.room.overdue(before), None, "earlier than it said");
            }
            self.now = due;
            self.drain();
        }
        self.now = until;
        assert_eq!(self.room.overdue(until), None, "earlier than it said");
        self.drain();
        self.compare();
    }

    fn drain(&mut self) {
        while let Some((item, cause)) = self.room.overdue(self.now) {
            let guest = self.guests.iter().find(|guest| guest.item == item).expect("it is there");
            assert!(self.is_due(guest).contains(&cause), "{cause} before its time");
            self.end(item);
        }
        assert!(self.room.next_due().is_none_or(|due| due > self.now), "what is due was not given out");
        for guest in &self.guests {
            assert_eq!(self.is_due(guest), [], "{guest:?} waits past its time");
        }
    }
}
