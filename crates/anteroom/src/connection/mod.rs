//! One connection from the hand-over to its end.
//!
//! Owns the socket, the permit and the task of what was handed out. Never accepts, and never decides
//! who is served.

mod drain_signal;
mod handed;
mod info;
mod outlet;
mod peer_gone;
mod permit;
mod socket;
mod split;
mod task;
mod transport;

pub use self::drain_signal::Draining;
pub use self::handed::Connection;
#[cfg(feature = "test-util")]
pub(crate) use self::info::Facts;
pub use self::info::Info;
pub(crate) use self::outlet::{Hooks, Outlet};
pub use self::peer_gone::PeerGone;
pub use self::permit::Permit;
pub use self::socket::Socket;
#[cfg(feature = "test-util")]
pub(crate) use self::socket::in_memory;
pub use self::split::{ReadHalf, WriteHalf};
pub use self::task::End;
pub(crate) use self::task::{Handling, Spawn, Task, spawn};
