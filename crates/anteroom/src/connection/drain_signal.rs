//! The signal that the server has begun to drain.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

pin_project! {
    /// Resolves when the server begins to drain; at once when it already does.
    ///
    /// Owned and `'static`: it can be held beside whatever owns the connection.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing; a clone starts anew.
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct Draining {
        token: CancellationToken,
        #[pin]
        wait: WaitForCancellationFutureOwned,
    }
}

impl Draining {
    pub(crate) fn new(token: CancellationToken) -> Self {
        Self { wait: token.clone().cancelled_owned(), token }
    }

    /// Whether the drain has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }
}

impl Clone for Draining {
    fn clone(&self) -> Self {
        Self::new(self.token.clone())
    }
}

impl Future for Draining {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().wait.poll(cx)
    }
}
