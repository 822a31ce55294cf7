//! Whether we serve, drain or have stopped, and who asked for it.
//!
//! Owns the phase, the drain's deadline, the signals and the final outcome. Never accepts, closes or
//! cuts: the acceptor does that, by what stands here.

mod core;
mod error;
#[cfg(all(feature = "handover", target_os = "linux"))]
mod estate;
mod handle;
mod life;
#[cfg(feature = "metrics")]
mod publisher;
mod ready;
mod signal;
mod watched;

pub(crate) use self::core::{Core, Settings};
pub use self::error::{AcceptError, ServeError, StartError};
pub use self::handle::Handle;
pub(crate) use self::life::{Failure, Life};
#[cfg(feature = "metrics")]
pub use self::publisher::Publisher;
pub use self::ready::Ready;
pub use self::signal::{Exhausted, Stopped};
