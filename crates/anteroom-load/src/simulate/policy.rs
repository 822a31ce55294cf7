//! Who is served next: the rules that are compared.
//!
//! Owns: their names, and what they have in common.
//! Never: a rule.

use super::{
    queue::{End, Queue},
    room::Room,
    scenario::Scenario,
    sharing::Sharing,
    world::{Event, Id, World},
};
use anteroom::{Config, ConfigError};

/// A rule by which clients are served.
#[derive(Clone, Debug)]
pub enum Policy {
    /// Anteroom with these settings, of which `max_connections` is overridden by the places.
    Anteroom(Box<Config>),
    /// A loop that takes whoever has waited longest from the kernel's queue, also the dead.
    Fifo,
    /// The same, newest first.
    Lifo,
    /// A loop that accepts whoever comes and works for all of them at once; they share the processors.
    NoLimit,
}

impl Policy {
    pub(super) fn server(&self, scenario: &Scenario, seed: u64) -> Result<Box<dyn Server>, ConfigError> {
        Ok(match self {
            Self::Anteroom(config) => Box::new(Room::new(config, scenario, seed)?),
            Self::Fifo => Box::new(Queue::new(End::Oldest, scenario)),
            Self::Lifo => Box::new(Queue::new(End::Newest, scenario)),
            Self::NoLimit => Box::new(Sharing::new(scenario)),
        })
    }
}

/// One that serves.
pub(super) trait Server {
    /// A client's handshake has come.
    fn comes(&mut self, id: Id, world: &mut World<'_>);

    /// A waiting client has left.
    fn left(&mut self, _id: Id, _world: &mut World<'_>) {}

    /// The service of one that it has begun with has ended.
    fn done(&mut self, _id: Id, _world: &mut World<'_>) {}

    /// What it wanted to be woken for, or the end of a stall.
    fn wake(&mut self, world: &mut World<'_>);

    fn handle(&mut self, event: Event, world: &mut World<'_>) {
        match event {
            Event::Comes(crowd) => {
                if let Some(id) = world.arrives(crowd) {
                    self.comes(id, world);
                }
            }
            Event::TriesAgain(id) => {
                if world.is_waiting(id) {
                    self.comes(id, world);
                }
            }
            Event::Leaves(id) => {
                if world.leaves(id) {
                    self.left(id, world);
                }
            }
            Event::Done(id) => {
                world.done(id);
                self.done(id, world);
            }
            Event::Wake | Event::Released => self.wake(world),
            Event::Slot => world.sample(),
        }
    }
}
