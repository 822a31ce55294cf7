//! The facts of a connection, apart from its place.

use std::sync::Arc;
use std::time::Duration;

use anteroom_listener::{Address, PeerAddr};

/// What is known of a connection: cheap to clone, may outlive it, and holds no permit, so it can go
/// into request extensions and logs.
#[derive(Clone, Debug)]
pub struct Info(Arc<Facts>);

#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) id: u64,
    pub(crate) peer: PeerAddr,
    pub(crate) local: Arc<Address>,
    pub(crate) listener: Arc<str>,
    pub(crate) kernel_wait: Option<Duration>,
    pub(crate) room_wait: Duration,
}

impl Info {
    pub(crate) fn new(facts: Facts) -> Self {
        Self(Arc::new(facts))
    }

    /// A number that no other connection of this server has: they count up in the order of `accept`.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The peer's address as `accept` returned it: right also when the peer has reset the
    /// connection meanwhile, where `getpeername` fails.
    #[must_use]
    pub fn peer_addr(&self) -> &PeerAddr {
        &self.0.peer
    }

    /// The address that the peer connected to. For a listener on a wildcard address it is the one
    /// that the connection really has.
    #[must_use]
    pub fn local_addr(&self) -> &Address {
        &self.0.local
    }

    /// The name of the listener.
    #[must_use]
    pub fn listener(&self) -> &str {
        &self.0.listener
    }

    /// Time between the end of the handshake and `accept`, in steps of the kernel's clock (1 to
    /// 10 ms). Connections accepted in one batch whose oldest had waited less than 10 ms show the
    /// oldest's; it is zero where the queue had been seen empty less than 1 ms before. `None` for Unix sockets and where the platform does not tell.
    #[must_use]
    pub fn kernel_wait(&self) -> Option<Duration> {
        self.0.kernel_wait
    }

    /// Time in the waiting room.
    #[must_use]
    pub fn room_wait(&self) -> Duration {
        self.0.room_wait
    }
}
