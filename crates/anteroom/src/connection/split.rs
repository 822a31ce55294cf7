//! The two halves of a connection, for two tasks.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::permit::Permit;
use super::transport::Transport;

/// The reading half. The place is given back when both halves are dropped.
#[derive(Debug)]
pub struct ReadHalf {
    socket: Arc<Transport>,
    _permit: Permit,
}

/// The writing half. `shutdown` half-closes; dropping it does not, the socket lives as long as the
/// other half.
#[derive(Debug)]
pub struct WriteHalf {
    socket: Arc<Transport>,
    _permit: Permit,
}

pub(super) fn split(socket: Arc<Transport>, permit: Permit) -> (ReadHalf, WriteHalf) {
    let read = ReadHalf { socket: Arc::clone(&socket), _permit: permit.share() };
    (read, WriteHalf { socket, _permit: permit })
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_read(cx, buf)
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_write(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_shutdown(cx)
    }
}
