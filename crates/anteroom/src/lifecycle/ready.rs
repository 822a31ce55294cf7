//! Readiness as a value to look at and to wait for.

use tokio::sync::watch;

use crate::observe::Readiness;

/// Whether clients are to be sent here, as it changes; see [`Handle::ready`](crate::Handle::ready).
///
/// Cheap to clone. It can be looked at from any thread, also while every worker of the runtime is blocked.
#[derive(Clone, Debug)]
pub struct Ready {
    told: watch::Receiver<Readiness>,
    /// What [`changed`](Self::changed) gave last.
    seen: Readiness,
}

impl Ready {
    pub(super) fn new(told: watch::Receiver<Readiness>) -> Self {
        let seen = *told.borrow();
        Self { told, seen }
    }

    /// As it is now.
    #[must_use]
    pub fn now(&self) -> Readiness {
        *self.told.borrow()
    }

    /// Waits until it is another than this gave last (at first: than it was when this was made), and gives
    /// it. A change there and back in between is missed. After the server has stopped, which is the last
    /// change, it never resolves.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the next call gives the change.
    pub async fn changed(&mut self) -> Readiness {
        let seen = self.seen;
        let now = self.wait(|now| now != seen).await;
        self.seen = now;
        now
    }

    /// Waits until it is ready; at once if it is. After the server has stopped it never resolves.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn until_ready(&mut self) {
        self.seen = self.wait(Readiness::is_ready).await;
    }

    async fn wait(&mut self, is: impl Fn(Readiness) -> bool) -> Readiness {
        match self.told.wait_for(|now| is(*now)).await {
            Ok(now) => *now,
            // Nobody will tell any more.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::observe::Unready;

    fn poll<F: Future>(future: F) -> Poll<F::Output> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_change_before_the_call_is_not_missed_and_one_there_and_back_is() {
        let tell = watch::Sender::new(Readiness::NotReady(Unready::Starting));
        let mut ready = Ready::new(tell.subscribe());
        assert_eq!(poll(ready.changed()), Poll::Pending);
        tell.send_replace(Readiness::Ready);
        assert_eq!(ready.now(), Readiness::Ready);
        assert_eq!(poll(ready.changed()), Poll::Ready(Readiness::Ready));
        tell.send_replace(Readiness::NotReady(Unready::Paused));
        tell.send_replace(Readiness::Ready);
        assert_eq!(poll(ready.changed()), Poll::Pending);
        assert_eq!(poll(ready.until_ready()), Poll::Ready(()));
    }

    #[test]
    fn the_last_change_is_told_and_then_nothing() {
        let tell = watch::Sender::new(Readiness::Ready);
        let mut ready = Ready::new(tell.subscribe());
        tell.send_replace(Readiness::NotReady(Unready::Stopped));
        drop(tell);
        assert_eq!(poll(ready.changed()), Poll::Ready(Readiness::NotReady(Unready::Stopped)));
        assert_eq!(poll(ready.changed()), Poll::Pending);
        assert_eq!(poll(ready.until_ready()), Poll::Pending);
    }
}
