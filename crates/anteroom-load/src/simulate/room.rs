//! Anteroom: the waiting room itself, in virtual time.
//!
//! Owns: being its acceptor and its service.
//! Never: a rule; the room is the one that a server runs.

use super::{
    policy::Server,
    scenario::Scenario,
    world::{Event, Id, World},
};
use anteroom::{
    Config, ConfigError,
    simulate::{self, Ended, Fate, Place, Taken, Tended, Ticket, Visitor},
};
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

const LANE: usize = 0;

#[derive(Debug)]
pub(super) struct Room {
    room: simulate::Room,
    /// Who was not accepted, because the room holds back.
    kernel: VecDeque<Id>,
    backlog: usize,
    watched: HashMap<u64, Ticket>,
    open: HashMap<Id, Place>,
    /// The next wake that was planned.
    next: Option<Duration>,
}

impl Room {
    pub(super) fn new(config: &Config, scenario: &Scenario, seed: u64) -> Result<Self, ConfigError> {
        let mut config = config.clone();
        config.max_connections = Some(scenario.places);
        Ok(Self {
            room: simulate::Room::new(&config, 1, seed)?,
            kernel: VecDeque::new(),
            backlog: scenario.backlog,
            watched: HashMap::new(),
            open: HashMap::new(),
            next: None,
        })
    }

    fn accept(&mut self, id: Id, world: &mut World<'_>) {
        let mut visitor = Visitor::new(id.into(), world.now).peer(world.peer(id));
        visitor.from = world.from(id);
        let arrived = self.room.arrive(visitor, world.now);
        match arrived.fate {
            Fate::Silent(ticket) => {
                self.watched.insert(id.into(), ticket);
            }
            Fate::Ended(how) => self.ended(id.into(), how, world),
            _ => {}
        }
        if let Some((other, cause)) = arrived.instead {
            self.ended(other, Ended::Refused(cause), world);
        }
    }

    fn ended(&mut self, id: u64, how: Ended, world: &mut World<'_>) {
        self.watched.remove(&id);
        if let (Ended::Refused(cause), Ok(id)) = (how, Id::try_from(id)) {
            world.refuse(id, cause.label());
        }
    }

    fn tend(&mut self, world: &mut World<'_>) {
        while let Some(tended) = self.room.tend(world.now) {
            match tended {
                Tended::Refused { id, cause } => self.ended(id, Ended::Refused(cause), world),
                Tended::Watched { id, ticket } => {
                    self.watched.insert(id, ticket);
                    if Id::try_from(id).is_ok_and(|id| world.has_left(id)) {
                        self.hang_up(id, world);
                    }
                }
                _ => {}
            }
        }
    }

    fn hang_up(&mut self, id: u64, world: &mut World<'_>) {
        let Ok(client) = Id::try_from(id) else { return };
        let Some(ticket) = self.watched.remove(&id) else { return };
        if let Some((id, how)) = self.room.hang_up(ticket, world.peer(client), world.now) {
            self.ended(id, how, world);
        }
    }

    fn take(&mut self, world: &mut World<'_>) {
        while !world.is_stalled() {
            let peer = |id| Id::try_from(id).map_or(simulate::Peer::Reset, |id| world.peer(id));
            match self.room.take(LANE, world.now, peer) {
                Taken::Served { id, place } => {
                    self.watched.remove(&id);
                    let Ok(id) = Id::try_from(id) else { continue };
                    self.open.insert(id, place);
                    world.begin(id);
                    world.plan(world.ends(id), Event::Done(id));
                }
                Taken::Ended { id, how } => self.ended(id, how, world),
                _ => break,
            }
        }
    }
}

impl Server for Room {
    fn comes(&mut self, id: Id, world: &mut World<'_>) {
        if self.kernel.len() >= self.backlog {
            return world.drop_handshake(id);
        }
        self.kernel.push_back(id);
        self.wake(world);
    }

    fn left(&mut self, id: Id, world: &mut World<'_>) {
        self.hang_up(id.into(), world);
        self.wake(world);
    }

    fn done(&mut self, id: Id, world: &mut World<'_>) {
        if let Some(place) = self.open.remove(&id) {
            self.room.release(place, world.now);
        }
        self.wake(world);
    }

    fn wake(&mut self, world: &mut World<'_>) {
        self.tend(world);
        loop {
            while self.room.vacancies(LANE) > 0 {
                let Some(id) = self.kernel.pop_front() else { break };
                self.accept(id, world);
            }
            self.take(world);
            if self.kernel.is_empty() || self.room.vacancies(LANE) == 0 {
                break;
            }
        }
        // What is due already needs a handler that works again, and that wakes as well.
        let due = self.room.next_due().filter(|due| *due > world.now);
        if let Some(due) = due.filter(|due| self.next.is_none_or(|next| *due < next || next <= world.now)) {
            self.next = Some(due);
            world.plan(due, Event::Wake);
        }
    }
}
