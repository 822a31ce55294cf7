//! The acceptor: out of the kernel's queue, into the gate.
//!
//! Owns the turns, the reserve descriptor, the back-off after errors and the order of listeners. It
//! never runs a handler, a subscriber or a recorder, and never does I/O with a peer; the only user
//! code in here is the admission filter.

mod acceptor;
mod attendant;
mod desk;
mod ending;
mod filter;
mod gather;
mod guard;
mod host;
mod reserve;
mod rota;
mod threshold;
mod trouble;
mod vigil;
mod window;

pub(crate) use self::acceptor::Acceptor;
pub(crate) use self::attendant::Attendant;
#[cfg(feature = "test-util")]
pub(crate) use self::desk::Faults;
pub(crate) use self::desk::{Desk, Office};
pub(crate) use self::filter::Filter;
pub use self::filter::{Candidate, Verdict};
pub(crate) use self::host::{start_task, start_thread};
