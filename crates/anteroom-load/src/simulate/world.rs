//! Virtual time, and the clients in it.
//!
//! Owns: the order of events, what each client does, and the counting of how it ended.
//! Never: decides who is served.

use super::{
    arrivals::{Coming, Newcomer, Wants},
    outcome::{Outcome, Slot},
    scenario::Scenario,
};
use crate::client::Leaving;
use anteroom::simulate::Peer;
use std::{cmp::Reverse, collections::BinaryHeap, net::IpAddr, time::Duration};

/// A client, by its position among all who came.
pub(super) type Id = u32;

/// What happens. At the same moment the earlier planned is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// The next of a crowd comes.
    Comes(usize),
    /// A client whose handshake the kernel dropped tries again.
    TriesAgain(Id),
    /// A client's patience ends.
    Leaves(Id),
    /// A client's service ends.
    Done(Id),
    /// The server wanted to be woken.
    Wake,
    /// Handlers work again.
    Released,
    /// A slot ends.
    Slot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waits,
    IsServed,
    Ended,
}

#[derive(Clone, Copy, Debug)]
struct Client {
    came: Duration,
    leaves: Duration,
    from: IpAddr,
    crowd: u8,
    leaving: Leaving,
    state: State,
    /// How often the kernel has dropped its handshake.
    dropped: u8,
}

/// A SYN is sent again after 1 s, 2 s, 4 s and so on (RFC 6298, section 2; tcp(7), `tcp_syn_retries` is 6).
const SYN_RETRIES: u8 = 6;

#[derive(Debug)]
pub(super) struct World<'a> {
    pub(super) now: Duration,
    pub(super) scenario: &'a Scenario,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    planned: u64,
    coming: Vec<Coming>,
    next: Vec<Option<Newcomer>>,
    clients: Vec<Client>,
    /// Clients who have come and have not ended.
    here: u64,
    open: Vec<u64>,
    pub(super) outcomes: Vec<Outcome>,
}

impl<'a> World<'a> {
    pub(super) fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let crowds = scenario.crowds.iter().zip(10_u8..);
        let coming: Vec<_> = crowds.map(|(crowd, network)| Coming::new(crowd, network, seed)).collect();
        let mut world = Self {
            now: Duration::ZERO,
            scenario,
            events: BinaryHeap::new(),
            planned: 0,
            next: vec![None; coming.len()],
            open: vec![0; coming.len()],
            outcomes: vec![Outcome::default(); coming.len()],
            coming,
            clients: Vec::new(),
            here: 0,
        };
        for crowd in 0..world.coming.len() {
            world.plan_next_of(crowd);
        }
        if let Some((_, released)) = scenario.stall {
            world.plan(released, Event::Released);
        }
        if let Some(slot) = scenario.slot {
            world.plan(slot, Event::Slot);
        }
        world
    }

    pub(super) fn plan(&mut self, at: Duration, event: Event) {
        self.planned += 1;
        self.events.push(Reverse((at, self.planned, event)));
    }

    /// The next event; time goes on to it. `None`: everybody has come, and everybody has ended.
    pub(super) fn step(&mut self) -> Option<Event> {
        if self.here == 0 && self.next.iter().all(Option::is_none) {
            return None;
        }
        let Reverse((at, _, event)) = self.events.pop()?;
        self.now = at;
        Some(event)
    }

    /// The one of a crowd whose moment it is.
    pub(super) fn arrives(&mut self, crowd: usize) -> Option<Id> {
        let newcomer = self.next.get_mut(crowd)?.take()?;
        self.plan_next_of(crowd);
        let id = Id::try_from(self.clients.len()).ok()?;
        let leaves = self.now + newcomer.patience;
        self.clients.push(Client {
            came: self.now,
            leaves,
            from: newcomer.from,
            crowd: u8::try_from(crowd).ok()?,
            leaving: newcomer.leaving,
            state: State::Waits,
            dropped: 0,
        });
        self.here += 1;
        self.plan(leaves, Event::Leaves(id));
        if self.is_measured(self.now) {
            self.count(id, |outcome| outcome.came += 1);
        }
        self.count_slot(id, |slot| slot.came += 1);
        Some(id)
    }

    /// Its patience is over. Whether that is news to the server.
    pub(super) fn leaves(&mut self, id: Id) -> bool {
        let Some(client) = self.clients.get(id as usize) else { return false };
        let keeps = client.state == State::IsServed && self.wants(id) == Wants::Place;
        if client.state == State::Ended || keeps {
            return false;
        }
        self.end(id, |outcome| outcome.gave_up += 1);
        true
    }

    /// What the server sees of a client's socket.
    pub(super) fn peer(&self, id: Id) -> Peer {
        let Some(client) = self.clients.get(id as usize) else { return Peer::Reset };
        match (client.leaving, self.has_left(id)) {
            (Leaving::Silent | Leaving::Reset, false) => Peer::Silent,
            (Leaving::Silent, true) => Peer::Closed,
            (Leaving::Reset, true) => Peer::Reset,
            (Leaving::SendAndClose, false) => Peer::Spoke,
            (Leaving::SendAndClose, true) | (Leaving::SendAndHalfClose, _) => Peer::SpokeAndClosed,
        }
    }

    pub(super) fn from(&self, id: Id) -> Option<IpAddr> {
        self.clients.get(id as usize).map(|client| client.from)
    }

    pub(super) fn has_left(&self, id: Id) -> bool {
        self.clients.get(id as usize).is_none_or(|client| client.leaves <= self.now)
    }

    /// The kernel's queue is full: the client tries again later.
    pub(super) fn drop_handshake(&mut self, id: Id) {
        let Some(client) = self.clients.get_mut(id as usize) else { return };
        let pause = Duration::from_secs(1 << client.dropped);
        client.dropped += 1;
        let again = self.now + pause;
        if client.dropped <= SYN_RETRIES && again < client.leaves {
            self.plan(again, Event::TriesAgain(id));
        }
    }

    pub(super) fn is_waiting(&self, id: Id) -> bool {
        self.clients.get(id as usize).is_some_and(|client| client.state == State::Waits)
    }

    /// The client hears that it is refused, if it is still there.
    pub(super) fn refuse(&mut self, id: Id, cause: &'static str) {
        if self.is_waiting(id) {
            self.end(id, |outcome| *outcome.refused.entry(cause).or_default() += 1);
        }
    }

    /// A client's service begins; a client who has left is served all the same.
    pub(super) fn begin(&mut self, id: Id) {
        let Some(client) = self.clients.get_mut(id as usize) else { return };
        if client.state == State::Waits {
            client.state = State::IsServed;
        }
        if let Some(open) = self.open.get_mut(usize::from(client.crowd)) {
            *open += 1;
        }
    }

    /// When a service that begins now in a place of its own ends.
    pub(super) fn ends(&self, id: Id) -> Duration {
        let leaves = self.clients.get(id as usize).map_or(self.now, |client| client.leaves);
        let end = match self.wants(id) {
            Wants::Answer => self.now + self.scenario.takes,
            Wants::Place => self.now.max(leaves),
        };
        match self.scenario.stall {
            Some((from, until)) if (from..until).contains(&end) => until,
            _ => end,
        }
    }

    /// A client's service has ended; it has its answer, if it is still there.
    pub(super) fn done(&mut self, id: Id) {
        let Some(client) = self.clients.get(id as usize) else { return };
        let (crowd, took) = (usize::from(client.crowd), self.now.saturating_sub(client.came));
        let (state, came) = (client.state, client.came);
        if let Some(open) = self.open.get_mut(crowd) {
            *open = open.saturating_sub(1);
        }
        let in_time = self.is_measured(self.now) && self.wants(id) == Wants::Answer;
        if let Some(outcome) = self.outcomes.get_mut(crowd).filter(|_| in_time) {
            outcome.services += 1;
            outcome.wasted += u64::from(state == State::Ended);
        }
        if state == State::Ended {
            return;
        }
        self.count_slot_at(crowd, came, |slot| slot.answered += 1);
        self.end(id, |outcome| {
            outcome.answered += 1;
            outcome.took.push(took);
        });
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.scenario.stall.is_some_and(|(from, until)| (from..until).contains(&self.now))
    }

    /// A slot ends.
    pub(super) fn sample(&mut self) {
        let Some(width) = self.scenario.slot else { return };
        let begin = self.now.saturating_sub(width);
        for crowd in 0..self.open.len() {
            let open = self.open.get(crowd).copied().unwrap_or(0);
            self.count_slot_at(crowd, begin, |slot| slot.open = open);
        }
        if self.now < self.scenario.length {
            self.plan(self.now + width, Event::Slot);
        }
    }

    fn wants(&self, id: Id) -> Wants {
        let crowd = self.clients.get(id as usize).map(|client| usize::from(client.crowd));
        crowd.and_then(|crowd| self.scenario.crowds.get(crowd)).map_or(Wants::Answer, |crowd| crowd.wants)
    }

    fn plan_next_of(&mut self, crowd: usize) {
        let newcomer = self.coming.get_mut(crowd).and_then(Iterator::next);
        if let Some(newcomer) = newcomer {
            self.plan(newcomer.at, Event::Comes(crowd));
        }
        if let Some(next) = self.next.get_mut(crowd) {
            *next = newcomer;
        }
    }

    fn is_measured(&self, moment: Duration) -> bool {
        let (from, until) = self.scenario.measured;
        (from..until).contains(&moment)
    }

    fn end(&mut self, id: Id, count: impl FnOnce(&mut Outcome)) {
        let Some(client) = self.clients.get_mut(id as usize) else { return };
        client.state = State::Ended;
        self.here -= 1;
        let came = client.came;
        if self.is_measured(came) {
            self.count(id, count);
        }
    }

    fn count(&mut self, id: Id, count: impl FnOnce(&mut Outcome)) {
        let crowd = self.clients.get(id as usize).map(|client| usize::from(client.crowd));
        if let Some(outcome) = crowd.and_then(|crowd| self.outcomes.get_mut(crowd)) {
            count(outcome);
        }
    }

    fn count_slot(&mut self, id: Id, count: impl FnOnce(&mut Slot)) {
        if let Some(&Client { crowd, came, .. }) = self.clients.get(id as usize) {
            self.count_slot_at(usize::from(crowd), came, count);
        }
    }

    fn count_slot_at(&mut self, crowd: usize, at: Duration, count: impl FnOnce(&mut Slot)) {
        let Some(width) = self.scenario.slot else { return };
        let number = usize::try_from(at.as_nanos() / width.as_nanos().max(1)).unwrap_or(usize::MAX);
        let Some(outcome) = self.outcomes.get_mut(crowd) else { return };
        // Nobody comes after the end.
        if at <= self.scenario.length && outcome.slots.len() <= number {
            outcome.slots.resize(number + 1, Slot::default());
        }
        if let Some(slot) = outcome.slots.get_mut(number) {
            count(slot);
        }
    }
}
