//! Whether clients are to be sent here, and why not.
//!
//! Owns the words. Who decides is the life of the server and the stall watch.

use std::fmt;

/// Whether clients are to be sent here; see [`Handle::ready`](crate::Handle::ready).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Readiness {
    /// It serves, and keeps up.
    Ready,
    /// They are to be sent elsewhere, if there is one.
    NotReady(Unready),
}

impl Readiness {
    /// Whether it is.
    #[must_use]
    pub fn is_ready(self) -> bool {
        self == Self::Ready
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::NotReady(why) => write!(f, "not ready: {}", why.label()),
        }
    }
}

/// Why a server is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unready {
    /// It does not serve yet.
    Starting,
    /// It accepts still, and is about to stop.
    LameDuck,
    /// It lets nobody new in.
    Draining,
    /// It has ended.
    Stopped,
    /// By [`Handle::pause`](crate::Handle::pause).
    Paused,
    /// Somebody has been waiting for longer than
    /// [`StallWatch::unready_after`](crate::StallWatch::unready_after).
    LongWait,
    /// The runtime has not run what is ready for longer than
    /// [`StallWatch::unready_after`](crate::StallWatch::unready_after).
    RuntimeLate,
}

impl Unready {
    /// The name in metrics and events.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::LameDuck => "lame_duck",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::LongWait => "long_wait",
            Self::RuntimeLate => "runtime_late",
        }
    }
}
