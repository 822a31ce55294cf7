//! What the connections of one lane have in common, behind one count of holders.
//!
//! Owns what users want to run around every connection. Never knows a single one.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::info::Info;
use super::task::End;
use crate::gate::Gate;
use crate::stall::Board;

type MakeSpan = dyn Fn(&Info) -> Span + Send + Sync;
type OnEnd = dyn Fn(&Info, &End) + Send + Sync;

/// One for each lane: lanes that run on different cores share no line of memory for it.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) gate: Arc<Gate>,
    pub(crate) lane: usize,
    pub(crate) draining: CancellationToken,
    /// Where it is seen which handler runs on which thread. `None`: nobody looks.
    pub(crate) board: Option<Arc<Board>>,
    pub(crate) hooks: Hooks,
}

/// What users want to run around every connection.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) make_span: Option<Arc<MakeSpan>>,
    pub(crate) on_end: Option<Arc<OnEnd>>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

impl Hooks {
    pub(crate) fn span(&self, info: &Info) -> Span {
        let span = || match &self.make_span {
            Some(make_span) => make_span(info),
            None => tracing::info_span!(
                target: "anteroom::connection", "connection",
                id = info.id(), listener = info.listener(), peer = %info.peer_addr(),
            ),
        };
        // A span is not worth a connection.
        catch_unwind(AssertUnwindSafe(span)).unwrap_or_else(|_| Span::none())
    }
}
