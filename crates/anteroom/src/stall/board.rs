//! The board: which thread runs which piece of user code, and since when.
//!
//! Owns a slot for each thread that has ever run something of this server. What a thread enters costs it
//! a few stores into its own slot; the pulse looks from outside. Never decides what lasts too long.

use std::cell::RefCell;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use histogram::{AtomicHistogram, Histogram};

use super::slot::{Glimpse, Slot, Work};
use super::thread;
use crate::observe::{Thread, microseconds};
use crate::tick::{Tick, nanos};

thread_local! {
    /// The slots of this thread, by the number of the board: one as a rule.
    static OWN: RefCell<Vec<(usize, Arc<Slot>)>> = const { RefCell::new(Vec::new()) };
}

/// So that boards are told apart in a thread that serves several servers.
static BOARDS: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
pub(crate) struct Board {
    number: usize,
    slots: Mutex<Vec<Arc<Slot>>>,
    /// Times of polls on threads that have ended.
    retired: AtomicHistogram,
    /// Polls that took longer than `slow_poll`, by lane.
    slow: Vec<AtomicU64>,
    /// In nanoseconds.
    slow_poll: AtomicU64,
    /// The pulse has gone to sleep, and is to be woken by whoever enters something.
    asleep: AtomicBool,
    pulse: OnceLock<std::thread::Thread>,
}

/// A piece of the user's code that this thread is in, until this is dropped: an unwinding thread leaves it too.
/// Not to be taken to another thread.
#[derive(Debug)]
pub(crate) struct Inside {
    seat: Arc<Slot>,
    since: Tick,
}

impl Inside {
    /// It goes on with another piece: how long the last one took, in nanoseconds.
    pub(crate) fn goes_on_with(&mut self, work: Work) -> u64 {
        let took = self.took();
        self.since = self.since.plus(took.max(1));
        self.seat.begin(self.since, work);
        took
    }

    /// The same piece, of which more is known, or the next that belongs to it: its time goes on.
    pub(crate) fn is_really(&mut self, work: Work) {
        self.since = self.since.next();
        self.seat.begin(self.since, work);
    }

    /// How long it has been inside, in nanoseconds.
    #[inline]
    pub(crate) fn took(&self) -> u64 {
        Tick::now().nanos_since(self.since)
    }

    /// Leaves: how long it took, in nanoseconds, and when that is.
    pub(crate) fn leave(self) -> (u64, Tick) {
        let took = self.took();
        (took, self.since.plus(took.max(1)))
    }

    /// It was a poll of a handler: leaves, and keeps how long it took, in nanoseconds.
    #[inline]
    pub(crate) fn leave_handler(self, now: Tick) -> u64 {
        let took = now.nanos_since(self.since);
        self.seat.poll_took(took);
        took
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.seat.end();
    }
}

/// Something that was seen running.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) slot: Arc<Slot>,
    pub(super) glimpse: Glimpse,
}

impl Running {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.slot, &other.slot) && self.glimpse.since == other.glimpse.since
    }

    /// Whether it has not come back meanwhile.
    pub(super) fn goes_on(&self) -> bool {
        self.slot.look().is_some_and(|now| now.since == self.glimpse.since)
    }

    pub(super) fn thread(&self) -> &Thread {
        &self.slot.thread
    }

    pub(super) fn work(&self) -> Work {
        self.glimpse.work
    }

    pub(super) fn since(&self) -> Tick {
        self.glimpse.since
    }
}

/// All threads at one look.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// What has been running for longer than was asked for.
    pub(super) long: Vec<Running>,
    /// How often something was entered so far, on all threads.
    pub(super) entered: u64,
    /// When the first of what is running and not yet long will be.
    pub(super) next: Option<Tick>,
}

impl Board {
    pub(crate) fn new(lanes: usize, slow_poll: Duration) -> Self {
        Self {
            number: BOARDS.fetch_add(1, Relaxed),
            slots: Mutex::default(),
            retired: microseconds(),
            slow: (0..lanes).map(|_| AtomicU64::new(0)).collect(),
            slow_poll: AtomicU64::new(nanos(slow_poll)),
            asleep: AtomicBool::new(false),
            pulse: OnceLock::new(),
        }
    }

    // ------------------------------------------------------------ the threads' side

    /// This thread enters `work`; what it was in it has left. `None` in a thread that is just ending.
    #[inline]
    pub(crate) fn enter(&self, work: Work) -> Option<Inside> {
        self.enter_at(Tick::now(), work)
    }

    /// The same, at a time that is later than that of anything that this thread has entered before.
    #[inline]
    pub(crate) fn enter_at(&self, since: Tick, work: Work) -> Option<Inside> {
        let seat = self.seat()?;
        seat.begin(since, work);
        // Afterwards: who finds the pulse awake has entered before it looks for the last time.
        self.stir();
        Some(Inside { seat, since })
    }

    #[inline]
    fn seat(&self) -> Option<Arc<Slot>> {
        let seat = OWN.try_with(|own| {
            if let Ok(own) = own.try_borrow() {
                if let Some((_, slot)) = own.iter().find(|(number, _)| *number == self.number) {
                    return Some(Arc::clone(slot));
                }
            }
            own.try_borrow_mut().ok().map(|mut own| self.add(&mut own))
        });
        seat.ok().flatten()
    }

    /// Something of a lane took so many nanoseconds.
    #[inline]
    pub(crate) fn count_if_slow(&self, lane: usize, took: u64) {
        if took >= self.slow_poll.load(Relaxed) {
            self.count_slow(lane);
        }
    }

    #[cold]
    fn count_slow(&self, lane: usize) {
        if let Some(slow) = self.slow.get(lane) {
            slow.fetch_add(1, Relaxed);
        }
    }

    /// Something moves: a pulse that sleeps is woken. Costs a load where it does not.
    #[inline]
    pub(crate) fn stir(&self) {
        if self.asleep.load(Relaxed) {
            self.wake_pulse();
        }
    }

    #[cold]
    fn wake_pulse(&self) {
        if self.asleep.swap(false, AcqRel) {
            if let Some(pulse) = self.pulse.get() {
                pulse.unpark();
            }
        }
    }

    #[cold]
    fn add(&self, own: &mut Vec<(usize, Arc<Slot>)>) -> Arc<Slot> {
        // Boards that are gone let go of theirs.
        own.retain(|(_, slot)| Arc::strong_count(slot) > 1);
        let name = std::thread::current().name().map(str::to_owned);
        let slot = Arc::new(Slot::new(Thread { name, id: thread::own_id() }));
        own.push((self.number, Arc::clone(&slot)));
        self.lock().push(Arc::clone(&slot));
        slot
    }

    // ------------------------------------------------------------ the pulse's side

    pub(super) fn watched_by(&self, pulse: std::thread::Thread) {
        let _only_the_first = self.pulse.set(pulse);
    }

    /// From now on whoever enters something wakes the pulse. Says whether it was so already.
    pub(super) fn fall_asleep(&self) -> bool {
        self.asleep.swap(true, AcqRel)
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.asleep.load(Relaxed)
    }

    pub(super) fn wake_up(&self) {
        self.asleep.store(false, Relaxed);
    }

    pub(super) fn call_slow(&self, poll: Duration) {
        self.slow_poll.store(nanos(poll), Relaxed);
    }

    /// What has been running for `long` and longer. Threads that have ended are forgotten.
    pub(super) fn look(&self, now: Tick, long: Duration) -> Look {
        let mut look = Look::default();
        let mut slots = self.lock();
        slots.retain(|slot| {
            let lives = Arc::strong_count(slot) > 1;
            if !lives {
                self.retire(slot);
            }
            lives
        });
        for slot in slots.iter() {
            look.entered = look.entered.wrapping_add(slot.begun());
            let Some(glimpse) = slot.look() else { continue };
            let due = glimpse.since + long;
            if due <= now {
                look.long.push(Running { slot: Arc::clone(slot), glimpse });
            } else {
                look.next = Some(look.next.map_or(due, |next| next.min(due)));
            }
        }
        look
    }

    /// The threads that have run something, to be asked again as long as they live.
    pub(super) fn threads(&self) -> Vec<Weak<Slot>> {
        self.lock().iter().map(Arc::downgrade).collect()
    }

    fn retire(&self, slot: &Slot) {
        for bucket in slot.times.load().iter().filter(|bucket| bucket.count() > 0) {
            let _in_range = self.retired.add(bucket.end(), bucket.count());
        }
    }

    // ------------------------------------------------------------ everybody's

    /// Polls of a lane that were slow, since the start.
    pub(crate) fn slow_polls(&self, lane: usize) -> u64 {
        self.slow.get(lane).map_or(0, |slow| slow.load(Relaxed))
    }

    /// How long polls of handlers took, on all threads, in microseconds.
    pub(crate) fn poll_times(&self) -> Histogram {
        let slots = self.lock();
        let mut all = self.retired.load();
        for slot in slots.iter() {
            // All have the same buckets.
            let _overflown = all.checked_add_assign(&slot.times.load());
        }
        all
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Part;

    fn work(key: u64) -> Work {
        Work { part: Part::Handler, of: 0, key, span: 0 }
    }

    fn enter(board: &Board, key: u64) -> Inside {
        board.enter(work(key)).expect("this thread goes on")
    }

    fn long_ones(board: &Board) -> Vec<u64> {
        let look = board.look(Tick::now(), Duration::ZERO);
        look.long.iter().map(|running| running.glimpse.work.key).collect()
    }

    #[test]
    fn two_boards_on_one_thread_do_not_see_each_other() {
        let (one, other) = (Board::new(1, Duration::MAX), Board::new(1, Duration::MAX));
        let (in_one, _in_other) = (enter(&one, 1), enter(&other, 2));
        assert_eq!((long_ones(&one), long_ones(&other)), (vec![1], vec![2]));
        drop(in_one);
        assert_eq!((long_ones(&one), long_ones(&other)), (vec![], vec![2]));
    }

    #[test]
    fn what_is_not_long_yet_says_when_it_will_be() {
        let board = Board::new(1, Duration::MAX);
        let _inside = enter(&board, 1);
        let look = board.look(Tick::now(), Duration::from_secs(3600));
        assert!(look.long.is_empty() && look.entered == 1);
        let due = look.next.expect("it runs");
        assert!(due > Tick::now() + Duration::from_secs(3590), "an hour after it began");
    }

    #[test]
    fn a_thread_that_ended_is_forgotten_and_its_times_are_not() {
        let board = Arc::new(Board::new(1, Duration::from_millis(5)));
        let on = Arc::clone(&board);
        let thread = std::thread::Builder::new().name("a-worker".into()).spawn(move || {
            let mut inside = enter(&on, 1);
            std::thread::sleep(Duration::from_millis(7));
            on.count_if_slow(0, inside.goes_on_with(work(2)));
            let look = on.look(Tick::now(), Duration::ZERO);
            std::thread::sleep(Duration::from_millis(7));
            inside.leave_handler(Tick::now());
            look.long.first().map(|running| running.slot.thread.clone())
        });
        let seen = thread.expect("a thread").join().expect("it ends").expect("it ran");
        assert_eq!(seen.name.as_deref(), Some("a-worker"));
        assert!(long_ones(&board).is_empty());
        assert_eq!(board.poll_times().as_slice().iter().sum::<u64>(), 1);
        assert_eq!(board.slow_polls(0), 1);
        assert!(crate::observe::distribution(&board.poll_times()).max >= Duration::from_millis(7));
    }

    #[test]
    fn a_thread_that_unwinds_is_inside_of_nothing() {
        let board = Board::new(1, Duration::MAX);
        let unwinds = std::panic::catch_unwind(|| {
            let _inside = enter(&board, 1);
            std::panic::resume_unwind(Box::new("as a subscriber may"));
        });
        assert!(unwinds.is_err() && long_ones(&board).is_empty());
    }

    #[test]
    fn who_enters_something_wakes_a_pulse_that_sleeps() {
        let board = Board::new(1, Duration::MAX);
        board.watched_by(std::thread::current());
        board.fall_asleep();
        let _inside = enter(&board, 1);
        assert!(!board.is_asleep());
        // The token is there: this does not wait.
        std::thread::park();
    }
}
