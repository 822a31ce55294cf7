//! getrlimit(2), the call that both halves have.
//!
//! Owns the one call. Never changes a limit.

/// The soft `RLIMIT_NOFILE`; `None` without a limit.
pub(crate) fn descriptor_limit() -> Option<u64> {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one `rlimit`, which is live and exclusively borrowed, and does not keep the pointer.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) };
    if answer == -1 || limits.rlim_cur == libc::RLIM_INFINITY {
        return None;
    }
    // By way of a type that holds them all: the number is signed on some systems and shorter on others.
    u64::try_from(i128::from(limits.rlim_cur)).ok()
}
