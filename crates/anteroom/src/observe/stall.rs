//! Why clients are kept waiting: every cause by name, with its evidence and what to do about it.
//!
//! Owns the shapes and the words. Never looks at anything itself.

use std::fmt;
use std::time::Duration;

use anteroom_listener::PeerAddr;
use tracing::span;

/// Something that keeps clients waiting, at one moment of its life.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stall {
    /// What it is, with the evidence.
    pub cause: StallCause,
    /// For how long it has lasted.
    pub lasted: Duration,
    /// What it has cost so far, as far as can be told.
    pub cost: Cost,
}

/// An estimate of what a stall costs: whoever waits while it lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// Connections in the waiting room.
    pub waiting: usize,
    /// Age of the oldest of them since its handshake. `None` when there is nobody.
    pub oldest_wait: Option<Duration>,
    /// Connections in the kernel's queues, of all listeners. `None` where the platform does not tell.
    pub queued: Option<u64>,
    /// Connections that are open, the blamed ones included: none of them is served while every worker
    /// is held.
    pub open: usize,
}

/// Why clients are kept waiting.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StallCause {
    /// User code holds threads: a handler, a service or the filter does not come back.
    Held {
        /// Who holds which thread, the longest first.
        by: Vec<Blame>,
    },
    /// The runtime does not run what is ready, and no single handler holds it: other tasks do, or many handlers
    /// together, or nobody drives it.
    RuntimeLate {
        /// How long an empty task has been waiting for its turn.
        delay: Duration,
        /// How much of it polls of this server's handlers took on one thread, none of them long by itself.
        in_polls: Duration,
    },
    /// Somebody waits, and the service has answered `Pending` ever since.
    ServiceNotReady {
        /// The lane's number, in the order of [`Snapshot::lanes`](crate::Snapshot::lanes).
        lane: usize,
        /// Its listeners.
        listeners: Vec<String>,
    },
    /// Somebody waits, and every place is taken.
    LimitReached {
        /// The lane's number, in the order of [`Snapshot::lanes`](crate::Snapshot::lanes).
        lane: usize,
        /// Its listeners.
        listeners: Vec<String>,
        /// Connections of the lane that are open.
        open: usize,
    },
    /// Permits are held of connections that have ended: their places are lost until somebody drops them.
    PermitsLeaked {
        /// How many.
        permits: usize,
        /// For how long the first of them has been held beyond its end.
        oldest: Duration,
    },
    /// There are no descriptors left to accept with.
    OutOfDescriptors {
        /// Descriptors that are open in this process. `None` where it cannot be told.
        open: Option<u64>,
        /// How many it may have (`RLIMIT_NOFILE`). `None`: any number, or it cannot be told.
        limit: Option<u64>,
    },
    /// [`Handle::pause`](crate::Handle::pause), and nobody has resumed since.
    Paused,
    /// The whole process did not run, and did not ask for a processor: it was stopped by a signal, a
    /// debugger or a freezer, or its machine was. Told afterwards.
    ProcessStopped {
        /// For how long nothing ran, at least: the thread that looks may have been asleep when it began, for up to
        /// two seconds in a server with nothing to do.
        during: Duration,
    },
    /// The process was ready to run and was not given a processor. Told afterwards.
    Starved {
        /// How long the thread that watches was kept waiting for one.
        waited: Duration,
        /// For how long in that time some task of the host was kept waiting for a processor
        /// (`/proc/pressure/cpu`). `None` where the platform does not tell.
        pressure: Option<Duration>,
        /// For how long in that time the process's group had used up its quota (`cpu.stat`). `None`
        /// where the platform does not tell.
        throttled: Option<Duration>,
    },
    /// The runtime on which the server was started was shut down.
    RuntimeGone,
}

impl StallCause {
    /// Every name, each once.
    pub(crate) const LABELS: [&'static str; 10] = [
        "held",
        "runtime_late",
        "service_not_ready",
        "limit_reached",
        "permits_leaked",
        "out_of_descriptors",
        "paused",
        "process_stopped",
        "starved",
        "runtime_gone",
    ];

    /// The name in metrics and events.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Held { .. } => "held",
            Self::RuntimeLate { .. } => "runtime_late",
            Self::ServiceNotReady { .. } => "service_not_ready",
            Self::LimitReached { .. } => "limit_reached",
            Self::PermitsLeaked { .. } => "permits_leaked",
            Self::OutOfDescriptors { .. } => "out_of_descriptors",
            Self::Paused => "paused",
            Self::ProcessStopped { .. } => "process_stopped",
            Self::Starved { .. } => "starved",
            Self::RuntimeGone => "runtime_gone",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Held { by } => by.first().map_or(HELD, Blame::advice),
            Self::RuntimeLate { delay, in_polls } if is_most(*in_polls, *delay) => {
                "each poll is short and there are many: move what computes to spawn_blocking, or give the runtime more threads"
            }
            Self::RuntimeLate { .. } => {
                "look for blocking calls in tasks that are not this server's, and for a runtime that nobody drives any more"
            }
            Self::ServiceNotReady { .. } => {
                "see what the service's poll_ready waits for: a limit of its own, or a backend that does not answer"
            }
            Self::LimitReached { .. } => {
                "raise max_connections if the machine has room, or find out why connections stay open: a time limit in the handler, idle clients"
            }
            Self::PermitsLeaked { .. } => {
                "drop the connection or its permit when the handler ends: somebody keeps a Permit, or a Connection whose peer has gone, in a map or in a task that never ends"
            }
            Self::OutOfDescriptors { .. } => {
                "raise RLIMIT_NOFILE, or find who else in the process opens descriptors and keeps them; Config::descriptors refuses before it comes to this"
            }
            Self::Paused => "call Handle::resume",
            Self::ProcessStopped { .. } => {
                "look for SIGSTOP, a debugger, a frozen cgroup, a snapshot or a migration of the machine at this time"
            }
            Self::Starved { .. } => {
                "give the process more processor: a larger CPU quota or weight, fewer neighbours; no handler is to blame"
            }
            Self::RuntimeGone => {
                "keep the runtime until the server has stopped: await Server or Handle::stopped"
            }
        }
    }
}

fn is_most(part: Duration, whole: Duration) -> bool {
    part >= whole / 2
}

const HELD: &str = "move what blocks to spawn_blocking, or to a thread of its own";

impl fmt::Display for StallCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { by } => {
                for (position, blame) in by.iter().enumerate() {
                    let between = if position == 0 { "" } else { "; " };
                    write!(f, "{between}{blame}")?;
                }
                Ok(())
            }
            Self::RuntimeLate { delay, in_polls } => {
                write!(f, "the runtime has not run an empty task for {delay:.1?}, and ")?;
                match is_most(*in_polls, *delay) {
                    true => write!(f, "handlers of this server took {in_polls:.1?} of it together"),
                    false => f.write_str("no handler of this server holds it"),
                }
            }
            Self::ServiceNotReady { listeners, .. } => {
                write!(f, "the service of {} is not ready", Names(listeners))
            }
            Self::LimitReached { listeners, open, .. } => {
                write!(f, "all places of {} are taken: {open} connections are open", Names(listeners))
            }
            Self::PermitsLeaked { permits, oldest } => {
                write!(
                    f,
                    "{permits} permits are held of connections that have ended, the first for {oldest:.1?}"
                )
            }
            Self::OutOfDescriptors { open, limit } => {
                f.write_str("no descriptor is left to accept with")?;
                match (open, limit) {
                    (Some(open), Some(limit)) => write!(f, ": {open} of {limit} are open"),
                    _ => Ok(()),
                }
            }
            Self::Paused => f.write_str("accepting was paused by the operator"),
            Self::ProcessStopped { during } => write!(f, "the whole process was stopped for {during:.1?}"),
            Self::Starved { waited, pressure, throttled } => {
                write!(f, "the process waited {waited:.1?} for a processor")?;
                if let Some(throttled) = throttled.filter(|throttled| !throttled.is_zero()) {
                    write!(f, ", throttled by its group's quota for {throttled:.1?}")?;
                }
                match pressure {
                    Some(pressure) => write!(f, " (pressure on the host: {pressure:.1?})"),
                    None => Ok(()),
                }
            }
            Self::RuntimeGone => f.write_str("the runtime was shut down under the server"),
        }
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

/// Who holds a thread.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Blame {
    /// Which piece of user code was entered and has not come back.
    pub part: Part,
    /// For how long.
    pub lasted: Duration,
    /// The thread that it holds.
    pub thread: Thread,
    /// What that thread is doing.
    pub doing: Doing,
    /// The connection that it serves. `None` for [`Part::PollReady`] and [`Part::Filter`], which serve none
    /// yet, and for one that was written off at a drain's deadline.
    pub connection: Option<Blamed>,
    /// The listener of the connection, or those of the service, by name.
    pub listeners: Vec<String>,
}

impl Blame {
    fn advice(&self) -> &'static str {
        match &self.doing {
            Doing::Sleeping => "sleep with tokio::time::sleep",
            Doing::Burning { .. } => {
                "move the computation to spawn_blocking or a thread of its own, or yield now and then"
            }
            Doing::Waiting { call: Some(call), .. } if call == "futex" => {
                "hold no std lock while another handler may want it: use tokio::sync, or take locks in one order"
            }
            Doing::Waiting { .. } => "use tokio's own I/O, or move the blocking call to spawn_blocking",
            Doing::Unknown => HELD,
        }
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.part, Names(&self.listeners))?;
        if let Some(Blamed { id, peer, .. }) = &self.connection {
            write!(f, " (connection {id}, {peer})")?;
        }
        write!(f, " has held {} for {:.1?}: it {}", self.thread, self.lasted, self.doing)
    }
}

/// Which piece of user code it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Part {
    /// The future of a connection.
    Handler,
    /// The service's `call`, before it has returned a future.
    Call,
    /// The service's `poll_ready`.
    PollReady,
    /// The admission filter. It holds the acceptor: nobody is accepted meanwhile.
    Filter,
}

impl Part {
    /// The name in metrics and events.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Call => "call",
            Self::PollReady => "poll_ready",
            Self::Filter => "filter",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handler => "the handler",
            Self::Call => "call",
            Self::PollReady => "poll_ready",
            Self::Filter => "the filter",
        })
    }
}

/// A thread of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Thread {
    /// Its name as Rust knows it.
    pub name: Option<String>,
    /// Its kernel id (`gettid(2)`), as in `/proc/self/task`. `None` where the platform does not tell.
    pub id: Option<u32>,
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {}", self.name.as_deref().unwrap_or("(unnamed)"))?;
        match self.id {
            Some(id) => write!(f, " ({id})"),
            None => Ok(()),
        }
    }
}

/// What a thread that is held is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doing {
    /// It sleeps: `nanosleep` and its like.
    Sleeping,
    /// It waits in the kernel.
    Waiting {
        /// The system call, by name: `futex` for a lock, `read` for a pipe. `None` where the platform
        /// does not tell.
        call: Option<String>,
        /// The kernel's own place for it (`/proc/PID/task/TID/wchan`). `None` where it is hidden.
        place: Option<String>,
    },
    /// It computes.
    Burning {
        /// How much processor time it has used meanwhile.
        cpu: Duration,
    },
    /// The platform does not tell.
    Unknown,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sleeping => f.write_str("sleeps"),
            Self::Waiting { call, place } => {
                write!(f, "waits in {}", call.as_deref().unwrap_or("a system call"))?;
                match place {
                    Some(place) => write!(f, " ({place})"),
                    None => Ok(()),
                }
            }
            Self::Burning { cpu } => write!(f, "computes ({cpu:.1?} of processor time)"),
            Self::Unknown => f.write_str("does what the platform does not tell"),
        }
    }
}

/// A connection whose handler holds a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blamed {
    /// [`Info::id`](crate::Info::id).
    pub id: u64,
    /// Its peer.
    pub peer: PeerAddr,
    /// The name of its span. `None` where nobody listens to it.
    pub span: Option<&'static str>,
    /// The id of its span, the parent of the event that tells of the stall.
    pub span_id: Option<span::Id>,
}

/// Names in a sentence.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("?"),
            names => f.write_str(&names.join(", ")),
        }
    }
}
