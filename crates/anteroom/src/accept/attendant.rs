//! The taker of a lane at its desk: a runtime that is prompt accepts for itself, without a hop between threads.
//!
//! Owns the registration of the lane's listeners with the runtime's driver. Never waits, and never accepts what it is
//! not to: who stays away too long finds that the acceptor has been there.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::desk::{Desk, Turn};
use crate::gate::Doorstep;
use crate::tick::Tick;

#[derive(Debug)]
pub(crate) struct Attendant {
    desk: Arc<Desk>,
    /// `None`: the acceptor alone accepts, in this mode, on this platform, or as yet.
    driver: Option<AsyncFd<Set>>,
    /// So many it has let in that have not been asked for.
    ahead: usize,
    /// When a turn ended that was made in the last call of [`poll_someone`](Self::poll_someone).
    turned: Option<Tick>,
}

/// Turns in one poll that leave nobody to be taken, before others of the runtime have theirs.
const IN_VAIN: usize = 2;

/// What came of a taker's look at its desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attended {
    /// Nobody has come. The task is woken when somebody does.
    Idle,
    /// There was somebody, or may still be from the last time.
    Busy,
}

impl Attendant {
    pub(crate) fn new(desk: Arc<Desk>) -> Self {
        Self { desk, driver: None, ahead: 0, turned: None }
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

    /// Lets in who has come, and says whether somebody can be taken: see [`Gate::poll_someone`](crate::gate::Gate).
    ///
    /// `turn_came` is when this task was let run, by which it is learned how late the runtime is. Before each turn at the
    /// desk `its_turn` is asked when that begins, which may be some time ago; `None`: the clock is asked.
    pub(crate) fn poll_someone(
        &mut self,
        turn_came: Option<Tick>,
        mut its_turn: impl FnMut() -> Option<Tick>,
        cx: &mut Context<'_>,
    ) -> Poll<Doorstep> {
        self.turned = None;
        for _ in 0..IN_VAIN {
            let attended = match self.ahead.checked_sub(1) {
                Some(ahead) => {
                    self.ahead = ahead;
                    Attended::Busy
                }
                None => self.attend(its_turn(), cx),
            };
            match self.desk.poll_someone(turn_came, cx) {
                // Nobody is there any more from the last turn.
                Poll::Pending if attended == Attended::Busy => self.ahead = 0,
                doorstep => return doorstep,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Lets in who has come, though nobody is to be taken.
    pub(crate) fn only_let_in(&mut self, cx: &mut Context<'_>) {
        if self.attend(None, cx) == Attended::Busy {
            self.ahead = 0;
            cx.waker().wake_by_ref();
        }
    }

    /// When a turn ended that was made in the last call of [`poll_someone`](Self::poll_someone): what ran until then was
    /// no service's.
    pub(crate) fn turned(&self) -> Option<Tick> {
        self.turned
    }

    /// As many as one turn allows.
    fn attend(&mut self, now: Option<Tick>, cx: &mut Context<'_>) -> Attended {
        let Some(driver) = &self.driver else { return Attended::Idle };
        match driver.poll_read_ready(cx) {
            Poll::Pending => Attended::Idle,
            Poll::Ready(Ok(mut ready)) => {
                let Turn { accepted, more, at } = self.desk.take_turn(now.unwrap_or_else(Tick::now));
                // The first of them is asked for now.
                self.ahead = accepted.saturating_sub(1);
                self.turned = Some(at);
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
