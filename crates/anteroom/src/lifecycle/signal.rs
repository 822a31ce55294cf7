//! The futures that a handle gives out.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::error::ServeError;
use super::life::Life;
use crate::observe::Report;

pin_project! {
    /// Resolves when everything that was queued has been handed out and nothing will come, or when
    /// the listener is broken: the shutdown signal for foreign accept loops such as `axum::serve`
    /// and tonic, which stop at their signal and would leave ready connections behind.
    ///
    /// It also waits until each connection that an [`Incoming`](crate::Incoming) gave out has been
    /// read from once, for at most a second from its hand-over: such loops close a connection whose
    /// first byte they have not read when they are told to stop, even when its request is there.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing; a clone starts anew.
    #[must_use = "futures do nothing unless polled"]
    pub struct Exhausted {
        life: Arc<Life>,
        #[pin]
        wait: WaitForCancellationFutureOwned,
    }
}

impl Exhausted {
    pub(super) fn new(life: Arc<Life>) -> Self {
        Self { wait: life.exhausted.clone().cancelled_owned(), life }
    }
}

impl Clone for Exhausted {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.life))
    }
}

impl fmt::Debug for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exhausted").finish_non_exhaustive()
    }
}

impl Future for Exhausted {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().wait.poll(cx)
    }
}

pin_project! {
    /// Resolves when the server has stopped, with its report.
    ///
    /// # Cancel safety
    /// Dropping it loses only the report; a clone, or [`Handle::stopped`](crate::Handle::stopped),
    /// gives it again.
    #[must_use = "futures do nothing unless polled"]
    pub struct Stopped {
        life: Arc<Life>,
        #[pin]
        wait: WaitForCancellationFutureOwned,
    }
}

impl Stopped {
    pub(crate) fn new(life: Arc<Life>) -> Self {
        Self { wait: life.stopped.clone().cancelled_owned(), life }
    }
}

impl Clone for Stopped {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.life))
    }
}

impl fmt::Debug for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopped").finish_non_exhaustive()
    }
}

impl Future for Stopped {
    type Output = Result<Report, ServeError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.wait.poll(cx) {
            Poll::Pending => Poll::Pending,
            // The outcome is set before the token is cancelled.
            Poll::Ready(()) => match this.life.outcome() {
                Some(outcome) => Poll::Ready(outcome.clone()),
                None => Poll::Pending,
            },
        }
    }
}
