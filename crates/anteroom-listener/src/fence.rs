//! The fence: nobody new comes in, and whoever is queued, or about to be, is kept.
//!
//! Owns the question who else holds the open socket: a fence is the socket's, and everybody who shares it would lose
//! newcomers by it. Never closes anything.

use std::{
    io,
    net::Shutdown,
    os::fd::{AsFd, OwnedFd},
};

use socket2::SockRef;

use crate::{Address, Listener, diag, sys};

/// What became of a [`Listener::fence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fence {
    /// It is set: nobody new comes in.
    Set,
    /// Somebody else may hold the open socket: it was left alone.
    Shared,
}

/// Handshakes that may still put a connection into the queue of a fenced listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handshakes {
    /// So many are under way on its port.
    UnderWay(u32),
    /// The kernel cannot be asked, or knows of some as little as we do: those by SYN cookie. Whoever is about to come
    /// has come after one round trip.
    Unknown,
}

impl Listener {
    /// Whether nobody else holds the open socket: it was made here and never [shared](Self::share), or declared so.
    ///
    /// A descriptor that was duplicated by other means, from [`AsFd`] or by a child that inherited it, is not noticed.
    pub fn is_exclusive(&self) -> bool {
        self.sharing.is_exclusive()
    }

    /// Declares that nobody else holds the open socket of an adopted listener, so that it may be
    /// [fenced](Self::fence). Not for one that a service manager keeps.
    #[must_use]
    pub fn exclusive(self) -> Self {
        self.reclaim();
        self
    }

    /// Another descriptor of the same open socket, to be passed on: whoever has it accepts from the same queue, and
    /// the queue lives until the last of them is closed. From now on this listener is never fenced, and leaves a Unix
    /// socket's file behind when it closes.
    ///
    /// # Errors
    ///
    /// What fcntl(2) gives: `EMFILE` when the process is out of descriptors.
    pub fn share(&self) -> io::Result<OwnedFd> {
        let shared = self.as_fd().try_clone_to_owned()?;
        self.sharing.pass_on();
        Ok(shared)
    }

    /// Declares that whoever else held the open socket has let it go.
    pub fn reclaim(&self) {
        self.sharing.reclaim();
    }

    /// Lets nobody new in, and keeps whoever is queued or about to be: the first step towards a close that resets
    /// nobody. Then accept until the queue is empty and no [handshake](Self::handshakes) is under way, and close.
    ///
    /// TCP: a filter on the socket drops the SYNs of newcomers (`SO_ATTACH_FILTER`; no privilege needed). Their next
    /// retry, after a second as a rule, meets a successor, or is refused once the listener is closed. Each is counted
    /// among the [drops](crate::Queue::drops). `TCP_DEFER_ACCEPT` is switched off with it: who is connected and silent
    /// comes into the queue within 1.01 s, instead of being reset by the close. Unix: shutdown(2) with `SHUT_RD`
    /// refuses newcomers at once.
    ///
    /// # Errors
    ///
    /// The kernel takes no filter here: on a multipath listener (`EOPNOTSUPP`), in a sandbox, or because
    /// `SO_LOCK_FILTER` is set. Nothing has changed then.
    ///
    /// # Platform
    ///
    /// TCP: Linux; elsewhere an error of the kind `Unsupported`.
    pub fn fence(&self) -> io::Result<Fence> {
        if !self.is_exclusive() {
            return Ok(Fence::Shared);
        }
        match self.local_addr() {
            Address::Unix(_) => SockRef::from(self).shutdown(Shutdown::Read)?,
            Address::Tcp(_) => {
                sys::options::attach_fence(self.as_fd())?;
                if sys::defer_accept(self.as_fd()).is_some_and(|seconds| seconds > 0) {
                    sys::options::set_defer_accept(self, 0)?;
                }
            }
        }
        Ok(Fence::Set)
    }

    /// Takes the fence of a TCP listener away: those who were kept out come in at their next retry.
    /// `TCP_DEFER_ACCEPT` stays off.
    ///
    /// # Errors
    ///
    /// There is none (`ENOENT`). Of the kind `Unsupported` on a Unix listener, which nothing reopens, and where there
    /// are no fences.
    pub fn lift_fence(&self) -> io::Result<()> {
        match self.local_addr() {
            Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            Address::Tcp(_) => sys::options::detach_fence(self.as_fd()),
        }
    }

    /// The handshakes that are under way on this listener's port (`sock_diag`, sock_diag(7)). A handshake that ends is
    /// in the queue before it leaves this count: none under way and then an empty queue means that nobody comes any
    /// more to a listener that is fenced.
    ///
    /// Its cost grows with the number of connections of the whole network namespace.
    ///
    /// # Platform
    ///
    /// Linux; elsewhere unknown, as for multipath. A Unix socket has none.
    pub fn handshakes(&self) -> Handshakes {
        let Some(local) = self.local_addr().tcp() else { return Handshakes::UnderWay(0) };
        if self.is_multipath() || self.cookies_may_be_out() {
            return Handshakes::Unknown;
        }
        match diag::handshakes(local) {
            Ok(Some(count)) => Handshakes::UnderWay(count),
            Ok(None) | Err(_) => Handshakes::Unknown,
        }
    }

    /// Whether the namespace may have handshakes under way that it keeps nothing of: it sends cookies always, or has
    /// sent some since this listener was made or adopted.
    fn cookies_may_be_out(&self) -> bool {
        match (sys::cookies(), self.cookies_at_first()) {
            (Some(now), Some(first)) => now.mode == 2 || (now.mode != 0 && now.sent != first.sent),
            _ => true,
        }
    }

    /// How many sockets listen on exactly this address with `SO_REUSEPORT`, this one included: when one of them is
    /// closed, what is queued there is reset, unless the kernel [migrates](migrates_queued) it. `None` without the
    /// option, and where the platform does not tell.
    pub fn reuse_port_group(&self) -> Option<u32> {
        let local = self.local_addr().tcp()?;
        let is_in_a_group = SockRef::from(self).reuse_port().ok()?;
        if !is_in_a_group {
            return None;
        }
        diag::listening_on(local).ok()?
    }
}

/// Whether the kernel moves what is queued at a listener that closes to another of its `SO_REUSEPORT` group
/// (`net.ipv4.tcp_migrate_req`, since Linux 5.14). `None` where the platform does not tell.
pub fn migrates_queued() -> Option<bool> {
    sys::migrates_queued()
}
