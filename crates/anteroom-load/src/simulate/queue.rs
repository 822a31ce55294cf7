//! The loop that everybody writes: a place, then `accept`. Who cannot be served stays in the kernel's queue.
//!
//! Owns: the queue, bounded by the backlog.
//! Never: notices who has left.

use super::{
    policy::Server,
    scenario::Scenario,
    world::{Event, Id, World},
};
use std::collections::VecDeque;

/// At which end it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Oldest,
    Newest,
}

#[derive(Debug)]
pub(super) struct Queue {
    end: End,
    waiting: VecDeque<Id>,
    free: usize,
    backlog: usize,
}

impl Queue {
    pub(super) fn new(end: End, scenario: &Scenario) -> Self {
        Self { end, waiting: VecDeque::new(), free: scenario.places, backlog: scenario.backlog }
    }
}

impl Server for Queue {
    fn comes(&mut self, id: Id, world: &mut World<'_>) {
        if self.waiting.len() >= self.backlog {
            return world.drop_handshake(id);
        }
        self.waiting.push_back(id);
        self.wake(world);
    }

    fn done(&mut self, _id: Id, world: &mut World<'_>) {
        self.free += 1;
        self.wake(world);
    }

    fn wake(&mut self, world: &mut World<'_>) {
        while self.free > 0 && !world.is_stalled() {
            let next = match self.end {
                End::Oldest => self.waiting.pop_front(),
                End::Newest => self.waiting.pop_back(),
            };
            let Some(id) = next else { return };
            self.free -= 1;
            world.begin(id);
            world.plan(world.ends(id), Event::Done(id));
        }
    }
}
