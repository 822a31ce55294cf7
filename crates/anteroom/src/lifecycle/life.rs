//! The one-way street from starting to stopped.
//!
//! Owns the phase and the wishes of those who hold a handle. Reads no clock but for deadlines that
//! are given as a time from now.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::{AcceptError, ServeError};
use crate::observe::{Phase, Readiness, Report, Unready};
use crate::tick::Tick;

/// Why a server ends without having been asked.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Listener(AcceptError),
    Service(Arc<dyn Error + Send + Sync>),
    #[cfg(all(feature = "handover", target_os = "linux"))]
    NoSuccession(Arc<dyn Error + Send + Sync>),
    RuntimeGone,
}

impl Failure {
    fn with(self, report: Report) -> ServeError {
        match self {
            Self::Listener(source) => ServeError::Listener { source, report },
            Self::Service(source) => ServeError::Service { source, report },
            #[cfg(all(feature = "handover", target_os = "linux"))]
            Self::NoSuccession(source) => ServeError::NoSuccession { source, report },
            Self::RuntimeGone => ServeError::RuntimeGone { report },
        }
    }
}

#[derive(Debug)]
pub(crate) struct Life {
    phase: AtomicU8,
    paused: AtomicBool,
    /// It does not keep up: what the stall watch has found.
    behind: Mutex<Option<Unready>>,
    readiness: watch::Sender<Readiness>,
    /// A predecessor still accepts from the same sockets.
    held: AtomicBool,
    /// Another process accepts from the same sockets: they are closed, not drained.
    handed_over: AtomicBool,
    #[cfg(all(feature = "handover", target_os = "linux"))]
    exchanging: AtomicBool,
    /// The process that goes on in place of this one, under the same manager.
    #[cfg(feature = "systemd")]
    successor: OnceLock<u32>,
    /// Nobody who was cut is waited for any more.
    hurried: AtomicBool,
    lame_duck: Mutex<LameDuck>,
    deadline: Mutex<Option<Tick>>,
    failure: OnceLock<Failure>,
    outcome: OnceLock<Result<Report, ServeError>>,
    pub(crate) draining: CancellationToken,
    pub(crate) exhausted: CancellationToken,
    pub(crate) stopped: CancellationToken,
}

/// The time of the lame duck.
#[derive(Clone, Copy, Debug, Default)]
struct LameDuck {
    since: Option<Tick>,
    /// `None`: as long as nobody ends it.
    until: Option<Tick>,
}

/// In the order of `Phase`.
const PHASES: [Phase; 5] =
    [Phase::Starting, Phase::Serving, Phase::LameDuck, Phase::Draining, Phase::Stopped];

impl Life {
    pub(crate) fn new() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Starting as u8),
            paused: AtomicBool::new(false),
            behind: Mutex::new(None),
            readiness: watch::Sender::new(Readiness::NotReady(Unready::Starting)),
            held: AtomicBool::new(false),
            handed_over: AtomicBool::new(false),
            #[cfg(all(feature = "handover", target_os = "linux"))]
            exchanging: AtomicBool::new(false),
            #[cfg(feature = "systemd")]
            successor: OnceLock::new(),
            hurried: AtomicBool::new(false),
            lame_duck: Mutex::default(),
            deadline: Mutex::new(None),
            failure: OnceLock::new(),
            outcome: OnceLock::new(),
            draining: CancellationToken::new(),
            exhausted: CancellationToken::new(),
            stopped: CancellationToken::new(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        let phase = usize::from(self.phase.load(Ordering::Acquire));
        PHASES.get(phase).copied().unwrap_or(Phase::Stopped)
    }

    /// Moves forward; says whether this call did it.
    pub(crate) fn enter(&self, phase: Phase) -> bool {
        let moved = self.phase.fetch_max(phase as u8, Ordering::AcqRel) < phase as u8;
        self.tell_readiness();
        moved
    }

    /// Whether clients are to be sent here.
    pub(crate) fn readiness(&self) -> Readiness {
        let unready = match self.phase() {
            Phase::Serving if self.is_paused() => Unready::Paused,
            Phase::Serving => match *self.behind.lock().unwrap_or_else(PoisonError::into_inner) {
                None => return Readiness::Ready,
                Some(why) => why,
            },
            Phase::Starting => Unready::Starting,
            Phase::LameDuck => Unready::LameDuck,
            Phase::Draining => Unready::Draining,
            Phase::Stopped => Unready::Stopped,
        };
        Readiness::NotReady(unready)
    }

    /// It does not keep up, or does again.
    pub(crate) fn falls_behind(&self, why: Option<Unready>) {
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = why;
        self.tell_readiness();
    }

    pub(crate) fn watch_readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.subscribe()
    }

    /// Asked for under the lock of the value: whoever tells last tells the latest.
    fn tell_readiness(&self) {
        self.readiness.send_if_modified(|told| {
            let now = self.readiness();
            std::mem::replace(told, now) != now
        });
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Whether takers may accept: neither the acceptor alone, nor nobody, nor somebody else is to.
    pub(crate) fn lets_in(&self) -> bool {
        !self.is_paused() && !self.is_held() && self.phase() < Phase::Draining
    }

    /// Says whether this call changed it.
    pub(crate) fn pause(&self) -> bool {
        let changed = !self.paused.swap(true, Ordering::AcqRel);
        self.tell_readiness();
        changed
    }

    /// Says whether this call changed it.
    pub(crate) fn resume(&self) -> bool {
        let changed = self.paused.swap(false, Ordering::AcqRel);
        self.tell_readiness();
        changed
    }

    /// Says whether no other handover is under way.
    #[cfg(all(feature = "handover", target_os = "linux"))]
    pub(crate) fn begin_exchange(&self) -> bool {
        !self.exchanging.swap(true, Ordering::AcqRel)
    }

    /// Whether it may show any moment that the queues are another process's.
    pub(crate) fn is_exchanging(&self) -> bool {
        #[cfg(all(feature = "handover", target_os = "linux"))]
        return self.exchanging.load(Ordering::Acquire);
        #[cfg(not(all(feature = "handover", target_os = "linux")))]
        false
    }

    #[cfg(all(feature = "handover", target_os = "linux"))]
    pub(crate) fn end_exchange(&self) {
        self.exchanging.store(false, Ordering::Release);
    }

    /// Accepting has to wait until the predecessor lets go.
    #[cfg(all(feature = "handover", target_os = "linux"))]
    pub(crate) fn hold(&self) {
        self.held.store(true, Ordering::Release);
    }

    #[cfg(all(feature = "handover", target_os = "linux"))]
    pub(crate) fn let_go(&self) {
        self.held.store(false, Ordering::Release);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// The queues are another process's.
    #[cfg(all(feature = "handover", target_os = "linux"))]
    pub(crate) fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Release);
    }

    /// Another process goes on in place of this one, under the same manager: to be said before the drain
    /// begins, which the manager would otherwise take for the end of the service.
    #[cfg(all(feature = "systemd", any(test, feature = "handover")))]
    pub(crate) fn succeeded_by(&self, process: u32) {
        let _the_first_stays = self.successor.set(process);
    }

    #[cfg(feature = "systemd")]
    pub(crate) fn successor(&self) -> Option<u32> {
        self.successor.get().copied()
    }

    pub(crate) fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Acquire)
    }

    /// Nobody who is cut gets any grace.
    pub(crate) fn hurry(&self) {
        self.hurried.store(true, Ordering::Release);
    }

    pub(crate) fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Acquire)
    }

    /// Becomes a lame duck, `within` (`None`: as long as nobody ends it) counted from when it became one;
    /// a later call brings the end forward, never puts it off. Says whether it became one.
    pub(crate) fn lame_duck(&self, within: Option<Duration>) -> bool {
        let mut duck = self.lame_duck.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *duck.since.get_or_insert_with(Tick::now);
        let asked = within.and_then(|within| since.checked_add(within));
        duck.until = duck.until.into_iter().chain(asked).min();
        self.enter(Phase::LameDuck)
    }

    /// When the lame duck has to begin its drain.
    pub(crate) fn lame_duck_until(&self) -> Option<Tick> {
        self.lame_duck.lock().unwrap_or_else(PoisonError::into_inner).until
    }

    /// Begins to drain, or brings the end of a drain forward; never puts it off. Says whether it began.
    pub(crate) fn drain(&self, within: Duration) -> bool {
        let asked = Tick::now().checked_add(within);
        self.begin(|known| match (known, asked) {
            (Some(known), Some(asked)) => Some(known.min(asked)),
            (known, asked) => known.or(asked),
        })
    }

    /// Begins to drain because of something that nobody gave a time for; `within` (`None`: as long as
    /// it takes) counts only if there is no drain yet. Says whether it began.
    pub(crate) fn wind_down(&self, within: Option<Duration>) -> bool {
        let is_first = self.phase() < Phase::Draining;
        let asked = within.and_then(|within| Tick::now().checked_add(within));
        self.begin(|known| if is_first { known.or(asked) } else { known })
    }

    fn begin(&self, deadline: impl FnOnce(Option<Tick>) -> Option<Tick>) -> bool {
        let began = {
            let mut known = self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
            *known = deadline(*known);
            self.enter(Phase::Draining)
        };
        self.draining.cancel();
        began
    }

    /// When the drain cuts what is still open. `None`: there is no drain, or it has all time.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drains because of `failure`; the first one is told.
    pub(crate) fn fail(&self, failure: Failure, drain_within: Duration) -> bool {
        let _the_first_stays = self.failure.set(failure);
        self.wind_down(Some(drain_within))
    }

    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }

    /// The end: whoever waits is told.
    pub(crate) fn finish(&self, report: Report) {
        let outcome = match self.failure.get() {
            None => Ok(report),
            Some(failure) => Err(failure.clone().with(report)),
        };
        let _the_first_stays = self.outcome.set(outcome);
        self.enter(Phase::Stopped);
        self.draining.cancel();
        self.exhausted.cancel();
        self.stopped.cancel();
    }

    pub(crate) fn outcome(&self) -> Option<&Result<Report, ServeError>> {
        self.outcome.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_only_move_forward() {
        let life = Life::new();
        assert!(life.enter(Phase::Draining));
        assert!(!life.enter(Phase::Serving));
        assert_eq!(life.phase(), Phase::Draining);
    }

    #[test]
    fn a_lame_duck_s_time_counts_from_its_beginning_and_is_never_put_off() {
        let life = Life::new();
        let before = Tick::now();
        assert!(life.lame_duck(None));
        assert_eq!(life.lame_duck_until(), None);
        assert!(!life.lame_duck(Some(Duration::from_secs(5))));
        let until = life.lame_duck_until().expect("it has an end now");
        assert!(until <= Tick::now() + Duration::from_secs(5) && until >= before + Duration::from_secs(5));
        life.lame_duck(Some(Duration::from_secs(60)));
        assert_eq!(life.lame_duck_until(), Some(until));
        life.drain(Duration::from_secs(1));
        assert!(!life.lame_duck(None));
        assert_eq!(life.phase(), Phase::Draining);
    }

    #[test]
    fn a_second_drain_brings_the_end_forward_and_never_puts_it_off() {
        let life = Life::new();
        assert!(life.drain(Duration::from_secs(60)));
        let first = life.deadline().expect("there is a deadline");
        assert!(!life.drain(Duration::from_secs(3600)));
        assert_eq!(life.deadline(), Some(first));
        life.drain(Duration::from_secs(1));
        assert!(life.deadline().expect("there is a deadline") < first);
    }

    #[test]
    fn a_failure_or_a_drop_does_not_shorten_a_drain_that_was_given_a_time() {
        let life = Life::new();
        life.drain(Duration::from_secs(60));
        let given = life.deadline();
        assert!(!life.wind_down(Some(Duration::from_secs(1))));
        life.fail(Failure::RuntimeGone, Duration::from_secs(1));
        assert_eq!(life.deadline(), given);

        let life = Life::new();
        assert!(life.wind_down(None));
        assert!(!life.wind_down(Some(Duration::from_secs(1))));
        assert_eq!(life.deadline(), None);
        life.drain(Duration::from_secs(1));
        assert!(life.deadline().is_some());
    }

    #[test]
    fn the_first_failure_is_the_one_that_is_told_with_the_report() {
        let life = Life::new();
        life.fail(Failure::RuntimeGone, Duration::ZERO);
        life.fail(Failure::Service(Arc::new(std::io::Error::other("later"))), Duration::ZERO);
        life.finish(Report { accepted: 3, ..Report::default() });
        match life.outcome() {
            Some(Err(ServeError::RuntimeGone { report })) => assert_eq!(report.accepted, 3),
            other => panic!("{other:?}"),
        }
        assert!(life.stopped.is_cancelled() && life.exhausted.is_cancelled());
    }
}
