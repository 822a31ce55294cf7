//! Everything that the room obeys, as data.
//!
//! Owns the settings that say what is done with whom; the defaults stand in `config`. Never changes by
//! itself: the rules are replaced as a whole.

use std::time::Duration;

use super::early::EarlyRefusal;
use super::order::Order;
use super::prefix::Prefixes;
use super::rate::Rate;
use super::share::Share;

/// What to do when no more can be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WhenFull {
    /// Refuse who has waited longest, and take the new one: the oldest is the likeliest to have given
    /// up. The default.
    RefuseOldest,
    /// Accept no more: clients wait in the kernel's queue. Nobody is refused for want of room or for
    /// [`Share::alpha`](crate::Share::alpha); the numbers and rates of a source still hold, and who is
    /// silent takes a place among those who may wait. Who waits longer than `max_wait` still is, in the order of arrival, which
    /// is the only one here. The kernel's queue is bounded by the backlog and drops newcomers when
    /// it is full.
    BackPressure,
}

/// Holds a connection outside the service until its first byte arrives, for protocols in which the
/// client speaks first: a silent client costs a descriptor and no handler.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// let first_byte = anteroom::FirstByte::within(Duration::from_secs(5)).max_silent(1_000);
/// assert_eq!(first_byte.max_silent, 1_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct FirstByte {
    /// Time for the first byte, from the handshake; then it is refused as
    /// [`Cause::Silent`](crate::Cause::Silent).
    #[cfg_attr(feature = "serde", serde(with = "crate::config::duration"))]
    pub within: Duration,
    /// Connections of one lane that may be silent at the same time (default 16,384). When one more
    /// comes, the one that has been silent longest is refused.
    #[cfg_attr(feature = "serde", serde(default = "many"))]
    pub max_silent: usize,
}

#[cfg(feature = "serde")]
fn many() -> usize {
    FirstByte::MANY
}

impl FirstByte {
    const MANY: usize = 16_384;

    /// So much time for the first byte.
    #[must_use]
    pub const fn within(time: Duration) -> Self {
        Self { within: time, max_silent: Self::MANY }
    }

    /// Lets so many be silent at the same time.
    #[must_use]
    pub const fn max_silent(mut self, connections: usize) -> Self {
        self.max_silent = connections;
        self
    }
}

/// The rules of every lane.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Places of a lane: connections that may be handed out at the same time.
    pub(crate) max_connections: Option<usize>,
    /// Connections of a lane that may wait beyond those for whom a place is free.
    pub(crate) max_waiting: usize,
    /// Age at which a waiting connection is refused, counted from its handshake.
    pub(crate) max_wait: Duration,
    pub(crate) when_full: WhenFull,
    pub(crate) order: Order,
    pub(crate) refuse_early: Option<EarlyRefusal>,
    pub(crate) share: Share,
    pub(crate) exempt: Prefixes<()>,
    pub(crate) first_byte: Option<FirstByte>,
    /// How fast connections of a lane are handed out.
    pub(crate) accept_rate: Option<Rate>,
    /// Sockets in all lanes together, whatever they wait for. `None`: any number.
    pub(crate) descriptors: Option<usize>,
}

/// What one lane has of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LaneRules {
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_waiting: Option<usize>,
    /// Of [`Rules::descriptors`], what no other lane takes.
    pub(crate) set_aside: Option<usize>,
}
