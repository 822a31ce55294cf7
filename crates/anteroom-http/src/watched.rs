//! The I/O under hyper, which tells the pace what passes through.
//!
//! Owns the connection, and with it the permit: also after an upgrade. Changes no byte, and never
//! ends what has been upgraded.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use anteroom::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::linger::Linger;
use crate::pace::Pace;

#[derive(Debug)]
pub(crate) struct Watched<Io> {
    connection: Connection<Io>,
    pace: Arc<Pace>,
    /// Our side is closed.
    linger: Option<Linger>,
}

impl<Io> Watched<Io> {
    pub(crate) fn new(connection: Connection<Io>, pace: Arc<Pace>) -> Self {
        Self { connection, pace, linger: None }
    }

    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = result {
            self.pace.wrote(Instant::now);
        }
        result
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Watched<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.connection).poll_read(cx, buf))?;
        if let Some(new @ [_, ..]) = buf.filled().get(before..) {
            self.pace.read(new, Instant::now);
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.connection).poll_write(cx, bytes);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.connection).poll_write_vectored(cx, parts);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let linger = match &mut this.linger {
            Some(linger) => linger,
            None => {
                let ours = this.pace.close();
                ready!(Pin::new(&mut this.connection).poll_shutdown(cx))?;
                if !ours {
                    return Poll::Ready(Ok(()));
                }
                this.linger.insert(Linger::begin())
            }
        };
        linger.poll(&mut this.connection, cx).map(Ok)
    }
}
