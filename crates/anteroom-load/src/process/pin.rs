//! One core for a thread and all that it starts from then on.
//!
//! Owns: the call.
//! Never: which core is whose.

use rustix::thread::{CpuSet, sched_setaffinity};
use std::io;

/// Keeps the calling thread, and threads and processes that it starts later, on this core (from 0).
///
/// # Errors
///
/// There is no such core, or it may not be used here.
///
/// # Platform
///
/// Linux.
pub fn pin_to(core: usize) -> io::Result<()> {
    if core >= CpuSet::MAX_CPU {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such core"));
    }
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}
