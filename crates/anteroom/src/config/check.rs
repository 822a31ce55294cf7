//! Whether settings can be meant, each by itself and all together.

use std::fmt;
use std::io;
use std::time::Duration;

use super::{Config, DescriptorBudget, Refusal, Reply};
use crate::admit::{LaneRules, Order, Rate, SilentClose, WhenFull};

/// Settings that cannot be meant, or not be changed any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// One setting has a value that cannot be meant.
    Invalid {
        /// The setting, as it is named in [`Config`].
        setting: &'static str,
        /// What is wrong about it, and what to do.
        problem: &'static str,
    },
    /// Two settings contradict each other.
    Contradiction {
        /// One of them, as it is named in [`Config`].
        first: &'static str,
        /// The other.
        second: &'static str,
        /// Why they cannot both be meant, and what to do.
        problem: &'static str,
    },
    /// A setting that holds from the start to the end of a server was to be changed.
    Fixed {
        /// The setting, as it is named in [`Config`].
        setting: &'static str,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { setting, problem } => write!(f, "the setting `{setting}` {problem}"),
            Self::Contradiction { first, second, problem } => {
                write!(f, "the settings `{first}` and `{second}` contradict each other: {problem}")
            }
            Self::Fixed { setting } => {
                write!(
                    f,
                    "the setting `{setting}` cannot be changed while the server runs; start another one"
                )
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for io::Error {
    fn from(error: ConfigError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// Longest pause of accepting: descriptors that somebody frees are to be used within this time.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What is shorter happens to any task of any machine.
const SHORTEST_STALL: Duration = Duration::from_millis(20);

fn invalid(setting: &'static str, problem: &'static str) -> Result<(), ConfigError> {
    Err(ConfigError::Invalid { setting, problem })
}

fn contradict(first: &'static str, second: &'static str, problem: &'static str) -> Result<(), ConfigError> {
    Err(ConfigError::Contradiction { first, second, problem })
}

impl Config {
    /// Whether the settings can be meant.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.check_bounds()?;
        self.check_order()?;
        self.check_sources()?;
        self.check_stages()?;
        self.check_stall_watch()
    }

    fn check_bounds(&self) -> Result<(), ConfigError> {
        match self {
            Self { max_connections: Some(0), .. } => invalid(
                "max_connections",
                "is 0: nobody could ever be served; use Handle::pause to hold a server back",
            ),
            Self { max_waiting: 0, max_connections: None, .. } => contradict(
                "max_waiting",
                "max_connections",
                "nobody may wait, and no place stands ready: everybody passes through the waiting room; limit the \
                 connections, or let at least 1 wait",
            ),
            Self { descriptors: DescriptorBudget::Fixed(0), .. } => {
                invalid("descriptors", "is 0: nobody could ever be served")
            }
            Self { descriptors: DescriptorBudget::Fixed(sockets), max_connections: Some(places), .. }
                if places > sockets =>
            {
                contradict(
                    "max_connections",
                    "descriptors",
                    "there are more places than sockets; allow more descriptors, or fewer connections",
                )
            }
            Self { batch: 0, .. } => invalid("batch", "is 0: nothing would be accepted; use at least 1"),
            Self { max_wait, .. } if max_wait.is_zero() => {
                invalid("max_wait", "is 0: every connection would be too old at once")
            }
            Self { pause, .. } if pause.is_zero() || *pause > LONGEST_PAUSE => invalid(
                "pause",
                "must be above 0 (a loop that spins) and at most 100 ms (freed descriptors lie idle)",
            ),
            _ => Ok(()),
        }
    }

    fn check_order(&self) -> Result<(), ConfigError> {
        if let Some(problem) = self.accept_rate.as_ref().and_then(Rate::problem) {
            return invalid("accept_rate", problem);
        }
        if let Order::Adaptive { target, give_up, .. } = self.order {
            if give_up <= target {
                return invalid(
                    "order",
                    "gives up before its target: everybody would be hopeless in overload",
                );
            }
            // With the default order a short wait is meant: who waits longer is refused before the order changes.
            if target >= self.max_wait && self.order != Order::ADAPTIVE {
                return contradict(
                    "order",
                    "max_wait",
                    "who waits longer than the target is refused before the order can change; raise max_wait, or \
                     use a smaller target",
                );
            }
        }
        let Some(early) = self.refuse_early else { return Ok(()) };
        if early.percent > 100 || early.full < early.from {
            return invalid("refuse_early", "must grow: from at most full, and at most 100 percent");
        }
        if early.from >= self.max_waiting {
            return contradict(
                "refuse_early",
                "max_waiting",
                "so many never wait: nobody would be refused early; begin below max_waiting",
            );
        }
        if self.when_full == WhenFull::BackPressure {
            return contradict(
                "refuse_early",
                "when_full",
                "back-pressure leaves in the kernel whom the other refuses; choose one",
            );
        }
        Ok(())
    }

    fn check_sources(&self) -> Result<(), ConfigError> {
        let share = &self.share;
        if share.alpha == Some(0) || share.max_per_source == Some(0) {
            return invalid(
                "share",
                "is 0: no source could hold a second connection, or any; use None for no limit",
            );
        }
        if let Some(problem) = share.per_second.as_ref().and_then(Rate::problem) {
            return invalid("share.per_second", problem);
        }
        if share.per_second.is_some_and(|rate| !rate.ramp.is_zero()) {
            return invalid("share.per_second", "has a ramp, which only `accept_rate` can have");
        }
        if share.v4_prefix > 32 || share.v6_prefix > 128 {
            return invalid("share", "has a prefix that is longer than the address: at most 32 and 128 bits");
        }
        if self.allow.iter().any(|allowed| self.deny.contains(allowed)) {
            return contradict("allow", "deny", "the same block is on both; the longer one would count");
        }
        Ok(())
    }

    fn check_stages(&self) -> Result<(), ConfigError> {
        if let Some(stage) = self.first_byte {
            if stage.within.is_zero() || stage.max_silent == 0 {
                return invalid("first_byte", "gives no time, or nobody a place: everybody would be refused");
            }
            if self.silent_close == SilentClose::Serve {
                return contradict(
                    "first_byte",
                    "silent_close",
                    "one waits for the client to speak first, the other is for servers that do",
                );
            }
        }
        match &self.refusal {
            Refusal::Reply(reply) if reply.as_bytes().is_empty() => {
                invalid("refusal", "is an empty reply; use Refusal::Close")
            }
            Refusal::Reply(reply) if reply.as_bytes().len() > Reply::LONGEST => {
                invalid("refusal", "is a reply of over 8 KiB, which may not fit into a new socket's buffer")
            }
            Refusal::Reply(_) if self.farewell.max == 0 || self.farewell.within.is_zero() => contradict(
                "refusal",
                "farewell",
                "a reply was asked for, and nobody may stay to read it; use Refusal::Close",
            ),
            _ => Ok(()),
        }
    }

    fn check_stall_watch(&self) -> Result<(), ConfigError> {
        let Some(watch) = &self.stall_watch else { return Ok(()) };
        if watch.threshold < SHORTEST_STALL {
            return invalid(
                "stall_watch.threshold",
                "is under 20 ms: what a busy machine does to everybody would be called a stall",
            );
        }
        if watch.slow_poll.is_zero() {
            return invalid("stall_watch.slow_poll", "is 0: every poll would be slow");
        }
        if watch.unready_after < SHORTEST_STALL {
            return invalid(
                "stall_watch.unready_after",
                "is under 20 ms: readiness would change with every hiccup; a very long time switches it off",
            );
        }
        Ok(())
    }

    /// Whether the settings can be meant together with what each lane has of its own.
    pub(crate) fn check_with(&self, lanes: &[LaneRules]) -> Result<(), ConfigError> {
        self.check()?;
        for lane in lanes {
            let mut own = self.clone();
            own.max_connections = lane.max_connections.or(self.max_connections);
            own.max_waiting = lane.max_waiting.unwrap_or(self.max_waiting);
            own.check()?;
        }
        let set_aside = lanes.iter().filter_map(|lane| lane.set_aside).fold(0, usize::saturating_add);
        match self.descriptors {
            DescriptorBudget::Fixed(sockets) if set_aside > sockets => contradict(
                "Lane::set_aside",
                "descriptors",
                "more is set aside than there is; allow more descriptors, or set less aside",
            ),
            _ => Ok(()),
        }
    }

    /// Whether a running server can go over to `next`.
    pub(crate) fn check_change(&self, next: &Self, lanes: &[LaneRules]) -> Result<(), ConfigError> {
        next.check_with(lanes)?;
        if self.accept_on != next.accept_on {
            return Err(ConfigError::Fixed { setting: "accept_on" });
        }
        if self.descriptors != next.descriptors {
            return Err(ConfigError::Fixed { setting: "descriptors" });
        }
        if self.stall_watch.is_some() != next.stall_watch.is_some() {
            return Err(ConfigError::Fixed { setting: "stall_watch" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AcceptOn, EarlyRefusal, Farewell, FirstByte, Share};

    fn refused(change: impl FnOnce(&mut Config)) -> ConfigError {
        let mut config = Config::default();
        change(&mut config);
        config.check().expect_err("the settings cannot be meant")
    }

    fn invalid_setting(change: impl FnOnce(&mut Config)) -> &'static str {
        match refused(change) {
            ConfigError::Invalid { setting, .. } => setting,
            other => panic!("{other:?}"),
        }
    }

    fn contradiction(change: impl FnOnce(&mut Config)) -> [&'static str; 2] {
        match refused(change) {
            ConfigError::Contradiction { first, second, .. } => [first, second],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_setting_that_cannot_be_meant_is_refused_by_name() {
        let rate = Rate::per_second(0);
        assert_eq!(Config::default().check(), Ok(()));
        assert_eq!(invalid_setting(|c| c.max_connections = Some(0)), "max_connections");
        assert_eq!(invalid_setting(|c| c.batch = 0), "batch");
        assert_eq!(invalid_setting(|c| c.max_wait = Duration::ZERO), "max_wait");
        assert_eq!(invalid_setting(|c| c.pause = Duration::from_secs(1)), "pause");
        assert_eq!(invalid_setting(|c| c.descriptors = DescriptorBudget::Fixed(0)), "descriptors");
        assert_eq!(invalid_setting(|c| c.accept_rate = Some(rate)), "accept_rate");
        assert_eq!(invalid_setting(|c| c.share.per_second = Some(rate)), "share.per_second");
        assert_eq!(invalid_setting(|c| c.share = Share { alpha: Some(0), ..Share::default() }), "share");
        assert_eq!(invalid_setting(|c| c.share.v4_prefix = 33), "share");
        assert_eq!(invalid_setting(|c| c.refuse_early = Some(EarlyRefusal::between(9, 3))), "refuse_early");
        assert_eq!(invalid_setting(|c| c.first_byte = Some(FirstByte::within(Duration::ZERO))), "first_byte");
        assert_eq!(invalid_setting(|c| c.refusal = Refusal::Reply(Reply::new(""))), "refusal");
        assert_eq!(invalid_setting(|c| c.refusal = Refusal::Reply(Reply::new([0; 8193]))), "refusal");
        let hasty = Duration::from_millis(10);
        let order = Order::Adaptive { target: hasty, interval: hasty, give_up: hasty };
        assert_eq!(invalid_setting(|c| c.order = order), "order");
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused_by_both_names() {
        assert_eq!(contradiction(|c| c.max_waiting = 0), ["max_waiting", "max_connections"]);
        let second = Duration::from_secs(1);
        let patient = Order::Adaptive { target: second, interval: second, give_up: 2 * second };
        assert_eq!(contradiction(|c| (c.order, c.max_wait) = (patient, second)), ["order", "max_wait"]);
        let hasty = Config { max_wait: Duration::from_millis(50), ..Config::default() };
        assert_eq!(hasty.check(), Ok(()), "nobody has asked for an order");
        let early = Some(EarlyRefusal::between(10, 20));
        let few = |c: &mut Config| (c.refuse_early, c.max_waiting) = (early, 10);
        assert_eq!(contradiction(few), ["refuse_early", "max_waiting"]);
        let kept = |c: &mut Config| (c.refuse_early, c.when_full) = (early, WhenFull::BackPressure);
        assert_eq!(contradiction(kept), ["refuse_early", "when_full"]);
        let sockets =
            |c: &mut Config| (c.max_connections, c.descriptors) = (Some(9), DescriptorBudget::Fixed(8));
        assert_eq!(contradiction(sockets), ["max_connections", "descriptors"]);
        let block = "10.0.0.0/8".parse().unwrap();
        assert_eq!(contradiction(|c| (c.allow, c.deny) = (vec![block], vec![block])), ["allow", "deny"]);
        let first = Some(FirstByte::within(Duration::from_secs(1)));
        let speaks = |c: &mut Config| (c.first_byte, c.silent_close) = (first, SilentClose::Serve);
        assert_eq!(contradiction(speaks), ["first_byte", "silent_close"]);
        let nobody = Farewell { max: 0, ..Farewell::default() };
        let mute = |c: &mut Config| (c.refusal, c.farewell) = (Refusal::Reply(Reply::new("no")), nobody);
        assert_eq!(contradiction(mute), ["refusal", "farewell"]);
    }

    #[test]
    fn a_lane_cannot_be_meant_otherwise_than_a_server() {
        let nobody = LaneRules { max_waiting: Some(0), ..LaneRules::default() };
        let all = LaneRules { set_aside: Some(9), ..LaneRules::default() };
        let few = Config { descriptors: DescriptorBudget::Fixed(8), ..Config::default() };
        assert!(matches!(Config::default().check_with(&[nobody]), Err(ConfigError::Contradiction { .. })));
        assert!(matches!(
            few.check_with(&[all]),
            Err(ConfigError::Contradiction { first: "Lane::set_aside", .. })
        ));
        let limited = Config { max_connections: Some(1), ..Config::default() };
        assert_eq!(limited.check_with(&[nobody]), Ok(()));
        assert!(limited.check_change(&Config::default(), &[nobody]).is_err());
    }

    #[test]
    fn an_error_says_what_to_do() {
        let told = refused(|c| c.max_waiting = 0).to_string();
        assert!(told.contains("`max_waiting` and `max_connections`") && told.contains("let at least 1 wait"));
    }

    #[test]
    fn where_it_accepts_cannot_be_changed_any_more() {
        let next = Config { accept_on: AcceptOn::Task, ..Config::default() };
        let fixed = ConfigError::Fixed { setting: "accept_on" };
        assert_eq!(Config::default().check_change(&next, &[]), Err(fixed));
        let next = Config { max_connections: Some(3), ..Config::default() };
        assert_eq!(Config::default().check_change(&next, &[]), Ok(()));
    }
}
