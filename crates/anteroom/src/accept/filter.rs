//! The admission filter: the one piece of user code that is asked between `accept` and the room.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use anteroom_listener::PeerAddr;

use crate::admit::Cause;
use crate::observe::Part;
use crate::stall::{Board, Work};
use crate::tick::Tick;

/// A connection that asks to be let in.
#[derive(Debug)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// Who it is.
    pub peer: &'a PeerAddr,
    /// The name of the listener.
    pub listener: &'a str,
    /// Time in the kernel's accept queue, where the platform tells.
    pub kernel_wait: Option<Duration>,
    /// Connections handed out at the moment, when this batch was accepted.
    pub open: usize,
    /// Connections waiting at the moment, when this batch was accepted.
    pub waiting: usize,
}

/// What the filter decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Let it in.
    Admit,
    /// Refuse it.
    Refuse(Cause),
}

type Decide = dyn FnMut(&Candidate<'_>) -> Verdict + Send;

/// Over this time a call of the filter is spoken of.
const SLOW: Duration = Duration::from_micros(100);

/// A user's filter, contained and timed.
pub(crate) struct Filter {
    decide: Box<Decide>,
    /// Where it is seen that it runs. `None`: nobody looks.
    board: Option<Arc<Board>>,
}

/// What came of one call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Verdict(Verdict),
    /// The verdict came late by this time.
    Late(Verdict, Duration),
    Panicked,
}

impl Filter {
    pub(crate) fn new(decide: impl FnMut(&Candidate<'_>) -> Verdict + Send + 'static) -> Self {
        Self { decide: Box::new(decide), board: None }
    }

    pub(crate) fn seen_on(&mut self, board: Option<Arc<Board>>) {
        self.board = board;
    }

    /// `listener` is the number of the one that it came from.
    pub(super) fn ask(&mut self, candidate: &Candidate<'_>, listener: usize) -> Answer {
        let asked = Tick::now();
        let work = Work { part: Part::Filter, of: listener, key: 0, span: 0 };
        let inside = self.board.as_ref().and_then(|board| board.enter(work));
        let verdict = catch_unwind(AssertUnwindSafe(|| (self.decide)(candidate)));
        let took = asked.elapsed();
        drop(inside);
        match verdict {
            Err(_) => Answer::Panicked,
            Ok(verdict) if took > SLOW => Answer::Late(verdict, took),
            Ok(verdict) => Answer::Verdict(verdict),
        }
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}
