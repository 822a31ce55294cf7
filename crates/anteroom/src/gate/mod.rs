//! The gate: the one owner of every place and of everybody who waits for one.
//!
//! Owns the waiting room behind its lock, the doors (who takes from which lane), the register of
//! open connections and the epoll set that watches peers. The acceptor puts in, dispatchers and
//! [`Incoming`](crate::Incoming) take out, permits give back. It acts on what `admit` decides; no
//! user code, no subscriber and no recorder runs under its lock.

mod arrivals;
mod door;
mod open;
mod port;
mod register;
mod takers;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anteroom_listener::{PeerAddr, Poller, Stream};

use self::door::Door;
pub(crate) use self::door::Doorstep;
pub use self::open::Gone;
use self::open::Open;
pub(crate) use self::open::{CountedBy, OpenKey, Wire};
pub(crate) use self::port::Port;
use crate::admit::{Age, Arena, Judge, Limits, Room};
use crate::config::{AcceptOn, Refusal};
use crate::observe::Notes;

/// A connection may wait this long before anybody watches for its hang-up: most are taken at once,
/// and watching costs two system calls.
const WATCH_AFTER: Duration = Duration::from_millis(50);

/// Entries that are put under watch, or turned away, in one hold of the lock.
const AT_ONCE: usize = 64;

/// A connection in the waiting room.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) id: u64,
    pub(crate) port: usize,
    pub(crate) stream: Stream,
    pub(crate) peer: PeerAddr,
    /// Time in the kernel's accept queue, where the platform tells.
    pub(crate) kernel_wait: Option<Duration>,
    pub(crate) age: Age,
}

/// A connection that leaves the room, with a place taken for it.
#[derive(Debug)]
pub(crate) struct HandOver {
    pub(crate) parked: Parked,
    pub(crate) key: OpenKey,
    pub(crate) room_wait: Duration,
}

/// What an arrival comes with from the acceptor.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) parked: Parked,
    /// Past this age it has probably left: its peer has closed after sending.
    pub(crate) patience: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    ports: Vec<Arc<Port>>,
    poller: Poller,
    acceptor: anteroom_listener::Waker,
    judge: Judge,
    refusal: Refusal,
    notes: Arc<Notes>,
    accept_on: AcceptOn,
    /// Somebody waits for the last place to be given back.
    ending: AtomicBool,
    /// Some lane has lost its taker.
    abandoned: AtomicBool,
}

#[derive(Debug)]
struct State {
    room: Room<Parked>,
    doors: Vec<Door>,
    open: Arena<Open>,
    /// Tasks that have not ended.
    running: usize,
}

/// The numbers that a snapshot shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occupancy {
    pub(crate) open: usize,
    pub(crate) waiting: usize,
    pub(crate) oldest: Option<Instant>,
}

/// What a gate is made of.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) ports: Vec<Arc<Port>>,
    pub(crate) lanes: usize,
    pub(crate) limits: Limits,
    pub(crate) judge: Judge,
    pub(crate) refusal: Refusal,
    pub(crate) notes: Arc<Notes>,
    pub(crate) accept_on: AcceptOn,
}

impl Gate {
    pub(crate) fn new(plan: Plan, poller: Poller) -> Self {
        let Plan { ports, lanes, limits, judge, refusal, notes, accept_on } = plan;
        let state = State {
            room: Room::new(lanes, limits),
            doors: (0..lanes).map(|_| Door::default()).collect(),
            open: Arena::new(),
            running: 0,
        };
        let acceptor = poller.waker();
        Self {
            state: Mutex::new(state),
            ports,
            poller,
            acceptor,
            judge,
            refusal,
            notes,
            accept_on,
            ending: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
        }
    }

    pub(crate) fn poller(&self) -> &Poller {
        &self.poller
    }

    pub(crate) fn ports(&self) -> &[Arc<Port>] {
        &self.ports
    }

    pub(crate) fn notes(&self) -> &Notes {
        &self.notes
    }

    pub(crate) fn shared_notes(&self) -> Arc<Notes> {
        Arc::clone(&self.notes)
    }

    pub(crate) fn judge(&self) -> Judge {
        self.judge
    }

    pub(crate) fn wake_acceptor(&self) {
        self.acceptor.wake();
    }

    pub(crate) fn occupancy(&self) -> Occupancy {
        let state = self.lock();
        Occupancy {
            open: state.room.open(),
            waiting: state.room.len(),
            oldest: state.room.oldest().map(|age| age.handshake),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
