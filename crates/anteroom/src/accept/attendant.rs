//! The taker of a lane at its desk: a runtime that is prompt accepts for itself, without a hop between threads.
//!
//! Owns the registration of the lane's listeners with the runtime's driver. Never waits, and never accepts what it is
//! not to: who stays away too long finds that the acceptor has been there.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::desk::Desk;
use crate::tick::Tick;

#[derive(Debug)]
pub(crate) struct Attendant {
    desk: Arc<Desk>,
    /// `None`: the acceptor alone accepts, in this mode, on this platform, or as yet.
    driver: Option<AsyncFd<Set>>,
    /// So many it has let in that have not been asked for.
    ahead: usize,
}

/// What came of a taker's look at its desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attended {
    /// Nobody has come. The task is woken when somebody does.
    Idle,
    /// There was somebody, or may still be from the last time.
    Busy,
}

impl Attendant {
    pub(crate) fn new(desk: Arc<Desk>) -> Self {
        Self { desk, driver: None, ahead: 0 }
    }

    /// From now on it accepts for itself, if it is to. Called inside a runtime with I/O.
    pub(crate) fn take_up(&mut self) {
        // One of a runtime that is gone.
        self.driver = None;
        #[allow(
            deprecated,
            reason = "the safe form; the set keeps its descriptor open and the same, as the unsafe one asks"
        )]
        let driver = Set::of(&self.desk).and_then(|set| AsyncFd::with_interest(set, Interest::READABLE).ok());
        self.driver = driver;
        self.desk.attend(self.driver.is_some());
    }

    /// Whether nobody is left of the last turn: the next look may be a turn, and accept.
    pub(crate) fn is_due(&self) -> bool {
        self.ahead == 0
    }

    /// Lets in who has come, as many as one turn allows, unless somebody is there from the last turn. `now` may be some
    /// time ago.
    pub(crate) fn attend(&mut self, now: Option<Tick>, cx: &mut Context<'_>) -> Attended {
        if self.ahead > 0 {
            self.ahead -= 1;
            return Attended::Busy;
        }
        let Some(driver) = &self.driver else { return Attended::Idle };
        match driver.poll_read_ready(cx) {
            Poll::Pending => Attended::Idle,
            Poll::Ready(Ok(mut ready)) => {
                let (accepted, more) = self.desk.take_turn(now.unwrap_or_else(Tick::now));
                self.ahead = accepted;
                if !more {
                    // Registered edge-triggered: whatever comes from here on is told anew.
                    ready.clear_ready();
                }
                Attended::Busy
            }
            // The runtime is shutting down.
            Poll::Ready(Err(_)) => {
                self.driver = None;
                self.desk.attend(false);
                Attended::Idle
            }
        }
    }

    /// Nobody is there any more from the last turn.
    pub(crate) fn is_even(&mut self) {
        self.ahead = 0;
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        self.desk.attend(false);
    }
}

/// Keeps the desk, and with it the set, alive as long as the runtime knows it.
#[derive(Debug)]
struct Set {
    desk: Arc<Desk>,
    fd: RawFd,
}

impl Set {
    fn of(desk: &Arc<Desk>) -> Option<Self> {
        let fd = desk.set()?.as_fd()?.as_raw_fd();
        Some(Self { desk: Arc::clone(desk), fd })
    }
}

impl AsRawFd for Set {
    fn as_raw_fd(&self) -> RawFd {
        debug_assert!(self.desk.set().is_some());
        self.fd
    }
}
