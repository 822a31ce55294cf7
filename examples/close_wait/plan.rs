//! Who does what, and when: the same for all servers.
//!
//! Owns: the kinds of clients, how a server tells them apart, and the times.
//! Never: sockets.

use anteroom_load::client::Leaving;
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// Runtime workers of each server.
pub(crate) const WORKERS: usize = 2;

/// How long they are all blocked. Longer than the clients need, so that also on a machine that is slow today all
/// of them have come, left, and been gone for a second.
pub(crate) const STALL: Duration = Duration::from_secs(6);

/// Over how long the clients that will give up arrive.
pub(crate) const ARRIVALS: Duration = Duration::from_millis(1_500);

/// How long each of them waits before it gives up.
pub(crate) const PATIENCE: Duration = Duration::from_millis(300);

/// How many of them each server gets at least. It is more where a plain loop's queue is long: twice its limit.
pub(crate) const CLIENTS_AT_LEAST: u32 = 2_400;

/// How long before the end of the stall the living client asks that has to wait.
pub(crate) const ASKS_BEFORE_END: Duration = Duration::from_millis(300);

/// What clients there are. A server knows the kind by the source address: of a client that says nothing there is
/// nothing else to know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Closes without a byte.
    Silent,
    /// Resets.
    Reset,
    /// Sends a request and closes.
    Sent,
    /// Its handler blocks a worker.
    Blocker,
    /// Stays for the answer.
    Live,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Silent, Self::Reset, Self::Sent, Self::Blocker, Self::Live];

    /// Those that give up, in the order of every table.
    pub(crate) const LEAVE: [Self; 3] = [Self::Silent, Self::Reset, Self::Sent];

    pub(crate) fn source(self) -> IpAddr {
        let last = match self {
            Self::Silent => 1,
            Self::Reset => 2,
            Self::Sent => 3,
            Self::Blocker => 4,
            Self::Live => 5,
        };
        IpAddr::V4(Ipv4Addr::new(127, 0, 1, last))
    }

    pub(crate) fn of_source(source: IpAddr) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.source() == source)
    }

    /// `None` for those that stay.
    pub(crate) fn leaving(self) -> Option<Leaving> {
        match self {
            Self::Silent => Some(Leaving::Silent),
            Self::Reset => Some(Leaving::Reset),
            Self::Sent => Some(Leaving::SendAndClose),
            Self::Blocker | Self::Live => None,
        }
    }
}

/// How many clients give up on each server, when the longest queue of a plain loop has this limit.
pub(crate) fn clients(longest_plain_limit: u32) -> u32 {
    CLIENTS_AT_LEAST.max(longest_plain_limit.saturating_mul(2)).next_multiple_of(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_address_names_its_kind() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_source(kind.source()), Some(kind));
        }
        assert_eq!(Kind::of_source(IpAddr::V4(Ipv4Addr::LOCALHOST)), None);
    }

    #[test]
    fn there_are_clients_enough_to_overflow_a_long_queue_and_three_equal_thirds() {
        for limit in [128, 1_024, 4_096, 10_000] {
            assert!(clients(limit) > limit + 1, "{limit}");
            assert_eq!(clients(limit) % 3, 0);
        }
    }

    #[test]
    fn everyone_has_left_and_is_past_a_second_of_age_before_the_stall_ends() {
        assert!(ARRIVALS + PATIENCE + Duration::from_secs(1) < STALL - ASKS_BEFORE_END);
    }
}
