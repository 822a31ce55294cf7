//! What a handler gets: the I/O, the permit, and what is known of the connection.

use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use anteroom_listener::{Address, PeerAddr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::drain_signal::Draining;
use super::info::{Facts, Info};
use super::outlet::Outlet;
use super::peer_gone::PeerGone;
use super::permit::Permit;
use super::socket::Socket;
use super::split::{self, ReadHalf, WriteHalf};
use crate::admit::Cause;
use crate::gate::{HandOver, OpenKey, Parked, Wire};

/// An accepted connection, its place included.
///
/// It reads and writes. The place is given back when it is dropped, wherever it is by then: inside
/// a TLS stream, after an upgrade, in another task.
///
/// `Io` is the [`Socket`] until somebody wraps it: [`map`](Self::map) and [`try_map`](Self::try_map)
/// keep the permit and the addresses at the top for every wrapper.
///
/// # Examples
/// ```
/// use anteroom::Connection;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// async fn echo_line(mut connection: Connection) -> std::io::Result<()> {
///     let mut line = [0; 1024];
///     let read = connection.read(&mut line).await?;
///     connection.write_all(&line[..read]).await
/// }
/// ```
#[derive(Debug)]
pub struct Connection<Io = Socket> {
    io: Io,
    permit: Permit,
    info: Info,
}

impl<Io> Connection<Io> {
    /// What is known of it; a clone may outlive it.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// See [`Info::peer_addr`].
    pub fn peer_addr(&self) -> &PeerAddr {
        self.info.peer_addr()
    }

    /// See [`Info::local_addr`].
    pub fn local_addr(&self) -> &Address {
        self.info.local_addr()
    }

    /// The name of the listener that it came from.
    pub fn listener(&self) -> &str {
        self.info.listener()
    }

    /// Resolves when the server begins to drain: finish what is under way, start nothing new.
    pub fn draining(&self) -> Draining {
        Draining::new(self.permit.outlet.draining.clone())
    }

    /// Resolves when the peer goes away, without reading and while somebody else reads.
    pub fn peer_gone(&self) -> PeerGone {
        let Permit { outlet, key, wire } = &self.permit;
        PeerGone::new(Arc::clone(&outlet.gate), *key, wire.clone())
    }

    /// Ends the connection as refused: it is counted under `cause` instead of as served, and the
    /// peer sees a reset, if nobody has shared the socket with somebody else.
    pub fn refuse(self, cause: Cause) {
        let Permit { outlet, key, wire } = &self.permit;
        outlet.gate.refuse_open(*key, *self.info.peer_addr(), cause);
        let wire = wire.upgrade();
        if let Some(fd) = wire.as_ref().and_then(|wire| wire.fd()) {
            // A peer that is gone already needs no reset.
            let _gone_already = anteroom_listener::reset_on_close(fd);
        }
    }

    /// The I/O.
    pub fn io(&self) -> &Io {
        &self.io
    }

    /// The I/O.
    pub fn io_mut(&mut self) -> &mut Io {
        &mut self.io
    }

    /// Wraps the I/O.
    pub fn map<T>(self, wrap: impl FnOnce(Io) -> T) -> Connection<T> {
        let Self { io, permit, info } = self;
        Connection { io: wrap(io), permit, info }
    }

    /// Wraps the I/O by something that takes time and may fail, such as a TLS handshake.
    ///
    /// # Errors
    /// The wrapper's. The place is given back.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    pub async fn try_map<T, E, F>(self, wrap: impl FnOnce(Io) -> F) -> Result<Connection<T>, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let Self { io, permit, info } = self;
        Ok(Connection { io: wrap(io).await?, permit, info })
    }

    /// Takes it apart. The place is free when the permit is dropped, even if the I/O lives on.
    #[must_use = "dropping the permit frees the place while the io lives on"]
    pub fn into_parts(self) -> (Io, Permit, Info) {
        (self.io, self.permit, self.info)
    }

    /// The inverse of [`into_parts`](Self::into_parts).
    pub fn from_parts(io: Io, permit: Permit, info: Info) -> Self {
        Self { io, permit, info }
    }
}

impl Connection<Socket> {
    /// Two halves for two tasks, which share the place.
    #[must_use]
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        split::split(self.io.0, self.permit)
    }

    /// Puts a connection together that has left the room.
    pub(crate) fn hand_over(outlet: &Arc<Outlet>, handed: HandOver<'_>) -> Self {
        let HandOver { parked, port, key, room_wait } = handed;
        let Parked { id, stream, peer, kernel_wait, .. } = parked;
        let local = match port.address.is_wildcard() {
            true => stream.local_addr().map_or_else(|_| Arc::clone(&port.address), Arc::new),
            false => Arc::clone(&port.address),
        };
        let listener = Arc::clone(&port.name);
        let info = Info::new(Facts { id, peer, local, listener, kernel_wait, room_wait });
        Self::assemble(outlet, key, Socket::new(stream), info)
    }

    pub(crate) fn assemble(outlet: &Arc<Outlet>, key: OpenKey, socket: Socket, info: Info) -> Self {
        let wire = Arc::downgrade(&socket.0) as Weak<dyn Wire>;
        Self { io: socket, permit: Permit { outlet: Arc::clone(outlet), key, wire }, info }
    }

    pub(crate) fn wire(&self) -> Weak<dyn Wire> {
        self.permit.wire.clone()
    }

    pub(crate) fn key(&self) -> OpenKey {
        self.permit.key
    }

    pub(super) fn outlet(&self) -> &Arc<Outlet> {
        &self.permit.outlet
    }
}

impl AsFd for Connection<Socket> {
    /// # Panics
    /// For the memory connection of tests, which has no descriptor.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Connection<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Connection<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

const _: fn() = || {
    fn fits<T: Send + Sync + Unpin + 'static>() {}
    fits::<Connection>();
};
