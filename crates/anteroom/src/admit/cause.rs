//! The ends of a connection that no handler served: causes of refusal, kinds of death.
//!
//! Owns the names, which are also metric labels. Never counts (that is `observe`).

use std::fmt;

/// Why a living connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The waiting room was full, and this connection had waited longest.
    Full,
    /// It had waited longer than `max_wait`, counted from the handshake.
    TooOld,
    /// The peer had sent bytes and closed its side, and waited longer than the patience that
    /// [`HalfClose::Patience`](crate::HalfClose::Patience) gives: it has probably left.
    ProbablyLeft,
    /// The deny list or the admission filter said so, or the filter panicked.
    Denied,
    /// Nobody takes connections any more: the [`Incoming`](crate::Incoming) was dropped, or the
    /// runtime of the server is gone.
    Closed,
    /// The process had no means left: descriptors, or memory.
    Resources,
    /// More had come than could be served, and it had waited so long that newer ones had the better
    /// chance; see [`Order::Adaptive`](crate::Order::Adaptive).
    Hopeless,
    /// Its source had taken its share of the places; see [`Share`](crate::Share).
    Share,
    /// Its source came more often than [`Share::per_second`](crate::Share::per_second) allows.
    Rate,
    /// By chance, before the room was full; see [`EarlyRefusal`](crate::EarlyRefusal).
    Early,
    /// It sent nothing in the time that [`FirstByte`](crate::FirstByte) gives.
    Silent,
    /// A filter or a service refused it for a reason of its own.
    User(&'static str),
}

impl Cause {
    /// The causes that are counted apart; every [`Cause::User`] counts as one.
    pub const ALL: [Self; 12] = [
        Self::Full,
        Self::TooOld,
        Self::ProbablyLeft,
        Self::Denied,
        Self::Closed,
        Self::Resources,
        Self::Hopeless,
        Self::Share,
        Self::Rate,
        Self::Early,
        Self::Silent,
        Self::User("user"),
    ];

    /// The name in metrics and events: lower case, with underscores. [`Cause::User`] is `user`
    /// whatever its text, so that a label has few values.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::TooOld => "too_old",
            Self::ProbablyLeft => "probably_left",
            Self::Denied => "denied",
            Self::Closed => "closed",
            Self::Resources => "resources",
            Self::Hopeless => "hopeless",
            Self::Share => "share",
            Self::Rate => "rate",
            Self::Early => "early",
            Self::Silent => "silent",
            Self::User(_) => "user",
        }
    }

    /// The position in [`Cause::ALL`].
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Full => 0,
            Self::TooOld => 1,
            Self::ProbablyLeft => 2,
            Self::Denied => 3,
            Self::Closed => 4,
            Self::Resources => 5,
            Self::Hopeless => 6,
            Self::Share => 7,
            Self::Rate => 8,
            Self::Early => 9,
            Self::Silent => 10,
            Self::User(_) => 11,
        }
    }

    /// Whether a reply is worth sending: somebody is there who has asked for something, or may yet.
    pub(crate) fn is_answered(self) -> bool {
        !matches!(self, Self::ProbablyLeft | Self::Denied | Self::Silent)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(reason) => write!(f, "user: {reason}"),
            other => f.write_str(other.label()),
        }
    }
}

/// How the peer of a connection had gone before a handler could be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Death {
    /// It closed without sending a byte: nothing can be asked or answered.
    Silent,
    /// It sent bytes and closed, and the policy says that this is leaving
    /// ([`HalfClose::Gone`](crate::HalfClose::Gone)).
    Gone,
    /// It reset the connection.
    Reset,
}

impl Death {
    /// Every kind that is counted.
    pub const ALL: [Self; 3] = [Self::Silent, Self::Gone, Self::Reset];

    /// The name in metrics and events.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Gone => "gone",
            Self::Reset => "reset",
        }
    }

    /// The position in [`Death::ALL`].
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Silent => 0,
            Self::Gone => 1,
            Self::Reset => 2,
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Where a connection stood when its peer was found gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// In the kernel's accept queue.
    Queue,
    /// In the waiting room.
    Room,
}

impl Stage {
    pub(crate) const ALL: [Self; 2] = [Self::Queue, Self::Room];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Room => "room",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_the_position_in_the_list() {
        for (position, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause.index(), position);
        }
        for (position, death) in Death::ALL.into_iter().enumerate() {
            assert_eq!(death.index(), position);
        }
    }
}
