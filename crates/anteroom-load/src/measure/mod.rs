//! Reading from outside what a process costs and what the kernel holds.
//!
//! Owns: the parsing of `/proc`, and the one tool that is run (`strace`, when it is there).
//! Never: an estimate. What cannot be read is `None`.

mod clock;
mod machine;
mod sockets;
mod syscalls;
mod usage;

pub use clock::now;
pub use machine::{Machine, busy_cores};
pub use sockets::{PortSockets, TcpTable};
pub use syscalls::{Syscalls, count_syscalls};
pub use usage::Usage;
