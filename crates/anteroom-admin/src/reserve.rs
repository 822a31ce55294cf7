//! Descriptors that are kept for those who ask when there are no others.
//!
//! Owns the kept ones. What a connection held becomes one again in the moment in which it ends: nobody else can
//! take it in between. Never keeps more than [`KEPT`].

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use rustix::io::{DupFlags, dup3};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// One is set free for each connection that comes when there are no others. Another thread may be faster than
/// `accept`: then the next is tried.
const KEPT: usize = 8;

/// Whose descriptor is given back.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin {
    fn end(self: Box<Self>) -> io::Result<OwnedFd>;
}

impl Wire for TcpStream {
    fn end(self: Box<Self>) -> io::Result<OwnedFd> {
        self.into_std().map(OwnedFd::from)
    }
}

impl Wire for UnixStream {
    fn end(self: Box<Self>) -> io::Result<OwnedFd> {
        self.into_std().map(OwnedFd::from)
    }
}

#[derive(Clone)]
pub(crate) struct Reserve(Rc<Kept>);

struct Kept {
    /// What the kept ones are copies of: opening it anew would take a descriptor.
    nothing: File,
    copies: RefCell<Vec<OwnedFd>>,
}

impl Reserve {
    pub(crate) fn new() -> io::Result<Self> {
        let kept = Kept { nothing: File::open("/dev/null")?, copies: RefCell::new(Vec::with_capacity(KEPT)) };
        kept.copies.borrow_mut().push(kept.nothing.try_clone()?.into());
        let reserve = Self(Rc::new(kept));
        reserve.fill();
        Ok(reserve)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.copies.borrow().len() >= KEPT
    }

    /// Takes what is free, up to as many as are kept.
    pub(crate) fn fill(&self) {
        while !self.is_full() {
            let Ok(copy) = self.0.nothing.try_clone() else { return };
            self.0.copies.borrow_mut().push(copy.into());
        }
    }

    /// Sets one free. `false`: there is none.
    pub(crate) fn give(&self) -> bool {
        self.0.copies.borrow_mut().pop().is_some()
    }

    /// The connection is closed, and its descriptor kept.
    fn take(&self, connection: Box<dyn Wire>) {
        if self.is_full() {
            return;
        }
        let Ok(mut descriptor) = connection.end() else { return };
        if dup3(&self.0.nothing, &mut descriptor, DupFlags::CLOEXEC).is_ok() {
            self.0.copies.borrow_mut().push(descriptor);
        }
    }
}

/// A connection whose descriptor goes to the reserve.
pub(crate) struct Seat {
    connection: Option<Box<dyn Wire>>,
    reserve: Reserve,
}

impl Seat {
    pub(crate) fn new(connection: Box<dyn Wire>, reserve: &Reserve) -> Self {
        Self { connection: Some(connection), reserve: reserve.clone() }
    }

    fn connection(&mut self) -> io::Result<Pin<&mut dyn Wire>> {
        let connection = self.connection.as_deref_mut().ok_or(io::ErrorKind::NotConnected)?;
        Ok(Pin::new(connection))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.reserve.take(connection);
        }
    }
}

impl AsyncRead for Seat {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.connection()?.poll_read(cx, into)
    }
}

impl AsyncWrite for Seat {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.connection()?.poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection()?.poll_shutdown(cx)
    }
}
