//! The pace of one connection: what it is doing, since when, and what time makes of that.
//!
//! Owns every deadline. Reads no clock and touches no socket: it is told what happened and when, and
//! says what to do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What an HTTP/2 client says first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The least that an idle connection is kept when a drain begins. A request may lie in the kernel that
/// the runtime has not looked at, because its workers were busy: a timer that fires means that it has.
const LAST_LOOK: Duration = Duration::from_millis(5);

/// The times that a connection is given. `None`: all the time in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// For the head of a request, and for the first byte of the first one.
    pub(crate) headers: Option<Duration>,
    /// Between two requests.
    pub(crate) idle: Option<Duration>,
    /// For the next request of an idle HTTP/1 connection, and for the first byte, when the server drains.
    pub(crate) drain_grace: Duration,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing before this time, unless something happens.
    Wait(Option<Instant>),
    /// Finish what is under way, then close.
    Finish,
    /// Close: nothing is under way, and nothing has been said.
    Leave,
    /// The head of a request took longer than this.
    TooLate(Duration),
}

#[derive(Debug)]
enum Speaks {
    /// So many bytes of the preface of HTTP/2.
    NotYetKnown(usize),
    Http1,
    Http2,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pace {
    times: Times,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    speaks: Speaks,
    /// Requests whose answer has not been produced to its end.
    in_flight: usize,
    any_request: bool,
    /// When the head that is being read began. Not for HTTP/2, whose frames also say other things.
    head_since: Option<Instant>,
    /// When the last answer ended, or the connection began.
    idle_since: Instant,
    /// It speaks something else from now on, and its end is somebody else's.
    tunnel: bool,
    /// Everything has been said: only its end is waited for.
    closing: bool,
}

impl Pace {
    pub(crate) fn new(times: Times, now: Instant) -> Self {
        let state = State {
            speaks: Speaks::NotYetKnown(0),
            in_flight: 0,
            any_request: false,
            head_since: None,
            idle_since: now,
            tunnel: false,
            closing: false,
        };
        Self { times, state: Mutex::new(state) }
    }

    /// The client sent `bytes`, not none.
    pub(crate) fn read(&self, bytes: &[u8], clock: impl FnOnce() -> Instant) {
        let mut state = self.lock();
        let knows_all = match state.speaks {
            Speaks::NotYetKnown(_) => false,
            Speaks::Http1 => state.in_flight > 0 || state.head_since.is_some(),
            Speaks::Http2 => true,
        };
        if knows_all {
            return;
        }
        let now = clock();
        state.head_since.get_or_insert(now);
        if let Speaks::NotYetKnown(known) = state.speaks {
            let expected = PREFACE.get(known..).unwrap_or_default();
            let compared = expected.len().min(bytes.len());
            state.speaks = match bytes.get(..compared) == expected.get(..compared) {
                false => Speaks::Http1,
                true if compared == expected.len() => Speaks::Http2,
                true => Speaks::NotYetKnown(known + compared),
            };
            if matches!(state.speaks, Speaks::Http2) {
                state.head_since = None;
                state.idle_since = now;
            }
        }
    }

    /// The client took bytes: an HTTP/1 client is not idle while it takes the end of an answer.
    pub(crate) fn wrote(&self, clock: impl FnOnce() -> Instant) {
        let mut state = self.lock();
        if state.in_flight == 0 && !matches!(state.speaks, Speaks::Http2) {
            state.idle_since = clock();
        }
    }

    /// A request has come, with a whole head. It is in flight until the result is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> InFlight {
        let mut state = self.lock();
        state.in_flight += 1;
        state.any_request = true;
        state.head_since = None;
        drop(state);
        InFlight(Arc::clone(self))
    }

    /// The answer that goes out turns the connection over to another protocol.
    pub(crate) fn becomes_a_tunnel(&self) {
        self.lock().tunnel = true;
    }

    /// Whoever speaks HTTP here closes the connection. `false`: nobody does any more.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.lock();
        state.closing = !state.tunnel;
        state.closing
    }

    /// What to do at `now`, in a drain that this connection has heard of at `drain`.
    pub(crate) fn step(&self, now: Instant, drain: Option<Instant>) -> Step {
        let state = self.lock();
        let times = &self.times;
        if state.closing {
            return Step::Wait(None);
        }
        if drain.is_some() && matches!(state.speaks, Speaks::Http2) {
            // A GOAWAY takes nothing back: hyper says it, serves what comes until the client has heard
            // of it, and then says how far it got.
            return Step::Finish;
        }
        if state.in_flight > 0 {
            // Also in a drain: HTTP/1 can be told by an answer's head only, and if that has gone out,
            // the next one tells. Nobody tells when the last answer of several ends: look again.
            return Step::Wait(times.idle.map(|idle| now + idle));
        }
        if let Some(since) = state.head_since {
            return match times.headers {
                Some(within) if now >= since + within => Step::TooLate(within),
                within => Step::Wait(within.map(|within| since + within)),
            };
        }
        let silent = !state.any_request && !matches!(state.speaks, Speaks::Http2);
        // A close cannot be told from an answer that never comes by a client whose request crosses it,
        // so who asks often is waited for, and is told by the answer.
        let drained = drain.map(|drain| drain.max(state.idle_since) + times.drain_grace.max(LAST_LOOK));
        let allowed = if silent { times.headers } else { times.idle };
        let expired = allowed.map(|allowed| state.idle_since + allowed);
        if drained.is_some_and(|drained| now >= drained) {
            return if silent { Step::Leave } else { Step::Finish };
        }
        match (expired, allowed) {
            (Some(expired), Some(within)) if now >= expired => {
                if silent {
                    Step::TooLate(within)
                } else {
                    Step::Finish
                }
            }
            _ => Step::Wait([drained, expired].into_iter().flatten().min()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request whose answer has not been produced to its end.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Pace>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.in_flight -= 1;
        state.idle_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TIMES: Times = Times {
        headers: Some(Duration::from_secs(10)),
        idle: Some(Duration::from_secs(60)),
        drain_grace: SECOND,
    };

    fn begin() -> (Arc<Pace>, Instant) {
        let now = Instant::now();
        (Arc::new(Pace::new(TIMES, now)), now)
    }

    #[test]
    fn a_preface_is_known_however_it_is_cut() {
        for cut in 0..PREFACE.len() {
            let (pace, began) = begin();
            let (first, rest) = PREFACE.split_at(cut);
            for part in [first, rest, b"frames"].into_iter().filter(|part| !part.is_empty()) {
                pace.read(part, || began + SECOND);
            }
            let idle = Step::Wait(Some(began + SECOND + 60 * SECOND));
            assert_eq!(pace.step(began + SECOND, None), idle, "cut at {cut}");
        }
    }

    #[test]
    fn what_only_begins_like_a_preface_is_a_head_that_has_begun() {
        let (pace, began) = begin();
        for (part, second) in [(&b"P"[..], 1), (b"RI * HTTP/1.1", 2), (b"\r\n", 3)] {
            pace.read(part, || began + second * SECOND);
        }
        assert_eq!(pace.step(began + 4 * SECOND, None), Step::Wait(Some(began + 11 * SECOND)));
        assert_eq!(pace.step(began + 11 * SECOND, None), Step::TooLate(10 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_idle_before_the_last_answer_has_ended() {
        let (pace, began) = begin();
        let (first, second) = (pace.request(), pace.request());
        tokio::time::advance(100 * SECOND).await;
        drop(first);
        let now = began + 100 * SECOND;
        assert_eq!(pace.step(now, None), Step::Wait(Some(now + 60 * SECOND)), "only to look again");
        tokio::time::advance(100 * SECOND).await;
        drop(second);
        assert_eq!(pace.step(began + 259 * SECOND, None), Step::Wait(Some(began + 260 * SECOND)));
        assert_eq!(pace.step(began + 260 * SECOND, None), Step::Finish);
    }

    #[test]
    fn a_drain_lets_a_silent_one_speak_first_and_a_head_come_in_whole() {
        let (pace, began) = begin();
        let drain = began + 5 * SECOND;
        assert_eq!(pace.step(drain, Some(drain)), Step::Wait(Some(drain + SECOND)));
        assert_eq!(pace.step(drain + SECOND, Some(drain)), Step::Leave);
        pace.read(b"GET", || drain);
        assert_eq!(pace.step(drain + SECOND, Some(drain)), Step::Wait(Some(drain + 10 * SECOND)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_lets_who_could_not_be_told_by_this_answer_ask_once_more() {
        let (pace, began) = begin();
        let request = pace.request();
        let drain = began + 5 * SECOND;
        assert_eq!(pace.step(drain, Some(drain)), Step::Wait(Some(drain + 60 * SECOND)), "it is answered");
        tokio::time::advance(100 * SECOND).await;
        drop(request);
        let idle = began + 100 * SECOND;
        assert_eq!(pace.step(idle, Some(drain)), Step::Wait(Some(idle + SECOND)));
        assert_eq!(pace.step(idle + SECOND, Some(drain)), Step::Finish);
    }

    #[test]
    fn a_drain_without_grace_looks_once_more_at_an_idle_connection() {
        let now = Instant::now();
        let pace = Arc::new(Pace::new(Times { drain_grace: Duration::ZERO, ..TIMES }, now));
        drop(pace.request());
        let drain = now + 5 * SECOND;
        assert_eq!(pace.step(drain, Some(drain)), Step::Wait(Some(drain + LAST_LOOK)));
        assert_eq!(pace.step(drain + LAST_LOOK, Some(drain)), Step::Finish);
    }

    #[test]
    fn http2_is_told_at_once_whatever_it_does() {
        let (pace, began) = begin();
        pace.read(PREFACE, || began);
        assert_eq!(pace.step(began, Some(began)), Step::Finish);
        let _request = pace.request();
        assert_eq!(pace.step(began, Some(began)), Step::Finish);
    }

    #[test]
    fn no_deadline_meets_a_connection_that_is_being_closed() {
        let (pace, began) = begin();
        pace.read(b"nonsense", || began);
        assert!(pace.close());
        assert_eq!(pace.step(began + 100 * SECOND, Some(began)), Step::Wait(None));
    }

    #[test]
    fn a_tunnel_is_closed_by_who_speaks_in_it() {
        let (pace, _) = begin();
        pace.becomes_a_tunnel();
        assert!(!pace.close());
    }
}
