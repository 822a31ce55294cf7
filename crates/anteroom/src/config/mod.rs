//! Everything that has a default, in one place.
//!
//! Owns the defaults and the checks that settings do not contradict each other. Never acts on them.

mod budget;
mod check;
mod refusal;
mod stall_watch;

use std::time::Duration;

pub use self::budget::DescriptorBudget;
pub use self::check::ConfigError;
pub use self::refusal::{Farewell, Refusal, Reply};
pub use self::stall_watch::{Kick, StallWatch};
use crate::admit::{
    Access, EarlyRefusal, FirstByte, HalfClose, Judge, Order, Prefix, Prefixes, Rate, Rules, Share,
    SilentClose, WhenFull,
};

/// Every setting with its default. Builders take one with `config(..)`; their own setters override it.
///
/// All of them but [`accept_on`](Self::accept_on), [`descriptors`](Self::descriptors) and whether there is
/// a [`stall_watch`](Self::stall_watch) can be changed while a server runs, with
/// [`Handle::reconfigure`](crate::Handle::reconfigure).
///
/// It can be deserialized with the feature `serde`: unknown keys are an error, missing ones keep
/// their default, durations are written as `"250ms"`.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// let mut config = anteroom::Config::default();
/// config.max_connections = Some(10_000);
/// config.max_wait = Duration::from_secs(3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Config {
    /// Connections of one lane (one service, or one `Incoming`) that may be handed out at the same
    /// time: no lane takes another's places. `None` (the default): as many as come.
    pub max_connections: Option<usize>,
    /// Connections of one lane that may wait beyond those for whom a place of `max_connections` is
    /// free (default 4,096). 0: who finds no place is refused at once.
    ///
    /// Every connection passes through the room, also those that are taken at once. Where
    /// `max_connections` is `None` no place stands ready, and this is the largest burst that the
    /// acceptor may take in before the service's turn comes.
    pub max_waiting: usize,
    /// A waiting connection is refused at this age, counted from its handshake, the time in the
    /// kernel's queue included (default 10 s). In overload `give_up` of [`order`](Self::order) comes
    /// first.
    #[cfg_attr(feature = "serde", serde(with = "duration"))]
    pub max_wait: Duration,
    /// What to do when no more can be let in (default: refuse who has waited longest).
    pub when_full: WhenFull,
    /// The order in which those who wait are served (default: of arrival, newest first in overload).
    pub order: Order,
    /// What one source may have (default: eight times the places that are still free).
    pub share: Share,
    /// If any, only these may come; the longer of two blocks counts, on whichever list it is.
    pub allow: Vec<Prefix>,
    /// These may not come: refused as [`Cause::Denied`](crate::Cause::Denied), before the filter is
    /// asked.
    pub deny: Vec<Prefix>,
    /// How fast the connections of one lane are handed out (default: as fast as they are taken). The
    /// others wait. What comes due within 5 ms may be handed out at once. A ramp is counted from the start
    /// of the server, also when the rate is set later.
    pub accept_rate: Option<Rate>,
    /// Refuses some at random before the room is full (default: nobody).
    pub refuse_early: Option<EarlyRefusal>,
    /// Holds connections outside the service until they send something (default: no). A drain waits for
    /// those who are silent until their deadline, or its own. Where the platform cannot watch sockets
    /// (outside Linux) nobody is held.
    pub first_byte: Option<FirstByte>,
    /// How many sockets the server may hold (default: what `RLIMIT_NOFILE` leaves).
    pub descriptors: DescriptorBudget,
    /// Connections accepted from one listener before the next one has its turn (default 64).
    pub batch: usize,
    /// What to do with a peer that sent bytes and closed (default: serve for one second).
    pub half_close: HalfClose,
    /// What to do with a peer that closed without sending anything (default: drop).
    pub silent_close: SilentClose,
    /// What the refused see (default: a reset).
    pub refusal: Refusal,
    /// The bounds within which refused clients read a reply.
    pub farewell: Farewell,
    /// What to do when `accept` fails for want of descriptors (default: pause).
    pub out_of_descriptors: OutOfDescriptors,
    /// How long accepting pauses after it failed for want of descriptors or memory (default 80 ms, so
    /// that what somebody frees is in use within 100 ms; maximum 100 ms).
    #[cfg_attr(feature = "serde", serde(with = "duration"))]
    pub pause: Duration,
    /// How long a server that is [shut down](crate::Handle::shut_down) goes on accepting, without being
    /// ready, before it drains (default 0 s): as long as load balancers need to notice.
    #[cfg_attr(feature = "serde", serde(with = "duration"))]
    pub lame_duck: Duration,
    /// How long a drain may take that nobody gave a time: of a server that is shut down or dropped, or
    /// whose listener or service failed (default 30 s).
    #[cfg_attr(feature = "serde", serde(with = "duration"))]
    pub drain_within: Duration,
    /// How long a drain waits, once newcomers are fenced off, for handshakes that are under way (default
    /// 2 s; never beyond the drain's own deadline). They are over within a round trip; this is for those
    /// whose last segment was lost, and the bound for those of clients that have gone. A listener that
    /// [defers](crate::Listener::deferral) accepting is given as much time more as it defers:
    /// so long may it take until a client is let in who was connected and silent.
    #[cfg_attr(feature = "serde", serde(with = "duration"))]
    pub handshakes_within: Duration,
    /// How long it waits at least where the kernel cannot be asked for them, as in a sandbox, or does not
    /// know them all, as with SYN cookies: the longest round trip of a client (default 200 ms).
    #[cfg_attr(feature = "serde", serde(with = "duration"))]
    pub round_trip: Duration,
    /// Where `accept` is called (default: [`AcceptOn::Taker`]).
    pub accept_on: AcceptOn,
    /// How the server watches itself for stalls (default: with [`StallWatch::default`]). `None`: no thread
    /// for it, no stamps on polls, and readiness that knows phases only. Whether it watches holds from the
    /// start to the end; how can be changed.
    pub stall_watch: Option<StallWatch>,
}

/// How many a rate lets pass in 5 ms: timers are no finer than a millisecond, and come late, so a rate
/// that let no more pass at once would not be reached.
fn in_a_tick(rate: Rate) -> u32 {
    rate.per_second / 200
}

/// Where `accept` is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum AcceptOn {
    /// Whoever takes the connections accepts them too, in the runtime and without a hop between threads, as long as
    /// it is prompt; a thread looks after it, and accepts itself within some 10 ms when connections are left
    /// standing in the kernel's queue: handlers that block every worker do not stop `accept`.
    Taker,
    /// On a thread of its own, one for all listeners: whatever handlers do, the kernel's queue is
    /// being emptied. Where connections come more closely than one in 80 µs, it lets some 100 µs pass between two
    /// batches, so that a hop between threads is paid for several.
    Thread,
    /// In a task of the runtime on which the server is started, for those who want no hop between
    /// threads. The watch keeps its thread, which is mostly asleep.
    ///
    /// What is lost: handlers that block every worker stop `accept` as well, deadlines and the
    /// drain's end come late by as long, and a worker that blocks after it woke the task holds it up
    /// although others are idle. The kernel's queue is bounded by the backlog, so connections may be
    /// dropped meanwhile. Linux only.
    Task,
}

/// What to do when `accept` fails with `EMFILE` or `ENFILE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum OutOfDescriptors {
    /// Refuse one connection with the reserve descriptor, pause, and try again by time: whoever
    /// frees a descriptor is enough. What is queued stays queued.
    Pause,
    /// Treat it as a broken listener: the server drains and ends with an error.
    Fail,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: None,
            max_waiting: 4096,
            max_wait: Duration::from_secs(10),
            when_full: WhenFull::RefuseOldest,
            order: Order::ADAPTIVE,
            share: Share::default(),
            allow: Vec::new(),
            deny: Vec::new(),
            accept_rate: None,
            refuse_early: None,
            first_byte: None,
            descriptors: DescriptorBudget::Derived,
            batch: 64,
            half_close: HalfClose::Patience(Duration::from_secs(1)),
            silent_close: SilentClose::Drop,
            refusal: Refusal::Reset,
            farewell: Farewell::default(),
            out_of_descriptors: OutOfDescriptors::Pause,
            pause: Duration::from_millis(80),
            lame_duck: Duration::ZERO,
            drain_within: Duration::from_secs(30),
            handshakes_within: Duration::from_secs(2),
            round_trip: Duration::from_millis(200),
            accept_on: AcceptOn::Taker,
            stall_watch: Some(StallWatch::default()),
        }
    }
}

impl Config {
    /// What the room obeys. `sockets` is what the descriptor budget came to.
    pub(crate) fn rules(&self, sockets: Option<usize>) -> Rules {
        let back_pressure = self.when_full == WhenFull::BackPressure;
        let mut share = self.share.clone();
        share.alpha = share.alpha.filter(|_| !back_pressure);
        Rules {
            max_connections: self.max_connections,
            max_waiting: self.max_waiting,
            max_wait: self.max_wait,
            when_full: self.when_full,
            order: if back_pressure { Order::Fifo } else { self.order },
            refuse_early: self.refuse_early,
            exempt: Prefixes::new(share.exempt.iter().map(|&prefix| (prefix, ()))),
            share,
            first_byte: self.first_byte,
            accept_rate: self.accept_rate.map(|rate| Rate { burst: rate.burst.max(in_a_tick(rate)), ..rate }),
            descriptors: sockets.map(|sockets| sockets - self.farewells(Some(sockets))),
        }
    }

    /// How many may be in the farewell stage. `sockets` is what the descriptor budget came to.
    pub(crate) fn farewells(&self, sockets: Option<usize>) -> usize {
        match self.refusal {
            Refusal::Reply(_) => sockets.map_or(usize::MAX, |sockets| sockets / 4).min(self.farewell.max),
            Refusal::Reset | Refusal::Close => 0,
        }
    }

    pub(crate) fn access(&self) -> Access {
        Access::new(&self.allow, &self.deny)
    }

    pub(crate) fn judge(&self) -> Judge {
        Judge { silent_close: self.silent_close, half_close: self.half_close }
    }
}

/// Durations as text: `"250ms"`, `"1m 30s"`.
#[cfg(feature = "serde")]
pub(crate) mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*duration))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text).map_err(|error| {
            D::Error::custom(format_args!("`{text}` is no duration such as \"250ms\": {error}"))
        })
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_comes_from_text_and_refuses_unknown_keys() {
        let config: Config = serde_json::from_str(
            r#"{"max_connections": 7, "max_wait": "250ms", "half_close": {"patience": "100ms"}, "accept_on": "task",
                "order": {"adaptive": {"target": "50ms", "interval": "1s", "give_up": "2s"}},
                "share": {"alpha": null, "exempt": ["10.0.0.0/8"], "per_second": {"per_second": 5}},
                "deny": ["2001:db8::/32"], "first_byte": {"within": "5s"}, "descriptors": {"fixed": 99},
                "refuse_early": {"from": 10, "percent": 30, "full": 100}, "when_full": "refuse_oldest",
                "refusal": {"reply": "BUSY"}, "farewell": {"max": 3}}"#,
        )
        .expect("all keys are known");
        assert_eq!(config.max_connections, Some(7));
        assert_eq!(config.max_wait, Duration::from_millis(250));
        assert_eq!(config.half_close, HalfClose::Patience(Duration::from_millis(100)));
        assert_eq!(config.accept_on, AcceptOn::Task);
        assert_eq!(config.batch, Config::default().batch);
        let text = serde_json::to_string(&config).expect("it can be written");
        assert_eq!(serde_json::from_str::<Config>(&text).expect("and read"), config);
        let unknown = serde_json::from_str::<Config>(r#"{"max_conections": 7}"#).expect_err("a typing error");
        assert!(unknown.to_string().contains("max_conections"), "{unknown}");
    }
}
