//! The kernel's accept queue in numbers.
//!
//! Owns the shapes, and the reading of `TCP_INFO` for a listening socket. Never says what to do about a full queue.

use std::{fmt, os::fd::BorrowedFd};

use crate::sys::{self, TcpInfo};

/// The accept queue of one listener, at one moment. What the platform does not tell is `None`, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queue {
    /// Connections that wait to be accepted (`tcpi_unacked` of a listening socket; `udiag_rqueue` for Unix).
    pub depth: Option<u32>,
    /// The effective backlog (`tcpi_sacked`; `udiag_wqueue`). The queue holds one more than this.
    pub limit: Option<u32>,
    /// How many segments this listener dropped since it was made (`SK_MEMINFO_DROPS`): the SYNs that found the queue
    /// full, each retry again, so a count of segments and not of clients; other drops of this socket too. It wraps at
    /// 2³². Plain TCP only: a multipath listener hides the socket that counts them.
    pub drops: Option<u64>,
}

impl Queue {
    /// Where nothing is told.
    pub(crate) const UNKNOWN: Self = Self { depth: None, limit: None, drops: None };

    /// Whether the kernel turns new connections away now: the depth exceeds the limit.
    pub fn is_full(&self) -> Option<bool> {
        self.depth.zip(self.limit).map(|(depth, limit)| depth > limit)
    }

    /// A TCP listener's, from `TCP_INFO` and `SO_MEMINFO`.
    pub(crate) fn of_tcp(listener: BorrowedFd<'_>, protocol: TcpKind) -> Self {
        let (depth, limit) = tcp_depth_and_limit(listener).unzip();
        let drops = match protocol {
            TcpKind::Plain => sys::drops(listener),
            TcpKind::Multipath => None,
        };
        Self { depth, limit, drops }
    }
}

/// Which protocol a TCP listener speaks. A multipath one passes `TCP_INFO` on to the plain socket inside, but answers
/// `SO_MEMINFO` for itself, where nothing is ever dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TcpKind {
    Plain,
    Multipath,
}

/// What was asked for as the limit of the queue, and what the kernel granted.
///
/// The kernel cuts a backlog to `net.core.somaxconn` and says nothing (listen(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// What was asked for; `None`: the most that the kernel grants, or, for an adopted listener, not known.
    pub requested: Option<u32>,
    /// What the kernel granted, read back; `None` where the platform does not tell.
    pub effective: Option<u32>,
}

impl Backlog {
    /// Whether the kernel is known to have granted less than was asked for.
    pub fn is_clamped(&self) -> bool {
        self.requested.zip(self.effective).is_some_and(|(requested, effective)| effective < requested)
    }
}

/// Both numbers: `backlog 8192 requested, 4096 effective`.
impl fmt::Display for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.requested {
            Some(requested) => write!(f, "backlog {requested} requested, ")?,
            None => f.write_str("backlog ")?,
        }
        match self.effective {
            Some(effective) => write!(f, "{effective} effective"),
            None => f.write_str("unknown to this platform"),
        }
    }
}

/// The connections in the queue of a TCP listener, by what their peers did, before anybody accepted them.
///
/// The three counts add up to `queued`. It is put together from several answers of the kernel while clients come and go,
/// so on a busy listener it is right only to within what changed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// All of them.
    pub queued: u32,
    /// Their peer is there as far as one can know.
    pub open: u32,
    /// Their peer has sent a FIN (`CLOSE_WAIT`).
    pub closed: u32,
    /// Their peer has reset them: they take a place in the queue but are no longer in the kernel's tables.
    pub reset: u32,
}

impl Census {
    /// From what the kernel's tables hold, and a depth that was read beside it.
    pub(crate) fn new(open: u32, closed: u32, depth: u32) -> Self {
        let found = open.saturating_add(closed);
        let reset = depth.saturating_sub(found);
        Self { queued: found.saturating_add(reset), open, closed, reset }
    }
}

/// Depth and limit of a TCP listener; `None` where the platform does not tell.
pub(crate) fn tcp_depth_and_limit(listener: BorrowedFd<'_>) -> Option<(u32, u32)> {
    read_tcp_info(&sys::tcp_info(listener)?)
}

/// `TCP_LISTEN` of `include/net/tcp_states.h`.
const LISTEN: u8 = 10;

fn read_tcp_info(info: &TcpInfo) -> Option<(u32, u32)> {
    // A limit of 0 is what a sandbox shows that knows the option but not these fields: nobody here listens with 0.
    match (info.state?, info.unacked?, info.sacked?) {
        (LISTEN, depth, limit @ 1..) => Some((depth, limit)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_clamped_only_if_it_is_known_to_be() {
        let backlog = |requested, effective| Backlog { requested, effective }.is_clamped();
        assert!(backlog(Some(8192), Some(128)));
        assert!(!backlog(Some(128), Some(128)));
        assert!(!backlog(Some(8192), None));
        assert!(!backlog(None, Some(128)));
    }

    #[test]
    fn a_backlog_reads_as_what_was_asked_for_and_what_came_of_it() {
        let text = |requested, effective| Backlog { requested, effective }.to_string();
        assert_eq!(text(Some(8192), Some(128)), "backlog 8192 requested, 128 effective");
        assert_eq!(text(None, Some(4096)), "backlog 4096 effective");
        assert_eq!(text(Some(8192), None), "backlog 8192 requested, unknown to this platform");
    }

    #[test]
    fn the_queue_is_full_when_it_exceeds_its_limit() {
        let queue = |depth, limit| Queue { depth, limit, drops: None }.is_full();
        assert_eq!(queue(Some(4), Some(4)), Some(false));
        assert_eq!(queue(Some(5), Some(4)), Some(true));
        assert_eq!(queue(None, Some(4)), None);
        assert_eq!(Queue::UNKNOWN.is_full(), None);
    }

    #[test]
    fn a_census_adds_up_whatever_moved_meanwhile() {
        for (open, closed, depth) in [(3, 2, 9), (3, 2, 5), (3, 2, 1), (0, 0, 0), (0, 0, 4)] {
            let census = Census::new(open, closed, depth);
            assert_eq!(census.queued, census.open + census.closed + census.reset);
            assert_eq!(census.reset, depth.saturating_sub(open + closed));
        }
    }

    #[test]
    fn only_a_listening_socket_with_a_limit_tells_its_queue() {
        let info = |state, unacked, sacked| TcpInfo { state, unacked, sacked, ..TcpInfo::default() };
        assert_eq!(read_tcp_info(&info(Some(10), Some(3), Some(16))), Some((3, 16)));
        assert_eq!(read_tcp_info(&info(Some(10), Some(0), Some(0))), None);
        assert_eq!(read_tcp_info(&info(Some(1), Some(3), Some(16))), None);
        assert_eq!(read_tcp_info(&info(Some(10), None, Some(16))), None);
        assert_eq!(read_tcp_info(&TcpInfo::default()), None);
    }
}
