//! What the tests of this workspace share: a network namespace of their own, bounded waiting, clients in bulk, and the
//! kernel's own view to compare with.
//!
//! Owns nothing that is tested here: it depends on none of the other crates, so that a test never checks a crate
//! against itself. It panics where a test would have to fail anyway, and it prints.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "this is test code: a helper that fails fails the test"
)]
#![forbid(unsafe_code)]

mod clients;
mod namespace;
mod process;
mod scratch;
mod sockets;
mod wait;

pub use clients::{connect, connect_unix, has_connected, reset, start_connecting};
pub use namespace::isolated;
pub use process::{descriptors, exhaust_descriptors, limit_descriptors, write_sysctl};
pub use scratch::Scratch;
pub use sockets::{TcpSocket, TcpState, netstat, ss_tcp_queue, ss_unix_queue, tcp_sockets};
pub use wait::{BOUND, eventually, eventually_gives};
