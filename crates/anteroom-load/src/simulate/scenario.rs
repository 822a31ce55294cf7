//! A service, and what comes to it.
//!
//! Owns: the numbers of a run.
//! Never: who is served.

use super::{arrivals::Crowd, outcome::Outcome, policy::Policy, world::World};
use anteroom::ConfigError;
use std::time::Duration;

/// A service, and what comes to it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Clients that are served at a time.
    pub places: usize,
    /// For how long each.
    pub takes: Duration,
    /// From when to when every handler is blocked: nobody's service begins or ends.
    pub stall: Option<(Duration, Duration)>,
    /// Finished handshakes that the kernel holds, where nobody accepts them.
    pub backlog: usize,
    /// Who comes.
    pub crowds: Vec<Crowd>,
    /// Nobody comes later.
    pub length: Duration,
    /// From when to when clients come who are counted. At the end of all, who has been left behind is served
    /// after all, and late: that tells nothing of overload.
    pub measured: (Duration, Duration),
    /// The width of the slots, if there are to be any.
    pub slot: Option<Duration>,
}

impl Scenario {
    /// 50 places for 50 ms each: a thousand clients per second.
    #[must_use]
    pub fn new(crowds: Vec<Crowd>, length: Duration) -> Self {
        Self {
            places: 50,
            takes: Duration::from_millis(50),
            stall: None,
            backlog: 4096,
            crowds,
            length,
            measured: (Duration::ZERO, length),
            slot: None,
        }
    }

    /// Clients per second that the service can do.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "some places")]
        let places = self.places as f64;
        places / self.takes.as_secs_f64()
    }

    /// Clients of an outcome who were answered, per second.
    #[must_use]
    pub fn goodput(&self, outcome: &Outcome) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 clients")]
        let answered = outcome.answered as f64;
        answered / self.measured.1.saturating_sub(self.measured.0).as_secs_f64()
    }

    /// Runs it; what became of each crowd. The same again from the same seed.
    ///
    /// # Errors
    /// The settings of the policy cannot be meant.
    pub fn run(&self, policy: &Policy, seed: u64) -> Result<Vec<Outcome>, ConfigError> {
        let mut server = policy.server(self, seed)?;
        let mut world = World::new(self, seed);
        while let Some(event) = world.step() {
            server.handle(event, &mut world);
        }
        let mut outcomes = world.outcomes;
        for outcome in &mut outcomes {
            outcome.took.sort_unstable();
        }
        Ok(outcomes)
    }
}
