//! The final account: where every accepted connection went.
//!
//! Owns the shape and the sums. Never counts by itself.

use std::fmt;
use std::ops::AddAssign;

use crate::admit::Cause;

/// Where every accepted connection went.
///
/// When a server has stopped, `accepted` equals
/// `served.total() + refused.total() + dead_on_arrival.total() + handed_over`; while it runs, what is
/// missing is open or waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Connections that `accept` returned.
    pub accepted: u64,
    /// Handed out, to a service or by [`Incoming`](crate::Incoming).
    pub served: Served,
    /// Refused while their peer was there, by cause.
    pub refused: Refused,
    /// The peer had gone before anybody could serve it.
    pub dead_on_arrival: DeadOnArrival,
    /// Passed on to a successor while they waited; it counts them among those it accepted.
    pub handed_over: u64,
}

impl Report {
    /// Whether every accepted connection has come to exactly one end.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.accepted == self.ended()
    }

    /// The connections that have come to an end.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.served.total() + self.refused.total() + self.dead_on_arrival.total() + self.handed_over
    }
}

/// How the connections ended that were handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// The service's future returned `Ok`, or the taker of an [`Incoming`](crate::Incoming) dropped
    /// the connection.
    pub done: u64,
    /// The service's future returned an error.
    pub failed: u64,
    /// The service's `call` or its future panicked.
    pub panicked: u64,
    /// It was still open at the deadline of a drain, or its runtime was shut down.
    pub cut: u64,
}

impl Served {
    /// The sum.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.done + self.failed + self.panicked + self.cut
    }
}

/// Refused connections, by [`Cause`](crate::Cause).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the cause of the same name")]
pub struct Refused {
    pub full: u64,
    pub too_old: u64,
    pub probably_left: u64,
    pub denied: u64,
    pub closed: u64,
    pub resources: u64,
    pub hopeless: u64,
    pub share: u64,
    pub rate: u64,
    pub early: u64,
    pub silent: u64,
    pub user: u64,
}

impl Refused {
    /// In the order of [`Cause::ALL`](crate::Cause::ALL).
    #[must_use]
    pub fn by_cause(&self) -> [u64; 12] {
        let Self { full, too_old, probably_left, denied, closed, resources, .. } = *self;
        let Self { hopeless, share, rate, early, silent, user, .. } = *self;
        [full, too_old, probably_left, denied, closed, resources, hopeless, share, rate, early, silent, user]
    }

    /// The sum.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_cause().iter().sum()
    }
}

/// Connections whose peer had gone before anybody could serve them, by where they stood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadOnArrival {
    /// Found so when they came out of the kernel's accept queue.
    pub in_queue: Deaths,
    /// They left while they stood in the waiting room.
    pub in_room: Deaths,
}

impl DeadOnArrival {
    /// The sum.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.in_queue.total() + self.in_room.total()
    }
}

/// How they had gone, by [`Death`](crate::Death).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the death of the same name")]
pub struct Deaths {
    pub silent: u64,
    pub gone: u64,
    pub reset: u64,
}

impl Deaths {
    /// The sum.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.silent + self.gone + self.reset
    }
}

macro_rules! add_fields {
    ($($type:ident { $($field:ident),* })*) => {$(
        impl AddAssign for $type {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }
        }
    )*};
}

add_fields! {
    Report { accepted, served, refused, dead_on_arrival, handed_over }
    Served { done, failed, panicked, cut }
    Refused { full, too_old, probably_left, denied, closed, resources, hopeless, share, rate, early, silent, user }
    DeadOnArrival { in_queue, in_room }
    Deaths { silent, gone, reset }
}

impl fmt::Display for Report {
    /// One line; parts that are zero are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, served, refused, dead_on_arrival, handed_over } = self;
        write!(f, "accepted {accepted} = served {}", served.total())?;
        parts(f, &[("failed", served.failed), ("panicked", served.panicked), ("cut", served.cut)])?;
        write!(f, " + refused {}", refused.total())?;
        let labels = Cause::ALL.map(|cause| cause.label().replace('_', " "));
        let refused: Vec<_> = labels.iter().map(String::as_str).zip(refused.by_cause()).collect();
        parts(f, &refused)?;
        let dead =
            |kind: fn(&Deaths) -> u64| kind(&dead_on_arrival.in_queue) + kind(&dead_on_arrival.in_room);
        write!(f, " + dead on arrival {}", dead_on_arrival.total())?;
        parts(
            f,
            &[("silent", dead(|d| d.silent)), ("gone", dead(|d| d.gone)), ("reset", dead(|d| d.reset))],
        )?;
        if *handed_over > 0 {
            write!(f, " + handed over {handed_over}")?;
        }
        match accepted.saturating_sub(self.ended()) {
            0 => Ok(()),
            under_way => write!(f, " + under way {under_way}"),
        }
    }
}

fn parts(f: &mut fmt::Formatter<'_>, parts: &[(&str, u64)]) -> fmt::Result {
    let mut open = "(";
    for (name, count) in parts.iter().filter(|(_, count)| *count > 0) {
        write!(f, " {open}{name} {count}")?;
        open = "· ";
    }
    if open == "(" { Ok(()) } else { f.write_str(")") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_as_one_sum_and_leaves_zeros_out() {
        let mut report = Report { accepted: 10, ..Report::default() };
        report.served = Served { done: 3, failed: 1, panicked: 0, cut: 1 };
        report.refused.too_old = 2;
        report.dead_on_arrival.in_room.reset = 2;
        assert_eq!(
            report.to_string(),
            "accepted 10 = served 5 (failed 1 · cut 1) + refused 2 (too old 2) + dead on arrival 2 (reset 2) \
             + under way 1"
        );
        report.accepted = 9;
        assert!(report.is_balanced());
        report += report.clone();
        assert_eq!((report.accepted, report.served.total()), (18, 10));
    }
}
