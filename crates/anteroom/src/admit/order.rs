//! The order in which the waiting are served: of arrival while healthy, newest first in overload.
//!
//! Owns the law by which one becomes the other. Never holds who waits.
//!
//! The law is CoDel's (RFC 8289, section 3.2): what tells a standing queue from a passing burst is the
//! least wait of an interval. Here the least wait is that of whoever is served next in order, so it is
//! enough to watch the oldest. What follows from it is adaptive LIFO (B. Maurer, "Fail at Scale", ACM
//! Queue 13(8), 2015): in a standing queue the newest have the best chance that their client is still
//! there when the answer comes.

use std::time::Duration;

use crate::tick::Tick;

/// The order in which those who wait are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Order {
    /// In the order of arrival, always.
    Fifo,
    /// In the order of arrival while the service keeps up. When the oldest has been waiting for more
    /// than `target`, counted from its handshake, during a whole `interval`, newest first, and who has
    /// waited for `give_up` is refused as [`Cause::Hopeless`](crate::Cause::Hopeless). When during a
    /// whole interval nobody has waited that long, in the order of arrival again. The default, with
    /// 100 ms, 100 ms and 1 s.
    Adaptive {
        /// A wait that is normal for this service; at least some times what one connection takes.
        #[cfg_attr(feature = "serde", serde(with = "crate::config::duration"))]
        target: Duration,
        /// How long the wait must have been above the target, or not, before the order changes.
        #[cfg_attr(feature = "serde", serde(with = "crate::config::duration"))]
        interval: Duration,
        /// How long a client is worth waiting for while newer ones are served before it. Well below
        /// the clients' own patience: the answer takes time, too.
        #[cfg_attr(feature = "serde", serde(with = "crate::config::duration"))]
        give_up: Duration,
    },
}

impl Order {
    /// [`Order::Adaptive`] with its defaults.
    pub const ADAPTIVE: Self = Self::Adaptive {
        target: Duration::from_millis(100),
        interval: Duration::from_millis(100),
        give_up: Duration::from_secs(1),
    };
}

/// One lane's state under the law.
#[derive(Debug, Default)]
pub(crate) struct Law {
    newest_first: bool,
    /// Since when what speaks for the other order has been seen at every look.
    contrary_since: Option<Tick>,
}

impl Law {
    pub(crate) fn is_newest_first(&self) -> bool {
        self.newest_first
    }

    /// A look at the lane: `oldest` is since when the oldest waits, none when nobody does. The time starts when a long
    /// wait is seen, not when it began: a process that was stopped has had no chance to serve yet.
    /// Says whether the order has changed.
    pub(crate) fn look(&mut self, order: Order, oldest: Option<Tick>, now: Tick) -> bool {
        let Order::Adaptive { target, interval, .. } = order else {
            self.contrary_since = None;
            return std::mem::take(&mut self.newest_first);
        };
        let stands = oldest.is_some_and(|oldest| now > oldest + target);
        if stands == self.newest_first {
            self.contrary_since = None;
            return false;
        }
        let since = *self.contrary_since.get_or_insert(now);
        if now < since + interval {
            return false;
        }
        self.newest_first = stands;
        self.contrary_since = None;
        true
    }

    /// When a look may find that the order is to change, which nobody else may be there to notice.
    /// `oldest` is when the wait of the oldest began.
    pub(crate) fn next_look(&self, order: Order, oldest: Option<Tick>) -> Option<Tick> {
        let Order::Adaptive { target, interval, .. } = order else { return None };
        match (self.contrary_since, self.newest_first) {
            (Some(since), _) => Some(since + interval),
            (None, true) => None,
            (None, false) => Some(oldest? + target + Duration::from_nanos(1)),
        }
    }

    /// The age at which nobody is worth waiting for any more.
    pub(crate) fn give_up(&self, order: Order) -> Option<Duration> {
        match order {
            Order::Adaptive { give_up, .. } if self.newest_first => Some(give_up),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    const LONG: Option<u64> = Some(101);
    const SHORT: Option<u64> = Some(100);

    /// Looks at a lane whose oldest has waited for `wait` milliseconds, at a time in milliseconds.
    fn look(law: &mut Law, order: Order, wait: Option<u64>, at: u64) -> bool {
        let start = Tick::now();
        let moment = |millis| start + Duration::from_millis(1_000 + millis);
        let oldest = wait.map(|wait| start + Duration::from_millis(1_000 + at - wait.min(at + 1_000)));
        law.look(order, oldest, moment(at))
    }

    #[test]
    fn a_burst_changes_nothing_and_a_standing_queue_does() {
        let mut law = Law::default();
        assert!(!look(&mut law, Order::ADAPTIVE, LONG, 0));
        assert!(!look(&mut law, Order::ADAPTIVE, SHORT, 90), "the burst is over");
        assert!(!look(&mut law, Order::ADAPTIVE, LONG, 110));
        assert!(!look(&mut law, Order::ADAPTIVE, LONG, 209));
        assert!(look(&mut law, Order::ADAPTIVE, LONG, 210));
        assert!(law.is_newest_first());
        assert_eq!(law.give_up(Order::ADAPTIVE), Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_way_back_takes_a_whole_interval_too() {
        let mut law = Law { newest_first: true, contrary_since: None };
        assert!(!look(&mut law, Order::ADAPTIVE, None, 0));
        assert!(!look(&mut law, Order::ADAPTIVE, LONG, 50), "it fills again");
        assert!(!look(&mut law, Order::ADAPTIVE, None, 60));
        assert!(look(&mut law, Order::ADAPTIVE, SHORT, 160));
        assert_eq!((law.is_newest_first(), law.give_up(Order::ADAPTIVE)), (false, None));
    }

    #[test]
    fn where_the_order_is_fixed_nothing_is_hopeless() {
        let mut law = Law { newest_first: true, contrary_since: None };
        assert!(look(&mut law, Order::Fifo, LONG, 0));
        assert!(!look(&mut law, Order::Fifo, LONG, 1_000));
        assert_eq!((law.is_newest_first(), law.give_up(Order::Fifo)), (false, None));
    }
}
