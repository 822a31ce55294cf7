//! What is true now: the answer to [`Handle::snapshot`](crate::Handle::snapshot).
//!
//! Owns the shapes. Everything that metrics tell is in here too, so that a program without a
//! recorder, or with a second version of the facade, misses nothing.

use std::fmt;
use std::time::Duration;

use anteroom_listener::{AcceptErrorClass, Address, Backlog, Queue};
use histogram::{Bucket, Histogram};

use super::readiness::Readiness;
use super::report::Report;
use super::stall::Stall;

/// Where a server stands in its life. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Being built, or its predecessor still serves; the kernel may already queue connections.
    Starting,
    /// Accepting and serving.
    Serving,
    /// Accepting and serving still, and not ready: whoever sends clients here is to stop, and may need
    /// a while for that; see [`Handle::lame_duck`](crate::Handle::lame_duck).
    LameDuck,
    /// Nothing new comes in; what was accepted or queued is being served.
    Draining,
    /// Everything has ended; the report is final.
    Stopped,
}

impl Phase {
    /// The name in metrics and events.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::LameDuck => "lame_duck",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Whether a listener's connections are being accepted, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Accepting {
    /// They are.
    Yes,
    /// Its lane has no room, and [`WhenFull::BackPressure`](crate::WhenFull::BackPressure) leaves them
    /// in the kernel.
    ServiceFull,
    /// By [`Handle::pause`](crate::Handle::pause).
    Paused,
    /// It pauses after an error of `accept`, for want of descriptors as a rule.
    AfterError,
    /// It is closed.
    Closed,
    /// Another process accepts from the same socket: its predecessor still, or its successor already.
    Elsewhere,
}

impl Accepting {
    /// In the order of their numbers.
    pub(crate) const ALL: [Self; 6] =
        [Self::Yes, Self::ServiceFull, Self::Paused, Self::AfterError, Self::Closed, Self::Elsewhere];

    /// Why connections stand in the kernel's queue, for events.
    pub(crate) fn because(self) -> &'static str {
        match self {
            Self::Yes => "nobody_accepts",
            _ => self.label(),
        }
    }

    /// The name in events and in JSON.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::ServiceFull => "service_full",
            Self::Paused => "paused",
            Self::AfterError => "after_error",
            Self::Closed => "closed",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// A server at one moment. Taken live: queue depths are read from the kernel by the call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// Where it stands in its life.
    pub phase: Phase,
    /// Whether clients are to be sent here, and why not.
    pub readiness: Readiness,
    /// Whether accepting is paused by [`Handle::pause`](crate::Handle::pause).
    pub paused: bool,
    /// Connections handed out and not yet dropped: permits taken.
    pub open: usize,
    /// Connections that wait for a service.
    pub waiting: usize,
    /// Connections that have not sent their first byte, outside the service; see
    /// [`FirstByte`](crate::FirstByte).
    pub silent: usize,
    /// Refused connections that are being told so; see [`Farewell`](crate::Farewell). They have been
    /// counted as refused.
    pub farewells: usize,
    /// Sources that hold something at the moment, open or waiting, counted in each lane by itself; see
    /// [`Share`](crate::Share). Nobody is counted where nothing is asked of sources.
    pub sources: usize,
    /// Age of the oldest connection that waits or is silent, counted from its handshake, or from the
    /// first byte of one that was silent. Those that stand back because of their source's
    /// [`Share`](crate::Share) are left out. `None` when there is nobody.
    pub oldest_wait: Option<Duration>,
    /// What keeps clients waiting at the moment, and what did in the last seconds if it can only be told
    /// afterwards. Empty where [`Config::stall_watch`](crate::Config::stall_watch) is `None`.
    pub stalls: Vec<Stall>,
    /// How many stalls have been told so far, by the label of their cause.
    pub stalls_so_far: Vec<(&'static str, u64)>,
    /// How late the runtime runs what is ready, as measured from outside by tasks of the server.
    pub runtime_delay: Distribution,
    /// How long something has been waiting for its turn on the runtime now. `None` when nothing is.
    pub runtime_late: Option<Duration>,
    /// How long polls of handlers took.
    pub poll_time: Distribution,
    /// Each lane, in the order in which they were given: that of the calls of
    /// [`serve`](crate::ServerBuilder::serve), or of the array of
    /// [`start_each`](crate::IncomingBuilder::start_each).
    pub lanes: Vec<LaneSnapshot>,
    /// Each listener, in the order in which they were given.
    pub listeners: Vec<ListenerSnapshot>,
    /// The sums over all listeners.
    pub report: Report,
    /// Events that were not spoken because the subscriber was slower than they came. Counts are
    /// never lost.
    pub events_lost: u64,
}

/// One lane at one moment: a service with its listeners, or an [`Incoming`](crate::Incoming). The limits of
/// [`Config`](crate::Config) hold for each lane by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneSnapshot {
    /// Connections handed out and not yet dropped: of [`Config::max_connections`](crate::Config::max_connections).
    pub open: usize,
    /// Connections that wait for the service, those that stand back included.
    pub waiting: usize,
    /// Connections that have not sent their first byte; see [`FirstByte`](crate::FirstByte).
    pub silent: usize,
    /// Whether the newest are served first at the moment; see [`Order::Adaptive`](crate::Order::Adaptive).
    pub newest_first: bool,
    /// Polls of its handlers, and of its service, that lasted longer than
    /// [`StallWatch::slow_poll`](crate::StallWatch::slow_poll), since the start.
    pub slow_polls: u64,
}

/// One listener at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenerSnapshot {
    /// Its name: the label `listener` in metrics. Of listeners with equal names the second is `name#2`,
    /// and so on.
    pub name: String,
    /// As bound.
    pub address: Address,
    /// Whether its connections are being accepted, and why not.
    pub accepting: Accepting,
    /// Requested and granted.
    pub backlog: Backlog,
    /// The accept queue, read now. `None` once the listener is closed. What a fence drops is not among
    /// the drops.
    pub queue: Option<Queue>,
    /// SYNs that a drain's fence has dropped so far, retries included: clients that found nobody yet,
    /// and come in at the successor, or are refused once the listener is closed. `None` when there is,
    /// or was, no fence, and where the platform does not tell.
    pub fenced: Option<u64>,
    /// What became of its connections so far.
    pub report: Report,
    /// Connections that the acceptor's thread accepted, because whoever was to accept them left them standing in the
    /// kernel's queue: blocked workers, or a stuck shard. Always 0 where the thread or a task accepts
    /// ([`AcceptOn`](crate::AcceptOn)).
    pub left_standing: u64,
    /// Connections that left the waiting room for a handler or an [`Incoming`](crate::Incoming).
    pub handed_out: u64,
    /// Its connections in the waiting room, those that are silent included. Derived from counts that
    /// are read one after the other: right when nothing moves, and off by what moved meanwhile, but
    /// never negative.
    pub waiting: u64,
    /// Its connections that were handed out and have not ended. Derived as `waiting` is. A service
    /// that keeps the permit for longer than its future runs keeps a place that is counted in
    /// [`Snapshot::open`] and not here.
    pub open: u64,
    /// Errors of `accept`, by class. The classes `Empty` and `Interrupted` are no errors and not in it.
    pub accept_errors: Vec<(AcceptErrorClass, u64)>,
    /// Time between the end of the handshake and `accept`.
    pub kernel_wait: Distribution,
    /// Time in the waiting room.
    pub room_wait: Distribution,
    /// Time between the hand-over and the end of the handler.
    pub handler_time: Distribution,
}

/// A distribution of durations since the start. Quantiles are exact to 3 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Distribution {
    /// Values recorded.
    pub count: u64,
    /// The median.
    pub p50: Duration,
    /// Nine in ten are at most this.
    pub p90: Duration,
    /// 99 in 100 are at most this.
    pub p99: Duration,
    /// The largest.
    pub max: Duration,
}

/// Reads a histogram of microseconds.
pub(crate) fn distribution(histogram: &Histogram) -> Distribution {
    let count = histogram.as_slice().iter().sum();
    let mut at = [const { None }; 4];
    let _they_are_quantiles = histogram.quantile_buckets_into(&[0.5, 0.9, 0.99, 1.0], &mut at);
    let [p50, p90, p99, max] =
        at.map(|bucket| bucket.map_or(Duration::ZERO, |bucket: Bucket| Duration::from_micros(bucket.end())));
    Distribution { count, p50, p90, p99, max }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Ledger;

    #[test]
    fn quantiles_are_within_three_percent_and_an_empty_one_is_zero() {
        let ledger = Ledger::new();
        assert_eq!(distribution(&ledger.kernel_wait.load()), Distribution::default());
        for millis in 1..=100 {
            ledger.kernel_waited(Duration::from_millis(millis));
        }
        let told = distribution(&ledger.kernel_wait.load());
        assert_eq!(told.count, 100);
        for (quantile, exact) in [(told.p50, 50), (told.p90, 90), (told.p99, 99), (told.max, 100)] {
            let exact = Duration::from_millis(exact);
            assert!(quantile >= exact && quantile <= exact.mul_f64(1.035), "{quantile:?} for {exact:?}");
        }
    }
}
