//! The socket of a handed-out connection, on tokio's driver.
//!
//! Owns the descriptor. Reads and writes; never decides.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use anteroom_listener::Stream;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::gate::Wire;

/// The socket of a [`Connection`](crate::Connection): TCP or Unix, or in tests memory.
///
/// Opaque, so that a further kind of socket breaks nobody. `socket2::SockRef::from(&socket)` sets
/// options on it.
#[derive(Debug)]
pub struct Socket(pub(crate) Arc<Inner>);

/// Shared by the halves of a split connection; the register of open connections has a weak hold.
#[derive(Debug)]
pub(crate) struct Inner {
    kind: Kind,
    /// A read has come back, with bytes or without.
    heard: AtomicBool,
    /// A write has been tried.
    spoken: AtomicBool,
}

/// The most that is read before the driver has reported a socket for the first time: the buffer is
/// zeroed for it.
const AT_FIRST: usize = 8 * 1024;

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(feature = "test-util")]
    Memory(std::sync::Mutex<tokio::io::DuplexStream>),
}

impl Wire for Inner {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            Kind::Tcp(stream) => Some(stream.as_fd()),
            Kind::Unix(stream) => Some(stream.as_fd()),
            #[cfg(feature = "test-util")]
            Kind::Memory(_) => None,
        }
    }

    fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }
}

impl Socket {
    /// Registers the socket with the driver of the current runtime.
    ///
    /// # Errors
    /// The runtime is shutting down, or epoll has no room (`fs.epoll.max_user_watches`). The socket
    /// is closed.
    ///
    /// # Panics
    /// Outside a runtime with I/O: callers check that.
    pub(crate) fn register(stream: Stream) -> io::Result<Self> {
        let kind = match stream {
            Stream::Tcp(stream) => Kind::Tcp(TcpStream::from_std(stream)?),
            Stream::Unix(stream) => Kind::Unix(UnixStream::from_std(stream)?),
            _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "unknown kind of socket")),
        };
        Ok(Self::new(kind))
    }

    fn new(kind: Kind) -> Self {
        Self(Arc::new(Inner { kind, heard: AtomicBool::new(false), spoken: AtomicBool::new(false) }))
    }

    /// The TCP stream, if it is one.
    #[must_use]
    pub fn as_tcp(&self) -> Option<&TcpStream> {
        match &self.0.kind {
            Kind::Tcp(stream) => Some(stream),
            _ => None,
        }
    }

    /// The Unix stream, if it is one.
    #[must_use]
    pub fn as_unix(&self) -> Option<&UnixStream> {
        match &self.0.kind {
            Kind::Unix(stream) => Some(stream),
            _ => None,
        }
    }

    /// The TCP stream itself, for code that wants nothing else.
    ///
    /// # Errors
    /// Gives the socket back when it is not TCP, or when the other half of a split or a
    /// [`PeerGone`](crate::PeerGone) that is being polled at this moment holds it too.
    pub fn try_into_tcp(self) -> Result<TcpStream, Self> {
        if !matches!(self.0.kind, Kind::Tcp(_)) {
            return Err(self);
        }
        match Arc::try_unwrap(self.0) {
            Ok(Inner { kind: Kind::Tcp(stream), .. }) => Ok(stream),
            Ok(other) => Err(Self(Arc::new(other))),
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

/// Reads what the kernel has.
///
/// A read that comes back short has emptied the receive buffer, so readiness is cleared without a
/// further system call: tokio's own streams do the same where they are not shared.
macro_rules! poll_read {
    ($stream:expr, $cx:expr, $buf:expr) => {
        loop {
            ready!($stream.poll_read_ready($cx))?;
            let room = $buf.remaining();
            let before = $buf.filled().len();
            let result = $stream.try_io(Interest::READABLE, || match $stream.try_read_buf($buf) {
                Ok(read) if 0 < read && read < room => Err(io::ErrorKind::WouldBlock.into()),
                other => other,
            });
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && $buf.filled().len() == before => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Poll::Ready(Ok(())),
                other => break Poll::Ready(other.map(drop)),
            }
        }
    };
}

macro_rules! poll_write {
    ($stream:expr, $cx:expr, $write:expr) => {
        loop {
            ready!($stream.poll_write_ready($cx))?;
            match $write {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => break Poll::Ready(other),
            }
        }
    };
}

impl Inner {
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.is_heard() {
            if let Some(read) = self.read_at_once(buf) {
                self.heard.store(true, Ordering::Relaxed);
                return Poll::Ready(read);
            }
        }
        let read = match &self.kind {
            Kind::Tcp(stream) => poll_read!(stream, cx, buf),
            Kind::Unix(stream) => poll_read!(stream, cx, buf),
            #[cfg(feature = "test-util")]
            Kind::Memory(stream) => Pin::new(&mut *memory::lock(stream)).poll_read(cx, buf),
        };
        if read.is_ready() && !self.is_heard() {
            self.heard.store(true, Ordering::Relaxed);
        }
        read
    }

    /// Most clients have sent something by the time they are served. The driver reports a socket that
    /// it was given a turn later, so the first read does not wait for that: it saves a sleep and a
    /// wake-up per connection. `None`: nothing is there yet.
    fn read_at_once(&self, buf: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        let fd = self.fd()?;
        let room = buf.remaining().min(AT_FIRST);
        match anteroom_listener::read_now(fd, buf.initialize_unfilled_to(room)) {
            Ok(read) => {
                buf.advance(read);
                Some(Ok(()))
            }
            Err(error) if is_passing(&error) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// The same for the first write.
    fn write_at_once(&self, parts: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
        if self.spoken.load(Ordering::Relaxed) {
            return None;
        }
        let fd = self.fd()?;
        self.spoken.store(true, Ordering::Relaxed);
        match anteroom_listener::write_now(fd, parts) {
            Err(error) if is_passing(&error) => None,
            written => Some(written),
        }
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(written) = self.write_at_once(&[IoSlice::new(bytes)]) {
            return Poll::Ready(written);
        }
        match &self.kind {
            Kind::Tcp(stream) => poll_write!(stream, cx, stream.try_write(bytes)),
            Kind::Unix(stream) => poll_write!(stream, cx, stream.try_write(bytes)),
            #[cfg(feature = "test-util")]
            Kind::Memory(stream) => Pin::new(&mut *memory::lock(stream)).poll_write(cx, bytes),
        }
    }

    pub(crate) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(written) = self.write_at_once(parts) {
            return Poll::Ready(written);
        }
        match &self.kind {
            Kind::Tcp(stream) => poll_write!(stream, cx, stream.try_write_vectored(parts)),
            Kind::Unix(stream) => poll_write!(stream, cx, stream.try_write_vectored(parts)),
            #[cfg(feature = "test-util")]
            Kind::Memory(stream) => Pin::new(&mut *memory::lock(stream)).poll_write_vectored(cx, parts),
        }
    }

    /// Half-closes: the peer reads the end, and can still be read from.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _only_memory_waits = &cx;
        let result = match &self.kind {
            Kind::Tcp(stream) => socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write),
            Kind::Unix(stream) => socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write),
            #[cfg(feature = "test-util")]
            Kind::Memory(stream) => return Pin::new(&mut *memory::lock(stream)).poll_shutdown(cx),
        };
        Poll::Ready(match result {
            // The peer was faster: there is nothing left to shut.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        })
    }
}

/// Nothing there, or a signal came: the driver will tell.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write_vectored(cx, parts)
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
pub(crate) mod memory {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use tokio::io::DuplexStream;

    use super::{Kind, Socket};

    pub(crate) fn socket(stream: DuplexStream) -> Socket {
        Socket::new(Kind::Memory(Mutex::new(stream)))
    }

    pub(super) fn lock(stream: &Mutex<DuplexStream>) -> MutexGuard<'_, DuplexStream> {
        stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
