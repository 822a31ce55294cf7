//! Overload in virtual time: Anteroom's own waiting room against simpler rules, under the same clients.
//!
//! Owns: the clients, the service, the simpler rules, and the plots of the guide.
//! Never: a clock or a socket. A run follows from its numbers and its seed.

mod arrivals;
pub mod figures;
mod measured;
mod outcome;
pub mod plots;
mod policy;
mod queue;
mod room;
mod scenario;
mod sharing;
mod world;

pub use arrivals::{Crowd, Patience, Pattern, Wants};
pub use measured::{Measured, read as read_measured};
pub use outcome::{Outcome, Slot};
pub use policy::Policy;
pub use scenario::Scenario;

#[cfg(test)]
mod tests;
