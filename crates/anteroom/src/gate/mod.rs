//! The gate: the one owner of every place and of everybody who waits for one.
//!
//! Owns the waiting room behind its lock, the doors (who takes from which lane), the register of
//! open connections and the epoll set that watches peers. The acceptor puts in, dispatchers and
//! [`Incoming`](crate::Incoming) take out, permits give back. It acts on what `admit` decides; no
//! user code, no subscriber and no recorder runs under its lock.

mod arrivals;
mod door;
mod farewell;
mod hall;
mod line;
mod look;
mod open;
mod passage;
mod port;
mod register;
mod takers;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anteroom_listener::{PeerAddr, Poller, Stream};
use histogram::AtomicHistogram;

pub(crate) use self::door::{Asleep, Doorstep};
use self::farewell::Farewells;
use self::hall::{Hall, State};
pub(crate) use self::line::{Line, Opening};
pub(crate) use self::look::{Doorway, Pace};
pub use self::open::Gone;
pub(crate) use self::open::{CountedBy, OpenKey, Task as OpenTask, Whose, Wire};
#[cfg(all(feature = "handover", target_os = "linux"))]
pub(crate) use self::passage::From;
use self::passage::Passage;
pub(crate) use self::port::Port;
#[cfg(feature = "simulate")]
pub(crate) use self::takers::LOOK_AGAIN_AFTER;
use crate::admit::{Access, Age, Judge, LaneRules, Rules, Voice};
use crate::config::{AcceptOn, Config, Farewell, Refusal};
use crate::observe::{LaneSnapshot, Notes, microseconds};
use crate::tick::Tick;

/// A connection may wait this long before anybody watches for its hang-up: most are taken at once,
/// and watching costs two system calls.
pub(crate) const WATCH_AFTER: Duration = Duration::from_millis(50);

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
pub(crate) struct HandOver<'a> {
    pub(crate) parked: Parked,
    pub(crate) port: &'a Port,
    pub(crate) key: OpenKey,
    pub(crate) room_wait: Duration,
}

/// What an arrival comes with from the acceptor.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) parked: Parked,
    /// Whose share it takes, if anybody's.
    pub(crate) from: Option<IpAddr>,
    pub(crate) voice: Voice,
    /// It was let in before, here or at a predecessor's.
    pub(crate) is_moved: bool,
}

impl Newcomer {
    /// It need not speak first, whether bytes wait or not.
    pub(crate) fn who_spoke(self) -> Self {
        let voice = if self.voice == Voice::Silent { Voice::Spoke } else { self.voice };
        Self { voice, ..self }
    }
}

/// Whom an arrival wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Summons {
    /// Whoever takes from the lane, if they sleep until somebody comes.
    Taker,
    /// It is the taker itself who lets them in.
    Nobody,
}

#[derive(Debug)]
pub(crate) struct Gate {
    halls: Box<[Hall]>,
    lanes: usize,
    ports: Vec<Arc<Port>>,
    poller: Poller,
    acceptor: anteroom_listener::Waker,
    /// Replaced as a whole.
    policy: RwLock<Arc<Policy>>,
    farewells: Farewells,
    passage: Passage,
    notes: Arc<Notes>,
    accept_on: AcceptOn,
    /// A taker that sleeps may have to be woken by the acceptor.
    to_relay: AtomicBool,
    /// Somebody waits for the last place to be given back.
    ending: AtomicBool,
    /// The acceptor has left connections in the kernel, and waits for room. Written under the lock.
    holding_back: AtomicBool,
    /// Some lane has lost its taker.
    abandoned: AtomicBool,
    /// Turns of the acceptor: it lives as long as they grow when it is woken.
    turns: AtomicU64,
    delays: Delays,
}

/// How long takers waited for their turn on the runtime.
#[derive(Debug)]
struct Delays {
    /// In microseconds.
    histogram: AtomicHistogram,
    /// How often a taker was woken from outside the runtime and came.
    summons: AtomicU64,
}

/// The numbers that a snapshot shows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Occupancy {
    pub(crate) open: usize,
    pub(crate) waiting: usize,
    pub(crate) silent: usize,
    pub(crate) farewells: usize,
    pub(crate) sources: usize,
    pub(crate) oldest: Option<Tick>,
}

/// What is decided about a connection before it comes to the room, and done with it when it is refused.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) judge: Judge,
    pub(crate) access: Access,
    pub(crate) refusal: Refusal,
    pub(crate) farewell: Farewell,
    /// How many may be in the farewell stage: what the descriptors allow of what was asked for.
    pub(crate) farewells: usize,
}

impl Policy {
    /// `sockets` is what the descriptor budget came to.
    pub(crate) fn of(config: &Config, sockets: Option<usize>) -> Self {
        Self {
            judge: config.judge(),
            access: config.access(),
            refusal: config.refusal.clone(),
            farewell: config.farewell,
            farewells: config.farewells(sockets),
        }
    }
}

/// What a gate is made of.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) ports: Vec<Arc<Port>>,
    pub(crate) lanes: Vec<LaneRules>,
    /// Among how many locks the lanes are dealt out.
    pub(crate) halls: usize,
    pub(crate) rules: Rules,
    pub(crate) policy: Policy,
    /// Of the dice.
    pub(crate) seed: u64,
    pub(crate) notes: Arc<Notes>,
    pub(crate) accept_on: AcceptOn,
}

impl Gate {
    pub(crate) fn new(plan: Plan, poller: Poller) -> Self {
        let Plan { ports, lanes, halls, rules, policy, seed, notes, accept_on } = plan;
        let acceptor = poller.waker();
        Self {
            halls: Hall::build(halls, &lanes, &rules, seed),
            lanes: lanes.len(),
            ports,
            poller,
            acceptor,
            policy: RwLock::new(Arc::new(policy)),
            farewells: Farewells::default(),
            passage: Passage::default(),
            notes,
            accept_on,
            to_relay: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            holding_back: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            turns: AtomicU64::new(0),
            delays: Delays { histogram: microseconds(), summons: AtomicU64::new(0) },
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

    /// Where connections are let in: one for each lane.
    pub(crate) fn desks(&self) -> usize {
        self.lanes.max(1)
    }

    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn wake_acceptor(&self) {
        self.acceptor.wake();
    }

    pub(crate) fn count_turn(&self) {
        self.turns.fetch_add(1, Ordering::Release);
    }

    /// How late the runtime ran what the server had woken or asked.
    pub(crate) fn delays(&self) -> &AtomicHistogram {
        &self.delays.histogram
    }

    /// How many turns the acceptor has done.
    #[cfg(feature = "systemd")]
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Acquire)
    }

    pub(crate) fn occupancy(&self) -> Occupancy {
        let mut sum = Occupancy { farewells: self.farewells.len(), ..Occupancy::default() };
        for (_, state) in self.each_hall() {
            let room = &state.room;
            sum.open += room.open();
            sum.waiting += room.len() - room.silent();
            sum.silent += room.silent();
            sum.sources += room.sources();
            sum.oldest = [sum.oldest, room.oldest()].into_iter().flatten().min();
        }
        sum
    }

    /// Each lane at this moment.
    pub(crate) fn lanes(&self) -> Vec<LaneSnapshot> {
        let lanes = (0..self.lanes).map(|lane| {
            let (state, lane) = self.lock(lane);
            let room = &state.room;
            LaneSnapshot {
                open: room.open_in(lane),
                waiting: room.waiting_in(lane),
                silent: room.standing_in(lane) - room.waiting_in(lane),
                newest_first: room.is_newest_first(lane),
                slow_polls: 0,
            }
        });
        lanes.collect()
    }
}
