//! Who is served, who waits, who is refused.
//!
//! Pure: time in, verdict out. Owns the rules and the order of the waiting; never a socket, a task,
//! a clock or a log line, so that every history can be replayed in a test.

mod access;
mod arena;
mod cause;
mod early;
mod judge;
mod lane;
mod line;
mod order;
mod prefix;
mod rate;
mod room;
mod rules;
mod share;

pub(crate) use access::Access;
pub(crate) use arena::{Arena, MOST_ARENAS, Token};
pub(crate) use cause::Stage;
pub use cause::{Cause, Death};
pub use early::EarlyRefusal;
pub use judge::{HalfClose, SilentClose};
pub(crate) use judge::{Judge, Judgement};
pub use order::Order;
pub(crate) use prefix::Prefixes;
pub use prefix::{Prefix, PrefixError};
pub use rate::Rate;
pub(crate) use room::{Admission, Age, Arrival, Place, Room, Take, Turn, Voice};
pub use rules::{FirstByte, WhenFull};
pub(crate) use rules::{LaneRules, Rules};
pub use share::Share;
