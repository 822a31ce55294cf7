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
#[derive(Clone)]
pub struct PeerGone {
    pub(crate) gate: Arc<Gate>,
    pub(crate) key: OpenKey,
    pub(crate) wire: Weak<dyn Wire>,
}

impl Future for PeerGone {
    type Output = Gone;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Gone> {
        self.gate.poll_peer_gone(self.key, &self.wire, cx)
    }
}

impl fmt::Debug for PeerGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerGone").finish_non_exhaustive()
    }
}
