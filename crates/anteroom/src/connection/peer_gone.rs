//! The signal that a peer has gone, for handlers that are busy with something else.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use crate::gate::{Gate, Gone, OpenKey, Wire};

/// Resolves when the peer has closed its sending side or reset the connection, without anybody
/// reading and without waking for bytes; also when this side has dropped the connection.
///
/// What a half-close means is up to the protocol: an HTTP client that closed has usually left, one
/// of a raw protocol may still read. The first poll asks the acceptor's epoll set to watch the
/// socket (1.3 µs); who never asks pays nothing.
///
/// Owned and `'static`; it does not keep the socket open.
///
/// # Cancel safety
/// Dropping it loses nothing; a clone can be awaited again.
///
/// # Platform
/// Linux. Elsewhere a peer is not seen to go and this resolves only when the connection is dropped.
#[must_use = "futures do nothing unless polled"]
pub struct PeerGone {
    gate: Arc<Gate>,
    key: OpenKey,
    wire: Weak<dyn Wire>,
    /// Under which the gate knows this one's waker, once it has been polled.
    number: Option<u64>,
}

impl PeerGone {
    pub(super) fn new(gate: Arc<Gate>, key: OpenKey, wire: Weak<dyn Wire>) -> Self {
        Self { gate, key, wire, number: None }
    }
}

impl Clone for PeerGone {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.gate), self.key, self.wire.clone())
    }
}

impl Drop for PeerGone {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.gate.forget_peer_gone(self.key, number);
        }
    }
}

impl Future for PeerGone {
    type Output = Gone;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Gone> {
        let Self { gate, key, wire, number } = self.get_mut();
        gate.poll_peer_gone(*key, wire, number, cx)
    }
}

impl fmt::Debug for PeerGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerGone").finish_non_exhaustive()
    }
}
