//! The new program as a child of the old one.

use std::{
    future::Future,
    pin::Pin,
    process::Command,
    task::{Context, Poll},
    time::Duration,
};

use super::{Estate, HandoverError, HandoverErrorKind, steps::Side};

/// The new program runs and serves.
#[derive(Clone, Debug)]
pub struct Upgraded {
    pid: u32,
}

impl Upgraded {
    /// The process id of the new program.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

/// An upgrade under way.
#[must_use = "it tells whether the new program serves"]
#[derive(Debug)]
pub struct Upgrade {
    outcome: Option<Result<Upgraded, HandoverError>>,
}

impl Upgrade {
    /// Waits on this thread.
    ///
    /// # Errors
    /// As the future.
    pub fn wait(self) -> Result<Upgraded, HandoverError> {
        self.outcome.unwrap_or_else(|| Err(HandoverError::of(Side::Old, HandoverErrorKind::TimedOut)))
    }
}

impl Future for Upgrade {
    type Output = Result<Upgraded, HandoverError>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.outcome.take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// Starts `command` and hands over to it, on a thread of its own.
pub(crate) fn upgrade(_: Box<dyn Estate>, _: Command, _: Duration) -> Upgrade {
    Upgrade { outcome: Some(Err(HandoverError::of(Side::Old, HandoverErrorKind::Spawn))) }
}
