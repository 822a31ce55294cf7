//! Many connections that are open and idle: who keeps them, the servers that serve them, and what they cost.
//!
//! Owns: nothing of its own.
//! Never: a load. New connections beside the idle ones are what the clients are for.

mod idle;
mod memory;
mod server;
mod start_up;

pub use idle::{Idle, raise_descriptor_limit};
pub use memory::private_bytes;
pub use server::{Drained, drain, keep_serving};
pub use start_up::StartUp;
