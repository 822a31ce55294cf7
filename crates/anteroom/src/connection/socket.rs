//! The socket of a handed-out connection.
//!
//! What a handler reads from and writes to. Never decides anything of its own: [`Transport`] does the I/O.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anteroom_listener::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::transport::Transport;
use crate::gate::Wire;

/// The socket of a [`Connection`](crate::Connection): TCP or Unix, or in tests memory.
///
/// Opaque, so that a further kind of socket breaks nobody. `socket2::SockRef::from(&socket)` sets
/// options on it.
///
/// It is given to the runtime's I/O driver when it first has to wait, by whoever waits then. A connection whose
/// request is there when it is served, and whose answer fits into the send buffer, never is: that saves two
/// system calls and a turn of the driver. If the driver cannot take it (`fs.epoll.max_user_watches`, a runtime that
/// is shutting down), the read or the write that would have waited fails.
#[derive(Debug)]
pub struct Socket(pub(super) Arc<Transport>);

impl Socket {
    pub(super) fn new(stream: Stream) -> Self {
        Self(Arc::new(Transport::new(stream)))
    }

    /// The TCP stream, if it is one: non-blocking, for what can be asked of it without waiting.
    #[must_use]
    pub fn as_tcp(&self) -> Option<&std::net::TcpStream> {
        match self.0.stream() {
            Some(Stream::Tcp(stream)) => Some(stream),
            _ => None,
        }
    }

    /// The Unix stream, if it is one: non-blocking, for what can be asked of it without waiting.
    #[must_use]
    pub fn as_unix(&self) -> Option<&std::os::unix::net::UnixStream> {
        match self.0.stream() {
            Some(Stream::Unix(stream)) => Some(stream),
            _ => None,
        }
    }

    /// The TCP stream itself, for code that wants nothing else: [`tokio::net::TcpStream::from_std`] gives it to a
    /// runtime.
    ///
    /// # Errors
    /// Gives the socket back when it is not TCP, or when the other half of a split or a
    /// [`PeerGone`](crate::PeerGone) that is being polled at this moment holds it too.
    pub fn try_into_tcp(self) -> Result<std::net::TcpStream, Self> {
        if self.as_tcp().is_none() {
            return Err(self);
        }
        match Arc::try_unwrap(self.0).map(Transport::into_stream) {
            Ok(Ok(Stream::Tcp(stream))) => Ok(stream),
            Ok(Ok(stream)) => Err(Self::new(stream)),
            Ok(Err(other)) => Err(Self(Arc::new(other))),
            Err(shared) => Err(Self(shared)),
        }
    }
}

impl AsFd for Socket {
    /// # Panics
    /// For the memory connection of tests, which has no descriptor.
    fn as_fd(&self) -> BorrowedFd<'_> {
        #[expect(clippy::expect_used, reason = "only a test without sockets can get here")]
        self.0.fd().expect("a connection in memory has no descriptor")
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}

/// Connections without sockets.
#[cfg(feature = "test-util")]
pub(crate) fn in_memory(stream: tokio::io::DuplexStream) -> Socket {
    Socket(Arc::new(Transport::in_memory(stream)))
}
