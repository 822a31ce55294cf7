//! The clients of a server that shuts down: each keeps account of what became of it.
//!
//! Owns the client's end of every connection of a round. Never knows which server it talks to: that one
//! is stopped by the test, which then gives the cue.

mod client;
mod crowd;
mod tally;

pub use client::{Dialect, Outcome, Part, Target};
pub use crowd::Crowd;
pub use tally::Tally;
