//! One client that would like an answer, and the record of what became of it.
//!
//! Owns: the description and the record.
//! Never: a socket.

use super::Leaving;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// One client to be.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The server.
    pub target: SocketAddr,
    /// Where it comes from: on loopback any address of 127.0.0.0/8, or of a routed IPv6 prefix.
    pub source: Option<IpAddr>,
    /// What it says, if its manner says anything.
    pub request: Arc<[u8]>,
    /// What it waits for.
    pub hearing: Hearing,
    /// How it gives up when that does not come.
    pub leaving: Leaving,
    /// When, counted from the connect.
    pub patience: Duration,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// The first byte: with it the client is answered, and goes.
    FirstByte,
    /// Everything until the server's end; the record keeps it.
    UntilTheEnd,
}

/// How a visit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    /// It heard what it waited for.
    Answered,
    /// The server reset the connection.
    Reset,
    /// The server closed it without a byte.
    Closed,
    /// Its patience was over: it left in its manner.
    GaveUp,
    /// Its patience was over before the handshake was.
    NeverConnected,
    /// It could not even start: no port, no descriptor, or a network that says no.
    NotStarted,
}

impl Ending {
    /// Every ending, in the order of the tallies.
    pub const ALL: [Self; 6] =
        [Self::Answered, Self::Reset, Self::Closed, Self::GaveUp, Self::NeverConnected, Self::NotStarted];

    /// Its name in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Reset => "reset by the server",
            Self::Closed => "closed by the server",
            Self::GaveUp => "gave up",
            Self::NeverConnected => "never connected",
            Self::NotStarted => "not started",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What became of one visitor. Moments are those of [`now`](crate::measure::now).
#[derive(Clone, Debug)]
pub struct Visit {
    /// Its own address, once it had one: by this a server knows it.
    pub local: Option<SocketAddr>,
    /// When it was meant to come.
    pub intended: Duration,
    /// When it began to connect.
    pub began: Duration,
    /// When the handshake was done, as far as this client saw.
    pub connected: Option<Duration>,
    /// When its whole request was in the kernel's hands.
    pub sent: Option<Duration>,
    /// When it had heard what it waited for, or its end was known.
    pub ended: Duration,
    /// How it would have given up.
    pub leaving: Leaving,
    /// How it ended.
    pub ending: Ending,
    /// What it heard; the first byte only, for those who wait for no more.
    pub heard: Vec<u8>,
}

impl Visit {
    /// Whether it left of its own, without an answer, in this manner.
    #[must_use]
    pub fn left(&self, manner: Leaving) -> bool {
        self.ending == Ending::GaveUp && self.leaving == manner
    }

    /// From the begin of connecting to the end.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.ended.saturating_sub(self.began)
    }
}

/// The time from the intended start within which `percent` of the answered had their answer. `None` when nobody
/// had one.
#[must_use]
pub fn answered_within<'a>(visits: impl IntoIterator<Item = &'a Visit>, percent: usize) -> Option<Duration> {
    let answered = visits.into_iter().filter(|visit| visit.ending == Ending::Answered);
    let mut took: Vec<_> = answered.map(|visit| visit.ended.saturating_sub(visit.intended)).collect();
    took.sort_unstable();
    let rank = (took.len() * percent).div_ceil(100);
    took.get(rank.saturating_sub(1)).copied()
}

/// How many of `visits` ended in each way, in the order of [`Ending::ALL`]: `answered 5, gave up 2`.
#[must_use]
pub fn tally<'a>(visits: impl IntoIterator<Item = &'a Visit>) -> String {
    let mut counts = [0_u64; Ending::ALL.len()];
    for visit in visits {
        for (count, ending) in counts.iter_mut().zip(Ending::ALL) {
            *count += u64::from(visit.ending == ending);
        }
    }
    let told: Vec<_> = counts
        .iter()
        .zip(Ending::ALL)
        .filter(|(count, _)| **count > 0)
        .map(|(count, ending)| format!("{ending} {count}"))
        .collect();
    told.join(", ")
}
