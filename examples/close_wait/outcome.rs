//! Everything that is known of one server.
//!
//! Owns: the figures side by side, and the few that follow from several.
//! Never: where they come from.

use crate::{
    calls::Counts,
    plan::Kind,
    queue::Queue,
    servers::{Report, Server},
};
use anteroom_load::{client::CrowdTally, measure::PortSockets};
use std::time::Duration;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) server: Server,
    /// Counted by the handlers.
    pub(crate) counts: Counts,
    /// Read by the server from its own listener.
    pub(crate) queue: Queue,
    /// Told by the server, if it knows: who left and was kept from the handlers, in the order of `Kind::LEAVE`.
    pub(crate) kept: Option<[u64; 3]>,
    /// Read from the kernel's table.
    pub(crate) sockets: PortSockets,
    pub(crate) deepest: u64,
    pub(crate) most_close_wait: u64,
    /// Counted by the clients that gave up.
    pub(crate) tally: CrowdTally,
    /// The living client that asked before the stall ended.
    pub(crate) waited: Live,
    /// The one that asked after.
    pub(crate) came_after: Live,
}

/// A client that stays; moments in ns of the machine's monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Live {
    /// Has no answer yet.
    #[default]
    Asks,
    Answered {
        asked: u64,
        answered: u64,
    },
    /// Will have none.
    Failed,
}

impl Outcome {
    pub(crate) fn new(server: Server) -> Self {
        Self {
            server,
            counts: Counts::default(),
            queue: Queue::default(),
            kept: None,
            sockets: PortSockets::default(),
            deepest: 0,
            most_close_wait: 0,
            tally: CrowdTally::default(),
            waited: Live::Asks,
            came_after: Live::Asks,
        }
    }

    /// Takes in one more look.
    pub(crate) fn look(&mut self, report: Report, sockets: PortSockets) {
        let Report { counts, queue, kept } = report;
        (self.counts, self.queue, self.kept) = (counts, queue, kept);
        self.sockets = sockets;
        // Two readings of the same thing; the deeper one was true at its moment.
        self.deepest = self.deepest.max(sockets.queued).max(queue.depth.unwrap_or(0));
        self.most_close_wait = self.most_close_wait.max(sockets.close_wait_unowned);
    }

    /// Connections given to handlers although their client had left.
    pub(crate) fn dead_connections(&self) -> [u64; 3] {
        Kind::LEAVE.map(|kind| self.counts.dead_of(kind))
    }

    /// Connections given to handlers before their client left.
    pub(crate) fn present_connections(&self) -> [u64; 3] {
        Kind::LEAVE.map(|kind| self.counts.present_of(kind))
    }

    /// Requests handled for nobody.
    pub(crate) fn dead_requests(&self) -> u64 {
        Kind::LEAVE.iter().map(|kind| self.counts.requests_of(*kind)).sum()
    }

    pub(crate) fn turned_away(&self) -> u64 {
        self.tally.turned_away.iter().sum()
    }

    /// From the end of the stall to the answer; zero for an answer before it.
    pub(crate) fn after_stall(&self, live: Live) -> Option<Duration> {
        match live {
            Live::Answered { answered, .. } if self.counts.stall_ended > 0 => {
                Some(Duration::from_nanos(answered.saturating_sub(self.counts.stall_ended)))
            }
            _ => None,
        }
    }

    pub(crate) fn first_live_answer(&self) -> Option<Duration> {
        let answers = [self.waited, self.came_after].map(|live| self.after_stall(live));
        answers.into_iter().flatten().min()
    }

    /// Both living clients know.
    pub(crate) fn is_settled(&self) -> bool {
        ![self.waited, self.came_after].contains(&Live::Asks) && self.sockets.queued == 0
    }
}
