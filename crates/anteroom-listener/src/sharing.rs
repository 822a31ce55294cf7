//! Who else holds the open socket of a listener.
//!
//! Owns what is known of it: made here or adopted, passed on or not, fenced or not. It knows only what goes through it: a
//! descriptor duplicated behind its back is not seen. Never asks the kernel, which does not tell.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::Listener;

/// Behind one lock, so that a socket is never fenced while it is being passed on.
#[derive(Debug)]
pub(crate) struct Sharing(Mutex<Holders>);

/// What is known of an open socket's holders, and of what was done to it for all of them.
#[derive(Debug)]
pub(crate) struct Holders {
    origin: Origin,
    passed_on: Option<PassedOn>,
    pub(crate) fence: Option<Raised>,
}

/// Where the socket comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Made here, or declared to be ours alone.
    Own,
    /// Somebody else made it, and may hold it still.
    Adopted,
}

/// A fence that stands, and what it has to restore: the seconds of `TCP_DEFER_ACCEPT`, 0 if it was not set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raised {
    pub(crate) deferred: libc::c_int,
}

#[derive(Clone, Copy, Debug)]
struct PassedOn;

impl Sharing {
    pub(crate) fn new(origin: Origin) -> Self {
        Self(Mutex::new(Holders { origin, passed_on: None, fence: None }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Holders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holders {
    pub(crate) fn are_we_alone(&self) -> bool {
        self.origin == Origin::Own && self.passed_on.is_none()
    }
}

impl Listener {
    /// Whether nobody else holds the open socket, as far as is known here: it was bound here and never
    /// [passed on](Self::share), or it was [declared](Self::exclusive) so.
    ///
    /// A descriptor that was duplicated without [`share`](Self::share) is not seen, nor is a child that was forked and
    /// did not exec: listeners are close-on-exec, so a child that did holds none.
    pub fn is_exclusive(&self) -> bool {
        self.sharing.lock().are_we_alone()
    }

    /// Declares that nobody else holds the open socket of a listener that was adopted: whoever passed it has closed its
    /// own. Only such a listener can be [fenced](Self::fence).
    #[must_use]
    pub fn exclusive(self) -> Self {
        self.declare_exclusive();
        self
    }

    /// As [`exclusive`](Self::exclusive), of a listener in use.
    pub fn declare_exclusive(&self) {
        let mut holders = self.sharing.lock();
        holders.origin = Origin::Own;
        holders.passed_on = None;
    }

    /// Another descriptor of the same open socket, close-on-exec, to be passed to somebody. From now on this listener is
    /// not exclusive, and leaves a Unix socket's file behind when it closes.
    ///
    /// # Errors
    ///
    /// When no descriptor is left, and for a listener that is fenced ([`ResourceBusy`](io::ErrorKind::ResourceBusy)):
    /// whoever got it would let nobody in.
    pub fn share(&self) -> io::Result<OwnedFd> {
        let mut holders = self.sharing.lock();
        if holders.fence.is_some() {
            let why = "this listener is fenced: lift the fence before it is passed on";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
        }
        let fd = self.as_fd().try_clone_to_owned()?;
        holders.passed_on = Some(PassedOn);
        if let Some(file) = self.socket_file() {
            file.pass_on();
        }
        Ok(fd)
    }

    /// Declares that all those it was passed on to have closed it again: it is exclusive if it was before.
    pub fn reclaim(&self) {
        self.sharing.lock().passed_on = None;
        if let Some(file) = self.socket_file() {
            file.reclaim();
        }
    }
}
