//! Readiness as a value to look at and to wait for.

use std::fmt;

use tokio::sync::watch;

use crate::observe::{Readiness, Unready};

/// Whether clients are to be sent here, as it changes; see [`Handle::ready`](crate::Handle::ready).
///
/// Cheap to clone. It can be looked at from any thread, also while every worker of the runtime is blocked.
#[derive(Clone)]
pub struct Ready(watch::Receiver<Readiness>);

impl Ready {
    pub(super) fn new(of: watch::Receiver<Readiness>) -> Self {
        Self(of)
    }

    /// As it is now.
    #[must_use]
    pub fn now(&self) -> Readiness {
        *self.0.borrow()
    }

    /// Waits until it is another than was last seen here, and gives it. A change there and back in
    /// between may be missed. After the server has stopped it never resolves.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the next call sees the change.
    pub async fn changed(&mut self) -> Readiness {
        loop {
            let before = *self.0.borrow_and_update();
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let now = *self.0.borrow();
            if now != before {
                return now;
            }
        }
    }

    /// Waits until it is ready; at once if it is. After the server has stopped it never resolves.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn until_ready(&mut self) {
        while !self.now().is_ready() {
            if self.0.changed().await.is_err() || self.now() == Readiness::NotReady(Unready::Stopped) {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ready").field(&self.now()).finish()
    }
}
