//! Everything that has a default, in one place.
//!
//! Owns the defaults and the checks that settings do not contradict each other. Never acts on them.

use std::time::Duration;

use crate::admit::{HalfClose, Judge, Limits, SilentClose};
use crate::lifecycle::StartError;

/// Every setting with its default. Builders take one with `config(..)`; their own setters override it.
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
    /// Connections of one lane that may wait for its service at the same time (default 4,096). When
    /// one more comes, the one that has waited longest in this lane is refused.
    ///
    /// Every connection passes through the room, also those that are taken at once: this is the
    /// largest burst that the acceptor may take in before the service's turn comes.
    pub max_waiting: usize,
    /// A waiting connection is refused at this age, counted from its handshake, the time in the
    /// kernel's queue included (default 10 s).
    #[cfg_attr(feature = "serde", serde(with = "duration"))]
    pub max_wait: Duration,
    /// Connections accepted from one listener before the next one has its turn (default 64).
    pub batch: usize,
    /// What to do with a peer that sent bytes and closed (default: serve for one second).
    pub half_close: HalfClose,
    /// What to do with a peer that closed without sending anything (default: drop).
    pub silent_close: SilentClose,
    /// What the refused see (default: a reset).
    pub refusal: Refusal,
    /// What to do when `accept` fails for want of descriptors (default: pause).
    pub out_of_descriptors: OutOfDescriptors,
    /// How long accepting pauses after it failed for want of descriptors or memory (default 80 ms, so
    /// that what somebody frees is in use within 100 ms; maximum 100 ms).
    #[cfg_attr(feature = "serde", serde(with = "duration"))]
    pub pause: Duration,
    /// How long a drain may take that nobody gave a time: of a server that is dropped, or whose
    /// listener or service failed (default 30 s).
    #[cfg_attr(feature = "serde", serde(with = "duration"))]
    pub drain_within: Duration,
    /// Where `accept` is called (default: on a thread of its own).
    pub accept_on: AcceptOn,
}

/// Where `accept` is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum AcceptOn {
    /// On a thread of its own, one for all listeners: whatever handlers do, the kernel's queue is
    /// being emptied.
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

/// What a refused client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Refusal {
    /// A reset (RST): cheap, and unambiguous. On Unix sockets a close.
    Reset,
    /// A close: FIN, or RST where the client had sent something (`tcp(7)`).
    Close,
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

/// Longest pause of accepting: descriptors that somebody frees are to be used within this time.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: None,
            max_waiting: 4096,
            max_wait: Duration::from_secs(10),
            batch: 64,
            half_close: HalfClose::Patience(Duration::from_secs(1)),
            silent_close: SilentClose::Drop,
            refusal: Refusal::Reset,
            out_of_descriptors: OutOfDescriptors::Pause,
            pause: Duration::from_millis(80),
            drain_within: Duration::from_secs(30),
            accept_on: AcceptOn::Thread,
        }
    }
}

impl Config {
    /// Whether the settings can be meant.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        let wrong = |setting, problem| Err(StartError::Setting { setting, problem });
        match self {
            Self { max_connections: Some(0), .. } => wrong(
                "max_connections",
                "is 0: nobody could ever be served; use Handle::pause to hold a server back",
            ),
            Self { max_waiting: 0, .. } => {
                wrong("max_waiting", "is 0: every connection passes through the waiting room; use at least 1")
            }
            Self { batch: 0, .. } => wrong("batch", "is 0: nothing would be accepted; use at least 1"),
            Self { max_wait, .. } if max_wait.is_zero() => {
                wrong("max_wait", "is 0: every connection would be too old at once")
            }
            Self { pause, .. } if pause.is_zero() || *pause > LONGEST_PAUSE => wrong(
                "pause",
                "must be above 0 (a loop that spins) and at most 100 ms (freed descriptors lie idle)",
            ),
            _ => Ok(()),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            max_connections: self.max_connections.unwrap_or(usize::MAX),
            max_waiting: self.max_waiting,
            max_wait: self.max_wait,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.check().expect_err("the settings cannot be meant").to_string()
    }

    #[test]
    fn settings_that_cannot_be_meant_are_refused_by_name() {
        assert!(Config::default().check().is_ok());
        assert!(refused(|c| c.max_connections = Some(0)).contains("max_connections"));
        assert!(refused(|c| c.max_waiting = 0).contains("max_waiting"));
        assert!(refused(|c| c.batch = 0).contains("batch"));
        assert!(refused(|c| c.max_wait = Duration::ZERO).contains("max_wait"));
        assert!(refused(|c| c.pause = Duration::from_secs(1)).contains("pause"));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_configuration_comes_from_text_and_refuses_unknown_keys() {
        let config: Config = serde_json::from_str(
            r#"{"max_connections": 7, "max_wait": "250ms", "half_close": {"patience": "100ms"}, "accept_on": "task"}"#,
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
