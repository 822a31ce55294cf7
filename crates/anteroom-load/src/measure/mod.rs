//! Reading from outside what a process costs and what the kernel holds.
//!
//! Owns: the parsing of `/proc`, and the two tools that are run (`strace` and `valgrind`, when they are
//! there).
//! Never: an estimate. What cannot be read is `None`.

mod clock;
mod instructions;
mod machine;
mod sockets;
mod syscalls;
mod usage;

pub use clock::now;
pub use instructions::{Instructions, count_instructions};
pub use machine::{Machine, busy_cores};
pub use sockets::{PortSockets, TcpTable};
pub use syscalls::{Syscalls, count_syscalls};
pub use usage::Usage;
