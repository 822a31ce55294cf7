//! Listeners and services joined: where the rooms meet.
//!
//! Owns the builders, the dispatchers and the taking end. What each part does is decided elsewhere.

mod builder;
mod dispatcher;
mod driver;
mod incoming;
mod lane;
mod running;
mod service_fn;
mod sharded;
mod start;

pub use self::builder::ServerBuilder;
pub use self::incoming::{Incoming, IncomingBuilder};
pub use self::lane::Lane;
pub use self::running::Server;
pub use self::service_fn::{ServiceFn, service_fn};
