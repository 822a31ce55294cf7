//! This process's file descriptors: how many it may have, and how many it has.
//!
//! Owns the two numbers. Never raises the limit, never decides who may have the rest.

use crate::sys;

/// The descriptors of this process at one moment.
///
/// # Examples
///
/// ```
/// use anteroom_listener::Descriptors;
///
/// let descriptors = Descriptors::of_process();
/// if let (Some(limit), Some(open)) = (descriptors.limit, descriptors.open) {
///     println!("{} more can be opened", limit.saturating_sub(open));
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptors {
    /// The soft limit (`RLIMIT_NOFILE`, getrlimit(2)): no new descriptor gets a number as high as this. `None` if there
    /// is no limit or the platform does not tell.
    pub limit: Option<u64>,
    /// How many are open, whatever their numbers: those from before the limit was lowered can be above it. `None` where it is not told: outside Linux, and without `/proc`.
    pub open: Option<u64>,
}

impl Descriptors {
    /// Asks the kernel. The limit is one call. So is the count since Linux 6.2, which gives it as the size of
    /// `/proc/self/fd`; an older kernel is asked to list them all, which takes the longer the more there are, and a
    /// descriptor: where none is left the count is `None`.
    pub fn of_process() -> Self {
        Self { limit: sys::descriptor_limit(), open: sys::open_descriptors() }
    }
}
