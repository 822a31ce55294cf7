//! Who is served, who waits, who is refused.
//!
//! Pure: time in, verdict out. Owns the rules and the order of the waiting; never a socket, a task,
//! a clock or a log line, so that every history can be replayed in a test.

mod arena;
mod cause;
mod judge;
mod line;
mod room;

pub(crate) use arena::{Arena, Token};
pub(crate) use cause::Stage;
pub use cause::{Cause, Death};
pub use judge::{HalfClose, SilentClose};
pub(crate) use judge::{Judge, Judgement};
pub(crate) use room::{Admission, Age, Arrival, Limits, Room, Take};
