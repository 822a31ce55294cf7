//! A server as a process of its own, and the line protocol between it and who started it.
//!
//! Owns: starting the same program again with other arguments, learning its address, asking it, ending it.
//! Never: a process that it did not start; a server that outlives who started it (its input ends then).
//!
//! The protocol: the server writes one line with its bound address; after that each line that it reads is a
//! question, answered with one line. When its input ends it ends.

mod parent;
mod pin;
mod server;

pub use parent::ServerProcess;
pub use pin::pin_to;
pub use server::{ParentGone, answer_parent};
