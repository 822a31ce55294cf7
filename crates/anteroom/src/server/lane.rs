//! Listeners that share a lane of the waiting room, and what that lane has of its own.

use std::ops::Range;

use anteroom_listener::{Listener, Listeners};

use crate::admit::LaneRules;

/// Listeners that share one lane of the waiting room, with what the lane has of its own: an admin
/// listener, for example, that is to be reached while the public one is flooded.
///
/// Each lane has its own places already; what all share is the descriptors. A listener, or a list of
/// them, is a lane by itself. What a lane has of its own holds from the start to the end: it is not
/// among the settings that [`Handle::reconfigure`](crate::Handle::reconfigure) changes.
///
/// # Examples
/// ```
/// use anteroom::{Connection, Lane, Listener, Server, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let serve = |_: Connection| async { Ok::<_, std::io::Error>(()) };
/// let server = Server::builder()
///     .max_connections(10_000)
///     .serve(Listener::bind("127.0.0.1:0")?, service_fn(serve))
///     .serve(Lane::new(Listener::bind("127.0.0.1:0")?).max_connections(16).set_aside(16), service_fn(serve))
///     .start()?;
/// # drop(server);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Lane {
    pub(super) listeners: Listeners,
    pub(super) rules: LaneRules,
    /// So many shards are served like this one, it among them, and so many of those come before it.
    pub(super) kin: Kin,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Kin {
    pub(super) before: usize,
    pub(super) all: usize,
}

impl Kin {
    /// The lanes of its kind, when it is `lane` itself.
    pub(super) fn lanes(self, lane: usize) -> Range<usize> {
        let first = lane - self.before;
        first..first + self.all
    }
}

impl Lane {
    /// A lane of these listeners.
    pub fn new(listeners: impl Into<Listeners>) -> Self {
        Self { listeners: listeners.into(), rules: LaneRules::default(), kin: Kin { before: 0, all: 1 } }
    }

    /// Its own [`Config::max_connections`](crate::Config::max_connections).
    #[must_use]
    pub fn max_connections(mut self, places: usize) -> Self {
        self.rules.max_connections = Some(places);
        self
    }

    /// Its own [`Config::max_waiting`](crate::Config::max_waiting).
    #[must_use]
    pub fn max_waiting(mut self, connections: usize) -> Self {
        self.rules.max_waiting = Some(connections);
        self
    }

    /// So many sockets of [`Config::descriptors`](crate::Config::descriptors) that no other lane takes
    /// (default: with several lanes 16 each, or what an eighth of all comes to if that is less).
    #[must_use]
    pub fn set_aside(mut self, sockets: usize) -> Self {
        self.rules.set_aside = Some(sockets);
        self
    }
}

impl From<Listeners> for Lane {
    fn from(listeners: Listeners) -> Self {
        Self::new(listeners)
    }
}

impl From<Listener> for Lane {
    fn from(listener: Listener) -> Self {
        Self::new(listener)
    }
}

impl From<Vec<Listener>> for Lane {
    fn from(listeners: Vec<Listener>) -> Self {
        Self::new(listeners)
    }
}

impl<const N: usize> From<[Listener; N]> for Lane {
    fn from(listeners: [Listener; N]) -> Self {
        Self::new(listeners)
    }
}
