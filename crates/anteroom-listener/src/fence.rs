//! The fence: nobody new comes in, and nobody who is on the way is turned back.
//!
//! Owns when one may be set and what lifting restores. Never closes anything, never waits, never empties the queue:
//! that is the drain's.

use std::{io, net::Shutdown, os::fd::AsFd};

use socket2::SockRef;

use crate::{Address, Listener, sharing::Raised, sys};

/// What became of the wish for a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fence {
    /// It stands.
    Set,
    /// It was not tried: somebody else may hold the open socket, and would let nobody in either. Nothing is lost by
    /// closing a socket that another still holds; what is queued stays for the other.
    Shared,
}

impl Listener {
    /// Lets nobody new in, and keeps whoever is queued or about to be.
    ///
    /// On TCP new SYNs are dropped by a filter on the socket (`SO_ATTACH_FILTER`, which needs no privilege): their
    /// clients try again after 1 s, 2 s, 4 s and so on, and meet whoever listens there then. Handshakes under way finish;
    /// `TCP_DEFER_ACCEPT` is switched off, so that those who are connected and silent come into the queue, which takes
    /// up to a second. Accept until the queue is empty and no [handshake](Self::handshakes) is under way; closing then
    /// resets nobody. Every SYN that the fence drops counts among the queue's [drops](crate::Queue::drops).
    ///
    /// On a Unix socket new clients are refused (`shutdown(SHUT_RD)`). From then on poll(2) and epoll(7) show the listener
    /// as readable for ever: do not sleep on it, accept until `WouldBlock` and close.
    ///
    /// Setting it again changes nothing. Connections that are accepted afterwards inherit the filter; it only looks for
    /// SYNs, which an open connection does not get. A filter that somebody else had set on the socket is replaced.
    ///
    /// # Errors
    ///
    /// The kernel refused and nothing has changed: multipath TCP (`EOPNOTSUPP`), sandboxes, a locked filter.
    ///
    /// # Platform
    ///
    /// TCP: Linux; elsewhere an error of kind `Unsupported`. Unix: as far as the system refuses clients of a socket that
    /// is shut for reading.
    pub fn fence(&self) -> io::Result<Fence> {
        let mut holders = self.sharing.lock();
        if holders.fence.is_some() {
            return Ok(Fence::Set);
        }
        if !holders.are_we_alone() {
            return Ok(Fence::Shared);
        }
        let deferred = match self.local_addr() {
            Address::Tcp(_) => self.fence_tcp()?,
            Address::Unix(_) => SockRef::from(self).shutdown(Shutdown::Read).map(|()| 0)?,
        };
        holders.fence = Some(Raised { deferred });
        Ok(Fence::Set)
    }

    /// Takes the fence away: clients whose SYN was dropped come in at their next retry, and `TCP_DEFER_ACCEPT` is as it
    /// was. Without a fence nothing happens.
    ///
    /// # Errors
    ///
    /// For a Unix socket, which cannot be opened for reading again: of kind `Unsupported`. What the kernel says; the fence
    /// stands then.
    pub fn lift_fence(&self) -> io::Result<()> {
        let mut holders = self.sharing.lock();
        let Some(Raised { deferred }) = holders.fence else { return Ok(()) };
        if let Address::Unix(_) = self.local_addr() {
            let why = "a unix socket that was shut for reading stays so: bind it anew";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        if deferred != 0 {
            sys::options::write_defer_accept(self.as_fd(), deferred)?;
        }
        sys::fence::detach(self.as_fd())?;
        holders.fence = None;
        Ok(())
    }

    /// Whether a [fence](Self::fence) of ours stands.
    pub fn is_fenced(&self) -> bool {
        self.sharing.lock().fence.is_some()
    }

    /// The filter first: if the kernel refuses one of the two it is this one, and then nothing has to be undone.
    fn fence_tcp(&self) -> io::Result<libc::c_int> {
        sys::fence::attach(self.as_fd())?;
        let switched_off = sys::options::read_defer_accept(self.as_fd()).and_then(|deferred| {
            if deferred != 0 {
                sys::options::write_defer_accept(self.as_fd(), 0)?;
            }
            Ok(deferred)
        });
        if switched_off.is_err() {
            // It was attached a moment ago, and what could be attached can be detached.
            let _ = sys::fence::detach(self.as_fd());
        }
        switched_off
    }
}
