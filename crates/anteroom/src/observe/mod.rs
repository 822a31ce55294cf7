//! What is told to people: counts, samples, events, the final report.
//!
//! Owns the ledgers, the ring of notes and the watch thread that publishes both. Never decides
//! about a connection, and nothing in here but the watch thread calls a subscriber or a recorder on
//! the acceptor's behalf.

#[cfg(feature = "metrics")]
mod growth;
mod ledger;
mod note;
#[cfg(feature = "metrics")]
mod publish;
mod readiness;
mod report;
mod snapshot;
mod speak;
mod stall;
#[cfg(feature = "metrics")]
mod stall_metrics;
mod watch;

pub(crate) use ledger::{Ending, Ledger, microseconds, record_nanos};
pub(crate) use note::{Note, Notes};
#[cfg(feature = "metrics")]
pub(crate) use publish::Metrics;
pub use readiness::{Readiness, Unready};
pub use report::{DeadOnArrival, Deaths, Refused, Report, Served};
pub(crate) use snapshot::distribution;
pub use snapshot::{Accepting, Distribution, LaneSnapshot, ListenerSnapshot, Phase, Snapshot};
pub use stall::{Blame, Blamed, Cost, Doing, Part, Stall, StallCause, Thread};
#[cfg(feature = "metrics")]
pub(crate) use stall_metrics::Timings;
pub(crate) use watch::{LONGEST_REST, Subject, start as start_watch};
