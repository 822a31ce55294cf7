//! The settings of the stall watch.
//!
//! Owns its defaults. Never watches anything.

use std::time::Duration;

#[cfg(feature = "serde")]
use super::duration;

/// How a server watches itself; see [`Config::stall_watch`](crate::Config::stall_watch).
///
/// A thread measures from outside how long the runtime takes to run what is ready, knows which handler is
/// being polled on which thread and since when, and tells the cause of a stall while it lasts
/// ([`Snapshot::stalls`](crate::Snapshot::stalls), the event `anteroom::stall`).
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use anteroom::{Config, StallWatch};
///
/// let mut watch = StallWatch::default();
/// watch.threshold = Duration::from_millis(100);
/// let mut config = Config::default();
/// config.stall_watch = Some(watch);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct StallWatch {
    /// What lasts so long is a stall and told: a poll of a handler, somebody's wait in the room, an empty
    /// task of the runtime (default 250 ms, at least 20 ms).
    #[cfg_attr(feature = "serde", serde(with = "duration"))]
    pub threshold: Duration,
    /// Polls of handlers that last so long are counted
    /// ([`LaneSnapshot::slow_polls`](crate::LaneSnapshot::slow_polls)) even when no stall follows (default
    /// 10 ms).
    #[cfg_attr(feature = "serde", serde(with = "duration"))]
    pub slow_poll: Duration,
    /// Whether idle workers are woken while another one is held (default: on a multi-thread runtime).
    pub kick: Kick,
    /// A permit that is held so long after its connection has ended is called leaked (default 10 s).
    #[cfg_attr(feature = "serde", serde(with = "duration"))]
    pub leaked_after: Duration,
    /// The server is not [ready](crate::Handle::ready) once somebody has waited so long, or the runtime been
    /// late by so much, and is ready again when both have been below half of it for a quarter of a second
    /// (default 500 ms).
    #[cfg_attr(feature = "serde", serde(with = "duration"))]
    pub unready_after: Duration,
}

/// Whether idle workers are woken while another one is held.
///
/// A worker of a multi-thread runtime that blocks right after it has looked after I/O and timers leaves
/// nobody who does, although others are idle. An empty task from outside wakes one of them, which then
/// looks. What no task from outside rescues is what the blocked worker had woken just before it blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Kick {
    /// Every 10 ms, as long as a handler has not come back for 5 ms. On a current-thread runtime there is
    /// no other worker to wake, and nothing is done.
    IdleWorkers,
    /// Never.
    Nobody,
}

impl Default for StallWatch {
    fn default() -> Self {
        Self {
            threshold: Duration::from_millis(250),
            slow_poll: Duration::from_millis(10),
            kick: Kick::IdleWorkers,
            leaked_after: Duration::from_secs(10),
            unready_after: Duration::from_millis(500),
        }
    }
}
