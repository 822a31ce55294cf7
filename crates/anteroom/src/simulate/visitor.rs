//! Who comes, and what its socket shows.

use std::net::IpAddr;
use std::time::Duration;

use anteroom_listener::{PeerState, Unread};

/// A client whose connection is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Visitor {
    /// Its name in every answer.
    pub id: u64,
    /// When its handshake ended; what it waits is counted from there.
    pub handshake: Duration,
    /// Its address. `None`: it comes over a Unix socket, where nobody is held to a share and a
    /// half-close is known for one.
    pub from: Option<IpAddr>,
    /// What its socket shows at `accept`.
    pub peer: Peer,
    /// Which service it comes to, from 0.
    pub lane: usize,
}

impl Visitor {
    /// One that has spoken, comes to the first lane, over a Unix socket.
    #[must_use]
    pub const fn new(id: u64, handshake: Duration) -> Self {
        Self { id, handshake, from: None, peer: Peer::Spoke, lane: 0 }
    }

    /// Comes from there.
    #[must_use]
    pub const fn from(mut self, address: IpAddr) -> Self {
        self.from = Some(address);
        self
    }

    /// Its socket shows this.
    #[must_use]
    pub const fn peer(mut self, peer: Peer) -> Self {
        self.peer = peer;
        self
    }

    /// Comes to this lane.
    #[must_use]
    pub const fn lane(mut self, lane: usize) -> Self {
        self.lane = lane;
        self
    }
}

/// What a socket shows of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// It is there and has sent nothing.
    Silent,
    /// It is there and has sent something.
    Spoke,
    /// It sent something and closed: it has left, or it waits for the answer.
    SpokeAndClosed,
    /// It closed and had sent nothing.
    Closed,
    /// It reset the connection.
    Reset,
}

impl Peer {
    pub(super) fn state(self) -> PeerState {
        match self {
            Self::Silent | Self::Spoke => PeerState::Open,
            Self::SpokeAndClosed => PeerState::HalfClosed(Unread::Bytes),
            Self::Closed => PeerState::HalfClosed(Unread::Nothing),
            Self::Reset => PeerState::Reset,
        }
    }
}
