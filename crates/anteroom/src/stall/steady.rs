//! Whether the server keeps up, with hysteresis.
//!
//! Owns what was decided last. Time is passed in; never tells anybody.

use std::time::Duration;

use crate::observe::Unready;
use crate::tick::Tick;

/// Below half of the limit for so long, and it keeps up again.
const SETTLED: Duration = Duration::from_millis(250);

/// What readiness depends on at one look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delays {
    /// Of the one in the room who waits longest.
    pub(super) oldest_wait: Duration,
    /// Of the one in the kernel's queue, or in the filter, while nobody is accepted.
    pub(super) standing: Duration,
    /// Of what is ready on the runtime.
    pub(super) runtime: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Steady {
    behind: Option<Unready>,
    /// Since when all has been well, while it is called behind.
    well_since: Option<Tick>,
}

impl Steady {
    pub(super) fn behind(&self) -> Option<Unready> {
        self.behind
    }

    /// Takes one look in; says whether the answer has changed.
    pub(super) fn look(&mut self, delays: Delays, limit: Duration, now: Tick) -> bool {
        let above = |limit: Duration| match delays {
            Delays { runtime, .. } if runtime >= limit => Some(Unready::RuntimeLate),
            Delays { oldest_wait, standing, .. } if oldest_wait.max(standing) >= limit => {
                Some(Unready::LongWait)
            }
            _ => None,
        };
        let before = self.behind;
        match (above(limit), above(limit / 2)) {
            (Some(why), _) => {
                // Why it began is told until it is over.
                self.behind.get_or_insert(why);
                self.well_since = None;
            }
            (None, Some(_)) => self.well_since = None,
            (None, None) if self.behind.is_some() => {
                let since = *self.well_since.get_or_insert(now);
                if now.since(since) >= SETTLED {
                    *self = Self::default();
                }
            }
            (None, None) => {}
        }
        self.behind != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(500);

    fn late(millis: u64) -> Delays {
        Delays { runtime: Duration::from_millis(millis), ..Delays::default() }
    }

    #[test]
    fn it_falls_behind_at_the_limit_and_keeps_up_when_it_was_well_for_a_while() {
        let (mut steady, start) = (Steady::default(), Tick::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(!steady.look(late(499), LIMIT, at(0)));
        assert!(steady.look(late(500), LIMIT, at(10)));
        assert_eq!(steady.behind(), Some(Unready::RuntimeLate));
        assert!(!steady.look(late(0), LIMIT, at(20)), "well, and not long enough");
        assert!(!steady.look(late(250), LIMIT, at(200)), "half of the limit is not well");
        assert!(!steady.look(late(249), LIMIT, at(210)));
        assert!(!steady.look(late(0), LIMIT, at(459)));
        assert!(steady.look(late(0), LIMIT, at(460)));
        assert_eq!(steady.behind(), None);
    }

    #[test]
    fn between_half_and_the_whole_nothing_changes() {
        let (mut steady, start) = (Steady::default(), Tick::now());
        let wait = |millis| Delays { oldest_wait: Duration::from_millis(millis), ..Delays::default() };
        for second in 0..100 {
            assert!(!steady.look(wait(400), LIMIT, start + Duration::from_secs(second)));
        }
        assert!(steady.look(wait(600), LIMIT, start + Duration::from_secs(100)));
        for second in 101..200 {
            assert!(!steady.look(wait(300), LIMIT, start + Duration::from_secs(second)));
        }
        assert_eq!(steady.behind(), Some(Unready::LongWait));
    }

    #[test]
    fn who_stands_outside_waits_as_who_waits_inside() {
        let (mut steady, now) = (Steady::default(), Tick::now());
        let standing = |millis| Delays { standing: Duration::from_millis(millis), ..Delays::default() };
        assert!(!steady.look(standing(499), LIMIT, now));
        assert!(steady.look(standing(500), LIMIT, now));
        assert_eq!(steady.behind(), Some(Unready::LongWait));
        assert!(!steady.look(standing(0), LIMIT, now));
        assert!(steady.look(standing(0), LIMIT, now + SETTLED));
    }

    #[test]
    fn the_first_reason_stays_until_it_is_over() {
        let (mut steady, now) = (Steady::default(), Tick::now());
        let both = Delays { oldest_wait: LIMIT, runtime: LIMIT, ..Delays::default() };
        assert!(steady.look(Delays { runtime: Duration::ZERO, ..both }, LIMIT, now));
        assert!(!steady.look(both, LIMIT, now));
        assert_eq!(steady.behind(), Some(Unready::LongWait));
    }
}
