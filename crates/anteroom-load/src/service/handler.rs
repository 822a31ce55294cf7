//! The handler: it works for a time, and answers with one byte.
//!
//! Owns: the work.
//! Never: how many work at a time; the loop does.

use super::{calls::Calls, gate::Gate};
use std::{future::poll_fn, io, net::SocketAddr, pin::Pin, task::Poll, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

#[derive(Debug)]
pub(super) struct Handler {
    takes: Duration,
    gate: Gate,
    calls: Calls,
}

impl Handler {
    pub(super) fn new(takes: Duration) -> Self {
        Self { takes, gate: Gate::default(), calls: Calls::default() }
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(super) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// The client may be long gone: like a service that looks at its socket only when the result is there, it
    /// works all the same.
    pub(super) async fn work(
        &self,
        peer: SocketAddr,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> io::Result<()> {
        self.calls.note(peer);
        self.gate.pass();
        tokio::time::sleep(self.takes).await;
        self.gate.pass();
        take_what_is_there(&mut stream).await?;
        stream.write_all(b"y").await
    }
}

/// Bytes that nobody read would turn the close into a reset.
async fn take_what_is_there(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut bytes = [0_u8; 1024];
    poll_fn(|context| {
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
            Poll::Ready(read) => Poll::Ready(read),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    })
    .await
}
