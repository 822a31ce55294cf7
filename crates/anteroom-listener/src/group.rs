//! The `SO_REUSEPORT` group of a listener, and what happens to the queue of a member that closes.
//!
//! Owns the two questions. Never warns: that is for who knows whether a restart is coming.

use std::{fs::File, os::fd::AsFd, os::unix::fs::MetadataExt};

use socket2::SockRef;

use crate::{Listener, diag, sys};

impl Listener {
    /// How many listening sockets share its address by `SO_REUSEPORT`, this one included, in this network namespace and
    /// whoever has them. `None` without that option, on a Unix socket, and where the kernel cannot be asked.
    ///
    /// Closing one of several resets what waits in its queue, unless the kernel [migrates](migrates_queued) it.
    ///
    /// # Platform
    ///
    /// Linux; elsewhere `None`.
    pub fn reuse_port_group(&self) -> Option<u32> {
        let local = self.local_addr().tcp()?;
        if !SockRef::from(self).reuse_port().ok()? {
            return None;
        }
        let own = File::from(self.as_fd().try_clone_to_owned().ok()?).metadata().ok()?.ino();
        diag::listening_with(local, u32::try_from(own).ok()?).ok().flatten()
    }
}

/// Whether the kernel moves the queue of a member of a `SO_REUSEPORT` group that closes to another member
/// (`net.ipv4.tcp_migrate_req`, since Linux 5.14) instead of resetting it. `None` where it is not told.
pub fn migrates_queued() -> Option<bool> {
    sys::network_setting("ipv4/tcp_migrate_req").map(|value| value != 0)
}
