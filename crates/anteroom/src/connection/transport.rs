//! How the bytes of a handed-out connection flow: at once where the kernel can, through tokio's driver where it
//! has to be waited for.
//!
//! Owns the descriptor. Reads and writes; never decides.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use anteroom_listener::{Stream, half_close, read_now, write_now};
use tokio::io::ReadBuf;
use tokio::io::unix::AsyncFd;
use tokio::runtime;
use tokio::task::coop;

use crate::gate::Wire;

/// Parts of one vectored write.
const MOST_PARTS: usize = 1024;

/// Shared by the halves of a split connection; the register of open connections has a weak hold.
#[derive(Debug)]
pub(crate) struct Transport {
    kind: Kind,
    /// A read has come back, with bytes or without.
    heard: AtomicBool,
}

#[derive(Debug)]
enum Kind {
    Kernel(Kernel),
    #[cfg(feature = "test-util")]
    Memory(Mutex<tokio::io::DuplexStream>),
}

/// A socket of the kernel.
#[derive(Debug)]
struct Kernel {
    /// Set when it first has to be waited for. Before the stream, so that the driver forgets it before it is closed.
    driver: OnceLock<AsyncFd<Known>>,
    /// One at a time makes it known: a second registration of one descriptor is refused.
    introducing: Mutex<()>,
    /// The last write filled the send buffer.
    is_full: AtomicBool,
    stream: Stream,
}

/// What the driver knows of the stream that stands beside it.
#[derive(Debug)]
struct Known(RawFd);

impl AsRawFd for Known {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Wire for Transport {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.stream().map(AsFd::as_fd)
    }

    fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }
}

impl Transport {
    pub(super) fn new(stream: Stream) -> Self {
        Self::of(Kind::Kernel(Kernel {
            driver: OnceLock::new(),
            introducing: Mutex::new(()),
            is_full: AtomicBool::new(false),
            stream,
        }))
    }

    fn of(kind: Kind) -> Self {
        Self { kind, heard: AtomicBool::new(false) }
    }

    /// `None` for a connection in memory.
    pub(super) fn stream(&self) -> Option<&Stream> {
        match &self.kind {
            Kind::Kernel(kernel) => Some(&kernel.stream),
            #[cfg(feature = "test-util")]
            Kind::Memory(_) => None,
        }
    }

    /// The stream, which no driver knows any more.
    pub(super) fn into_stream(self) -> Result<Stream, Self> {
        match self.kind {
            Kind::Kernel(Kernel { driver, stream, .. }) => {
                drop(driver);
                Ok(stream)
            }
            #[cfg(feature = "test-util")]
            kind @ Kind::Memory(_) => Err(Self { kind, heard: self.heard }),
        }
    }

    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = match &self.kind {
            Kind::Kernel(kernel) => kernel.poll_read(cx, buf),
            #[cfg(feature = "test-util")]
            Kind::Memory(stream) => {
                tokio::io::AsyncRead::poll_read(std::pin::Pin::new(&mut *lock(stream)), cx, buf)
            }
        };
        if read.is_ready() && !self.is_heard() {
            self.heard.store(true, Ordering::Relaxed);
        }
        read
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &self.kind {
            Kind::Kernel(kernel) => kernel.poll_write(cx, parts),
            #[cfg(feature = "test-util")]
            Kind::Memory(stream) => {
                tokio::io::AsyncWrite::poll_write_vectored(std::pin::Pin::new(&mut *lock(stream)), cx, parts)
            }
        }
    }

    /// Half-closes: the peer reads the end, and can still be read from.
    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _only_memory_waits = &cx;
        let result = match &self.kind {
            Kind::Kernel(kernel) => half_close(&kernel.stream),
            #[cfg(feature = "test-util")]
            Kind::Memory(stream) => {
                return tokio::io::AsyncWrite::poll_shutdown(std::pin::Pin::new(&mut *lock(stream)), cx);
            }
        };
        Poll::Ready(match result {
            // The peer was faster: there is nothing left to shut.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        })
    }
}

impl Kernel {
    /// Most clients have sent something by the time they are served, so the kernel is asked first, and not the driver,
    /// which reports a socket that it was given a turn later. Also behind bytes that have been read: the client may have
    /// left, and whoever asks for its end is to see it before the request is handled for nobody.
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        if self.driver.get().is_none() {
            let progress = ready!(coop::poll_proceed(cx));
            match read_now(&self.stream, buf) {
                Err(error) if is_passing(&error) => {}
                read => {
                    progress.made_progress();
                    return Poll::Ready(read.map(drop));
                }
            }
        }
        let driver = self.driver()?;
        loop {
            let mut ready = ready!(driver.poll_read_ready(cx))?;
            match read_now(&self.stream, buf) {
                Err(error) if is_passing(&error) => ready.clear_ready(),
                // A read that comes back short has emptied the receive buffer, so the readiness is over without a
                // further system call; that the peer has closed stays known.
                Ok(read) if 0 < read && read < room => {
                    ready.clear_ready();
                    return Poll::Ready(Ok(()));
                }
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }

    /// There is room until a write says otherwise.
    fn poll_write(&self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        // The kernel takes no more in one call (`UIO_MAXIOV`), and refuses all of them if there are.
        let parts = parts.get(..MOST_PARTS).unwrap_or(parts);
        let wanted: usize = parts.iter().map(|part| part.len()).sum();
        if !self.is_full.load(Ordering::Relaxed) {
            let progress = ready!(coop::poll_proceed(cx));
            match write_now(&self.stream, parts) {
                Err(error) if is_passing(&error) => {}
                written => {
                    progress.made_progress();
                    self.is_full.store(matches!(written, Ok(written) if written < wanted), Ordering::Relaxed);
                    return Poll::Ready(written);
                }
            }
        }
        let driver = self.driver()?;
        loop {
            let mut ready = ready!(driver.poll_write_ready(cx))?;
            match write_now(&self.stream, parts) {
                Err(error) if is_passing(&error) => {
                    self.is_full.store(true, Ordering::Relaxed);
                    ready.clear_ready();
                }
                written => {
                    let is_full = matches!(written, Ok(written) if written < wanted);
                    self.is_full.store(is_full, Ordering::Relaxed);
                    if is_full {
                        ready.clear_ready();
                    }
                    return Poll::Ready(written);
                }
            }
        }
    }

    /// The driver of the runtime that is current when this is first asked.
    ///
    /// # Errors
    /// There is no runtime, it is shutting down, or epoll has no room (`fs.epoll.max_user_watches`).
    ///
    /// # Panics
    /// In a runtime without I/O, as tokio's own sockets.
    fn driver(&self) -> io::Result<&AsyncFd<Known>> {
        if let Some(driver) = self.driver.get() {
            return Ok(driver);
        }
        let _one_at_a_time = self.introducing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driver) = self.driver.get() {
            return Ok(driver);
        }
        runtime::Handle::try_current().map_err(io::Error::other)?;
        #[allow(
            deprecated,
            reason = "the safe form; the stream beside it keeps the descriptor open and the same, as the unsafe one asks"
        )]
        let driver = AsyncFd::new(Known(self.stream.as_raw_fd()))?;
        Ok(self.driver.get_or_init(|| driver))
    }
}

/// Nothing there, or a signal came: the driver will tell.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Connections without sockets.
#[cfg(feature = "test-util")]
mod memory {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use tokio::io::DuplexStream;

    use super::{Kind, Transport};

    impl Transport {
        pub(crate) fn in_memory(stream: DuplexStream) -> Self {
            Self::of(Kind::Memory(Mutex::new(stream)))
        }
    }

    pub(super) fn lock(stream: &Mutex<DuplexStream>) -> MutexGuard<'_, DuplexStream> {
        stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
#[cfg(feature = "test-util")]
use self::memory::lock;
