//! Handshakes that are under way on a listener's port.
//!
//! Owns the question, and when its answer cannot be trusted. Never waits for one to end.

use std::{os::fd::AsFd, time::Duration};

use crate::{Address, Listener, diag, queue::TcpKind, sharing::Raised, sys};

/// How many clients have begun their handshake and are not in the queue yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handshakes {
    /// So many (`SYN_RECV`).
    UnderWay(u32),
    /// So many that the kernel remembers. Beside these it may have answered some with a cookie, of which it keeps no
    /// record.
    AtLeast(u32),
    /// The kernel cannot be asked.
    Unknown,
}

impl Handshakes {
    /// Whether it is known that there is none.
    pub fn is_none_under_way(self) -> bool {
        self == Self::UnderWay(0)
    }
}

/// How many cookies the network namespace had sent when the listener was made; `None` if it did not tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CookiesBefore(Option<u64>);

impl CookiesBefore {
    /// Read when a listener is made. A Unix one has no use for it.
    pub(crate) fn of(listener: &Address) -> Self {
        Self(listener.tcp().and_then(|_| sys::cookies_sent()))
    }

    /// Whether the kernel may have answered a SYN with a cookie instead of remembering it (`net.ipv4.tcp_syncookies`):
    /// always (2), never (0), or when too many were under way (1), which a counter tells.
    fn may_have_been_sent(self) -> bool {
        match sys::network_setting("ipv4/tcp_syncookies") {
            Some(0) => false,
            Some(1) => self.0.is_none() || sys::cookies_sent() != self.0,
            _ => true,
        }
    }
}

impl Listener {
    /// How many handshakes are under way on this listener's address, those of clients included that
    /// [`defer_accept`](crate::Builder::defer_accept) holds back.
    ///
    /// Who leaves this count comes into the queue, so ask this first and look at the queue after it: none under way and
    /// then an empty queue mean that a [fenced](Self::fence) listener can be closed.
    ///
    /// `AtLeast` so many where SYN cookies may be in use: `net.ipv4.tcp_syncookies` is 2, or it is 1 and some were sent in
    /// this network namespace since the listener was made. A client that answers a cookie needs a round trip for it.
    /// `Unknown` where the kernel cannot be asked, and for multipath TCP.
    ///
    /// The kernel tells the address, not the listener: members of one `SO_REUSEPORT` group see each other's. Its cost grows
    /// with the kernel's table of connections: ask while stopping, not while serving. On a Unix socket there are none.
    ///
    /// # Platform
    ///
    /// Linux; elsewhere `Unknown` on TCP.
    pub fn handshakes(&self) -> Handshakes {
        let Address::Tcp(local) = self.local_addr() else { return Handshakes::UnderWay(0) };
        if self.tcp_kind == TcpKind::Multipath {
            return Handshakes::Unknown;
        }
        match diag::handshakes(*local) {
            // The count of cookies after the other: who is sent one meanwhile is not overlooked.
            Ok(Some(count)) if self.cookies.may_have_been_sent() => Handshakes::AtLeast(count),
            Ok(Some(count)) => Handshakes::UnderWay(count),
            Ok(None) | Err(_) => Handshakes::Unknown,
        }
    }
    /// How long the kernel may still keep somebody out of the queue who was connected and silent before the
    /// [fence](Self::fence): with [`defer_accept`](crate::Builder::defer_accept), as long as that defers; else no time.
    ///
    /// The fence switches deferring off, which the kernel applies to such a client when it next looks at him. That is
    /// after 1, 3, 7 … seconds of his silence.
    pub fn deferral(&self) -> Duration {
        let seconds = match (self.sharing.lock().fence, self.local_addr()) {
            (Some(Raised { deferred }), _) => deferred,
            // What cannot be set is not set.
            (None, Address::Tcp(_)) => sys::options::read_defer_accept(self.as_fd()).unwrap_or(0),
            (None, Address::Unix(_)) => 0,
        };
        Duration::from_secs(seconds.try_into().unwrap_or(0))
    }
}
