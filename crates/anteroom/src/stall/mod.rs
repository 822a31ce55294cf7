//! Watching for a stall, and naming its cause while it lasts.
//!
//! Owns the pulse (a thread that looks from outside), the board (which thread runs what of the user's code,
//! and since when) and what they have found. Never decides about a connection, and never calls a
//! subscriber or a recorder: what is to be said is left for the watch.

mod beat;
mod board;
mod call;
mod episodes;
mod findings;
mod judge;
mod line;
mod machine;
mod proc;
mod pulse;
mod slot;
mod standing;
mod steady;
mod stops;
mod thread;

#[cfg(test)]
#[cfg(all(target_os = "linux", not(anteroom_portable)))]
mod live_tests;

/// Whose atomics the hot path is made of.
mod atomics {
    pub(super) use std::sync::atomic::{AtomicU64, fence};
}

pub(crate) use self::board::{Board, Inside};
pub(crate) use self::findings::Findings;
pub(crate) use self::pulse::{Subject, Watched, start as start_pulse};
pub(crate) use self::slot::Work;
