//! Handshakes that are under way on a listener's port.
//!
//! Owns the question, and when its answer cannot be trusted. Never waits for one to end.

use crate::{Address, Listener, diag, queue::TcpKind, sys};

/// How many clients have begun their handshake and are not in the queue yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handshakes {
    /// So many (`SYN_RECV`).
    UnderWay(u32),
    /// The kernel cannot be asked, or may keep no record of them.
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
    /// `Unknown` where the kernel cannot be asked; for multipath TCP; and where SYN cookies may be in use, for which
    /// it keeps no record: `net.ipv4.tcp_syncookies` is 2, or it is 1 and some were sent in this network namespace since
    /// the listener was made. A client that answers a cookie needs a round trip for it.
    ///
    /// The kernel tells the address, not the listener: members of one `SO_REUSEPORT` group see each other's. Its cost grows
    /// with the kernel's table of connections: ask while stopping, not while serving. On a Unix socket there are none.
    ///
    /// # Platform
    ///
    /// Linux; elsewhere `Unknown` on TCP.
    pub fn handshakes(&self) -> Handshakes {
        let Address::Tcp(local) = self.local_addr() else { return Handshakes::UnderWay(0) };
        if self.tcp_kind == TcpKind::Multipath || self.cookies.may_have_been_sent() {
            return Handshakes::Unknown;
        }
        match diag::handshakes(*local) {
            Ok(Some(count)) => Handshakes::UnderWay(count),
            Ok(None) | Err(_) => Handshakes::Unknown,
        }
    }
}
