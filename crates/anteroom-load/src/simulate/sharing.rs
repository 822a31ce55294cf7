//! No limit: whoever comes is worked for at once, and all share the processors.
//!
//! Owns: how far each is. As many as there are places run at full speed; more of them share that.
//! Never: notices who has left.
//!
//! Everybody runs equally fast at every moment, so that one number, the work that each has had since the
//! start, tells of all of them; a client is done when that has grown by what it needs.

use super::{
    policy::Server,
    scenario::Scenario,
    world::{Event, Id, World},
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

#[derive(Debug)]
pub(super) struct Sharing {
    /// By the work that each must have had, in nanoseconds.
    running: BinaryHeap<Reverse<(u64, Id)>>,
    /// Who came in a stall: nobody accepts then.
    kernel: VecDeque<Id>,
    /// What each has had since the start, in nanoseconds, and until when that is true.
    had: f64,
    at: Duration,
    /// The next wake that was planned, of which there is one for every change.
    next: Option<Duration>,
    places: f64,
    takes: u64,
    backlog: usize,
}

impl Sharing {
    pub(super) fn new(scenario: &Scenario) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "some places")]
        let places = scenario.places as f64;
        Self {
            running: BinaryHeap::new(),
            kernel: VecDeque::new(),
            had: 0.0,
            at: Duration::ZERO,
            next: None,
            places,
            takes: u64::try_from(scenario.takes.as_nanos()).unwrap_or(u64::MAX),
            backlog: scenario.backlog,
        }
    }

    /// Nanoseconds of work per nanosecond, for each.
    fn speed(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "some millions")]
        let running = self.running.len() as f64;
        (self.places / running).min(1.0)
    }

    /// Time goes on to now.
    fn go_on(&mut self, world: &World<'_>) {
        let mut elapsed = world.now.saturating_sub(self.at);
        if let Some((from, until)) = world.scenario.stall {
            let stalled = world.now.min(until).saturating_sub(self.at.max(from));
            elapsed = elapsed.saturating_sub(stalled);
        }
        if !self.running.is_empty() {
            #[expect(clippy::cast_precision_loss, reason = "minutes in nanoseconds")]
            let elapsed = elapsed.as_nanos() as f64;
            self.had += elapsed * self.speed();
        }
        self.at = world.now;
    }

    fn accept(&mut self, id: Id, world: &mut World<'_>) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "minutes in nanoseconds")]
        let had = self.had as u64;
        world.begin(id);
        self.running.push(Reverse((had + self.takes, id)));
    }

    /// Ends who has had enough, and plans for the next one.
    fn settle(&mut self, world: &mut World<'_>) {
        let left = |sharing: &Self| {
            #[expect(clippy::cast_precision_loss, reason = "minutes in nanoseconds")]
            sharing.running.peek().map(|Reverse((enough, _))| *enough as f64 - sharing.had)
        };
        // Half a nanosecond is what rounding may cost.
        while let (Some(Reverse((_, id))), true) =
            (self.running.peek().copied(), left(self).is_some_and(|left| left < 0.5))
        {
            self.running.pop();
            world.done(id);
        }
        let next = left(self)
            .filter(|_| !world.is_stalled())
            .map(|left| world.now + Duration::from_secs_f64((left / self.speed()).ceil().max(1.0) / 1e9));
        if next != self.next {
            self.next = next;
            next.into_iter().for_each(|next| world.plan(next, Event::Wake));
        }
    }
}

impl Server for Sharing {
    fn comes(&mut self, id: Id, world: &mut World<'_>) {
        if world.is_stalled() {
            if self.kernel.len() >= self.backlog {
                return world.drop_handshake(id);
            }
            return self.kernel.push_back(id);
        }
        self.go_on(world);
        self.accept(id, world);
        self.settle(world);
    }

    fn wake(&mut self, world: &mut World<'_>) {
        self.go_on(world);
        if !world.is_stalled() {
            while let Some(id) = self.kernel.pop_front() {
                self.accept(id, world);
            }
        }
        self.settle(world);
    }
}
