//! The new program as a child of the old one.
//!
//! Owns the child until it serves: who fails to is killed and reaped, who serves is left alone. Never blocks a worker of
//! a runtime; the exchange has a thread of its own.

use std::{
    fmt,
    future::Future,
    io,
    os::fd::{AsRawFd, OwnedFd},
    pin::Pin,
    process::{Child, Command},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use command_fds::CommandFdExt;
use rustix::{
    event::PollFlags,
    net::{AddressFamily, SocketFlags, SocketType},
    process::{Pid, PidfdFlags, Signal},
};

use super::{
    Estate, HandoverError, HandoverErrorKind,
    channel::{self, Channel},
    give::{self, Given, LAST_WORDS, Offer, UntilOver},
    predecessor::VARIABLE,
    steps::{Side, Step},
};

/// How long a new program that had begun to accept may take to serve those whom it has, before it is killed.
const AFTER_GO: Duration = Duration::from_secs(10);
/// Descriptors below are standard input, output and error.
const FIRST_FREE: i32 = 3;

/// The new program runs and serves; this one drains.
#[derive(Clone, Debug)]
pub struct Upgraded {
    pid: u32,
    given: Arc<Given>,
}

impl Upgraded {
    /// The process id of the new program.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How many connections it took out of the waiting room.
    #[must_use]
    pub fn handed_over(&self) -> u64 {
        self.given.connections
    }

    /// Why the others that waited stayed here, where they are served; `None`: there were none.
    #[must_use]
    pub fn kept(&self) -> Option<&HandoverError> {
        self.given.kept.as_ref()
    }
}

/// An upgrade under way. It resolves when the new program serves and has taken over those who wait, or has failed to and
/// is gone.
///
/// # Cancel safety
/// Dropping it loses only the answer; the upgrade goes on.
#[must_use = "it tells whether the new program serves"]
pub struct Upgrade(Arc<Outcome>);

impl Upgrade {
    /// Waits for it on this thread, which must not be one that a runtime needs.
    ///
    /// # Errors
    /// The new program does not serve; this one serves on.
    pub fn wait(self) -> Result<Upgraded, HandoverError> {
        let mut state = self.0.lock();
        loop {
            match state.answer.take() {
                Some(answer) => return answer,
                None => state = self.0.told.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Future for Upgrade {
    type Output = Result<Upgraded, HandoverError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock();
        match state.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("is_over", &self.0.lock().answer.is_some()).finish()
    }
}

/// Starts `command` and hands over to it, on a thread of its own and within this time. When it fails, this
/// server serves on at once, and the new program has a second more to end by itself, ten if it had begun to accept.
pub(crate) fn upgrade(estate: Box<dyn Estate>, command: Command, within: Duration) -> Upgrade {
    let outcome = Arc::new(Outcome::default());
    let teller = Teller(Arc::clone(&outcome));
    let thread = thread::Builder::new().name("anteroom-handover".into());
    let started = thread.spawn(move || {
        let answer = run(&*estate, command, within);
        teller.0.tell(answer);
    });
    if let Err(error) = started {
        outcome.tell(Err(system("make a thread for the exchange").because(error)));
    }
    Upgrade(outcome)
}

fn run(estate: &dyn Estate, command: Command, within: Duration) -> Result<Upgraded, HandoverError> {
    if let Err(reason) = estate.may_begin() {
        let error = HandoverError::of(Side::Old, HandoverErrorKind::NotNow { reason });
        estate.failed(&error, false);
        return Err(error);
    }
    let _over = UntilOver(estate);
    // Until somebody is started nobody has the listeners.
    let mut has_let_go = true;
    let answer = Offer::of(estate).and_then(|offer| start(estate, offer, command, within, &mut has_let_go));
    match &answer {
        Err(error) => estate.failed(error, has_let_go),
        Ok(upgraded) => {
            if let Some(error) = upgraded.kept() {
                estate.failed(error, false);
            }
        }
    }
    answer
}

fn start(
    estate: &dyn Estate,
    offer: Offer,
    mut command: Command,
    within: Duration,
    has_let_go: &mut bool,
) -> Result<Upgraded, HandoverError> {
    let (ours, theirs) = pair().map_err(|error| system("make the channel").because(error))?;
    let inode = rustix::fs::fstat(&theirs)
        .map_err(|error| system("look at the channel").because(io::Error::from(error)))?
        .st_ino;
    command.env(VARIABLE, format!("{}:{inode}", theirs.as_raw_fd()));
    command.preserved_fds(vec![theirs]);
    let mut channel = Channel::new(ours, Side::Old, within);
    channel.reached(Step::Began);
    let started = command.spawn();
    // With it goes this process's copy of the other end: from here on its end is the child's.
    drop(command);
    let child = started.map_err(|error| channel.error(HandoverErrorKind::Spawn).because(error))?;
    let pid = child.id();
    estate.started(pid);
    match give::give(&mut channel, estate, offer) {
        Ok(given) => Ok(Upgraded { pid, given: Arc::new(given) }),
        Err(error) => {
            let patience = if error.after() >= Some(Step::SentGo) { AFTER_GO } else { LAST_WORDS };
            let status = end(child, patience);
            // The child is dead; what it has started, if it was a wrapper, may have everything still.
            *has_let_go = channel.is_closed_within(Duration::ZERO);
            Err(match status {
                Some(status) => error.with_status(status),
                None => error,
            })
        }
    }
}

/// Both ends of a channel, neither of them in the place of a standard stream, where the child has its own.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let theirs = if theirs.as_raw_fd() < FIRST_FREE {
        rustix::io::fcntl_dupfd_cloexec(&theirs, FIRST_FREE)?
    } else {
        theirs
    };
    Ok((ours, theirs))
}

/// Ends a child that was refused and reaps it; gives how it ended if it did so by itself, within this time.
fn end(mut child: Child, patience: Duration) -> Option<String> {
    let pidfd = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    let by_itself = match &pidfd {
        Some(pidfd) => channel::poll(pidfd, PollFlags::IN, channel::deadline(patience)),
        None => false,
    };
    if !by_itself {
        // Both fail only where it has ended meanwhile.
        let _ = match &pidfd {
            Some(pidfd) => rustix::process::pidfd_send_signal(pidfd, Signal::KILL).map_err(io::Error::from),
            None => child.kill(),
        };
    }
    // It fails where somebody else has reaped it.
    let status = child.wait().ok()?;
    by_itself.then(|| status.to_string())
}

fn system(what: &'static str) -> HandoverError {
    HandoverError::of(Side::Old, HandoverErrorKind::System { what })
}

/// The answer, on its way to whoever waits for it.
#[derive(Default)]
struct Outcome {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Default)]
struct State {
    answer: Option<Result<Upgraded, HandoverError>>,
    waker: Option<Waker>,
}

impl Outcome {
    /// The first answer counts.
    fn tell(&self, answer: Result<Upgraded, HandoverError>) {
        let mut state = self.lock();
        state.answer.get_or_insert(answer);
        let waker = state.waker.take();
        drop(state);
        self.told.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells something even if the thread panics, so that nobody waits for ever.
struct Teller(Arc<Outcome>);

impl Drop for Teller {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.tell(Err(system("bring the exchange to its end")));
        }
    }
}
