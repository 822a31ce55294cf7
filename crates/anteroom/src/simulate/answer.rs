//! What the room answers.

use crate::admit::{self, Cause, Death, Token};

/// How a connection that was not served has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ended {
    /// It was refused.
    Refused(Cause),
    /// It had left.
    Dead(Death),
}

/// Names a connection that somebody watches. Names nobody once it has left the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub(super) Token);

/// A place that is taken: to be given back with [`Room::release`](super::Room::release).
#[derive(Debug)]
#[must_use = "a place that is not given back stays taken"]
pub struct Place(pub(super) admit::Place);

/// What became of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arrived {
    /// What became of itself.
    pub fate: Fate,
    /// Who was refused for it.
    pub instead: Option<(u64, Cause)>,
}

/// What became of an arrival itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It waits for its service.
    Waits,
    /// It stays outside until it [speaks](super::Room::speak).
    Silent(Ticket),
    /// It was not let in.
    Ended(Ended),
}

/// The answer to somebody who can serve one more.
#[derive(Debug)]
#[non_exhaustive]
pub enum Taken {
    /// This one is served, in this place.
    Served {
        /// Who.
        id: u64,
        /// Where.
        place: Place,
    },
    /// This one's time was over, or it had left: ask again.
    Ended {
        /// Who.
        id: u64,
        /// How.
        how: Ended,
    },
    /// Nobody waits.
    Empty,
    /// Somebody waits, and no more may be served at the moment.
    NoPlace,
}

/// What time has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tended {
    /// This one was refused.
    Refused {
        /// Who.
        id: u64,
        /// For what.
        cause: Cause,
    },
    /// This one is watched from now on: tell the room under this name when it hangs up, at once if it
    /// has already.
    Watched {
        /// Who.
        id: u64,
        /// Its name.
        ticket: Ticket,
    },
}

/// How many there are, over all lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Places that are taken.
    pub open: usize,
    /// Connections that wait for their service.
    pub waiting: usize,
    /// Connections that have not sent their first byte.
    pub silent: usize,
    /// Sources that are known.
    pub sources: usize,
}
