//! The end of a connection whose last answer has been written.
//!
//! Owns how long its client's own close is waited for (RFC 9112, section 9.6). Keeps no byte.
//!
//! A socket that is closed while bytes of the client are unread, or before they arrive, answers them
//! with a reset, and the kernel throws away what it had not yet sent: the end of an answer, when the
//! client still sends the rest of a body, or HTTP/2's window updates for that very answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Without a byte of the client.
const SILENCE: Duration = Duration::from_secs(1);
/// In all.
const MOST: Duration = Duration::from_secs(10);
/// What is thrown away at a time.
const BUFFER: usize = 4096;

/// See the module.
#[derive(Debug)]
pub(crate) struct Linger {
    until: Instant,
    silence: Pin<Box<Sleep>>,
}

impl Linger {
    /// Our side has just been closed.
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { until: now + MOST, silence: Box::pin(sleep_until(now + SILENCE)) }
    }

    /// Ready when the client has closed, or has had its time.
    pub(crate) fn poll(&mut self, io: &mut (impl AsyncRead + Unpin), cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut bytes = [0; BUFFER];
            let mut unread = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *io).poll_read(cx, &mut unread) {
                Poll::Ready(Ok(())) if !unread.filled().is_empty() => {
                    let now = Instant::now();
                    if now >= self.until {
                        return Poll::Ready(());
                    }
                    self.silence.as_mut().reset(self.until.min(now + SILENCE));
                }
                // A reset is an end as well.
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.silence.as_mut().poll(cx),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::sleep;

    use super::*;

    /// How long it lasts with a client that sends so often, and then closes or stays silent.
    async fn lasts(times: u32, closes: impl AsyncFnOnce(DuplexStream)) -> Duration {
        let (mut ours, mut theirs) = duplex(64);
        let began = Instant::now();
        let mut linger = Linger::begin();
        let client = async {
            for _ in 0..times {
                sleep(SILENCE / 2).await;
                theirs.write_all(&[0; 32]).await.expect("it is read");
            }
            closes(theirs).await;
        };
        tokio::select! {
            () = poll_fn(|cx| linger.poll(&mut ours, cx)) => began.elapsed(),
            () = async { client.await; std::future::pending().await } => unreachable!(),
        }
    }

    async fn stay_silent(_client: DuplexStream) {
        std::future::pending().await
    }

    fn is_about(time: Duration, expected: Duration) -> bool {
        time >= expected && time < expected + SILENCE / 10
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_closes_is_waited_for_and_no_longer() {
        let took = lasts(5, async |client| drop(client)).await;
        assert!(is_about(took, 5 * SILENCE / 2), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_silent_has_a_second() {
        for times in [0, 1] {
            let took = lasts(times, stay_silent).await;
            assert!(is_about(took, times * SILENCE / 2 + SILENCE), "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_stops_has_ten() {
        let took = lasts(100, stay_silent).await;
        assert!(is_about(took, MOST), "{took:?}");
    }
}
