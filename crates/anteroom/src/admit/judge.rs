//! What a hung-up peer means: the policy for connections whose client closed before it was served.
//!
//! Owns the table of states, ages and fates. Never looks at a socket: the state comes in as a value.

use std::time::Duration;

use anteroom_listener::{PeerAddr, PeerState, Unread};

use super::cause::{Cause, Death};

/// What to do with a peer that sent bytes and then closed its side.
///
/// TCP cannot tell a client that sent a request and left from one that half-closed and waits for
/// the answer: nothing that can be read differs. What is left is age. On Unix sockets the kernel
/// tells a full close, so there a half-close is always served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum HalfClose {
    /// Served while the connection is younger than this, counted from its handshake; then refused
    /// as [`Cause::ProbablyLeft`]. The default, with one second. On Unix sockets the kernel does not
    /// tell how long a connection was queued, so there it is counted from `accept`.
    Patience(#[cfg_attr(feature = "serde", serde(with = "crate::config::duration"))] Duration),
    /// Always served, whatever the age.
    Serve,
    /// For protocols that never half-close, such as HTTP: who closes has left, and is dead on
    /// arrival ([`Death::Gone`]).
    Gone,
}

/// What to do with a peer that closed its side without having sent a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum SilentClose {
    /// Dead on arrival ([`Death::Silent`]): nothing can be asked or answered. The default.
    Drop,
    /// Served: for protocols in which the server speaks first and a client may half-close at once.
    Serve,
}

/// The whole policy for peers that have hung up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge {
    pub(crate) silent_close: SilentClose,
    pub(crate) half_close: HalfClose,
}

/// What is to become of a connection, by its peer's state and its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Serve,
    /// Serve, but only until this age.
    ServeUntil(Duration),
    Dead(Death),
    Refuse(Cause),
}

impl Judgement {
    /// Whether it may be handed out now.
    pub(crate) fn serves(self) -> bool {
        matches!(self, Self::Serve | Self::ServeUntil(_))
    }
}

impl Judge {
    /// `age` is counted from the handshake. Whether the family tells a full close from a half-close
    /// is read off the peer's address: Unix sockets do, TCP does not.
    pub(crate) fn judge(&self, peer: &PeerAddr, state: PeerState, age: Duration) -> Judgement {
        match state {
            PeerState::Open => Judgement::Serve,
            PeerState::HalfClosed(Unread::Nothing) => match self.silent_close {
                SilentClose::Serve => Judgement::Serve,
                SilentClose::Drop => Judgement::Dead(Death::Silent),
            },
            PeerState::Closed(Unread::Nothing) => Judgement::Dead(Death::Silent),
            PeerState::HalfClosed(Unread::Bytes) if matches!(peer, PeerAddr::Unix) => Judgement::Serve,
            PeerState::HalfClosed(Unread::Bytes) | PeerState::Closed(Unread::Bytes) => {
                self.spoke_and_closed(age)
            }
            PeerState::Reset => Judgement::Dead(Death::Reset),
            // A state that a later listener crate may learn to tell: a living client is the safer guess.
            _ => Judgement::Serve,
        }
    }

    fn spoke_and_closed(&self, age: Duration) -> Judgement {
        match self.half_close {
            HalfClose::Serve => Judgement::Serve,
            HalfClose::Gone => Judgement::Dead(Death::Gone),
            HalfClose::Patience(patience) if age < patience => Judgement::ServeUntil(patience),
            HalfClose::Patience(_) => Judgement::Refuse(Cause::ProbablyLeft),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YOUNG: Duration = Duration::from_millis(999);
    const OLD: Duration = Duration::from_secs(1);
    const PATIENCE: HalfClose = HalfClose::Patience(OLD);

    fn judge(half_close: HalfClose, peer: PeerAddr, state: PeerState, age: Duration) -> Judgement {
        Judge { silent_close: SilentClose::Drop, half_close }.judge(&peer, state, age)
    }

    fn tcp() -> PeerAddr {
        PeerAddr::Tcp(([127, 0, 0, 1], 1).into())
    }

    #[test]
    fn on_tcp_a_close_after_bytes_is_told_apart_by_age() {
        let state = PeerState::HalfClosed(Unread::Bytes);
        assert_eq!(judge(PATIENCE, tcp(), state, YOUNG), Judgement::ServeUntil(OLD));
        assert_eq!(judge(PATIENCE, tcp(), state, OLD), Judgement::Refuse(Cause::ProbablyLeft));
        assert_eq!(judge(HalfClose::Serve, tcp(), state, OLD), Judgement::Serve);
        assert_eq!(judge(HalfClose::Gone, tcp(), state, YOUNG), Judgement::Dead(Death::Gone));
    }

    #[test]
    fn on_unix_a_half_close_is_alive_under_every_policy() {
        for policy in [PATIENCE, HalfClose::Serve, HalfClose::Gone] {
            let state = PeerState::HalfClosed(Unread::Bytes);
            assert_eq!(judge(policy, PeerAddr::Unix, state, OLD), Judgement::Serve);
        }
    }

    #[test]
    fn on_unix_a_full_close_after_bytes_follows_the_policy() {
        let state = PeerState::Closed(Unread::Bytes);
        assert_eq!(judge(PATIENCE, PeerAddr::Unix, state, YOUNG), Judgement::ServeUntil(OLD));
        assert_eq!(judge(PATIENCE, PeerAddr::Unix, state, OLD), Judgement::Refuse(Cause::ProbablyLeft));
        assert_eq!(judge(HalfClose::Serve, PeerAddr::Unix, state, OLD), Judgement::Serve);
        assert_eq!(judge(HalfClose::Gone, PeerAddr::Unix, state, YOUNG), Judgement::Dead(Death::Gone));
    }

    #[test]
    fn the_silent_are_dropped_unless_the_server_speaks_first_and_a_known_close_always() {
        let serve = Judge { silent_close: SilentClose::Serve, half_close: PATIENCE };
        let half = PeerState::HalfClosed(Unread::Nothing);
        let full = PeerState::Closed(Unread::Nothing);
        assert_eq!(judge(PATIENCE, tcp(), half, YOUNG), Judgement::Dead(Death::Silent));
        assert_eq!(serve.judge(&tcp(), half, OLD), Judgement::Serve);
        assert_eq!(serve.judge(&PeerAddr::Unix, full, YOUNG), Judgement::Dead(Death::Silent));
    }

    #[test]
    fn a_reset_is_dead_under_every_policy() {
        let lenient = Judge { silent_close: SilentClose::Serve, half_close: HalfClose::Serve };
        assert_eq!(lenient.judge(&tcp(), PeerState::Reset, YOUNG), Judgement::Dead(Death::Reset));
    }
}
