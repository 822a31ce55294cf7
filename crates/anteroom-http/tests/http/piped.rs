//! A body that is written while it is sent.
//!
//! Owns the pipe. A frame is what the pipe holds.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use http_body::Frame;
use tokio::io::{AsyncRead, DuplexStream, ReadBuf, duplex};

/// Most of one frame.
const FRAME: usize = 4096;

#[derive(Debug)]
pub(crate) struct Piped(DuplexStream);

impl Piped {
    /// The body that `write` writes, and ends with its end.
    pub(crate) fn body<F>(write: impl FnOnce(DuplexStream) -> F) -> Body
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let (theirs, ours) = duplex(FRAME);
        tokio::spawn(write(theirs));
        Body::new(Self(ours))
    }
}

impl http_body::Body for Piped {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut bytes = [0; FRAME];
        let mut buf = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buf))?;
        let data = Bytes::copy_from_slice(buf.filled());
        Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
    }
}
