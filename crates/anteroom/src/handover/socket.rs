//! Where unrelated processes ask for a handover.
//!
//! Owns the socket, its file and its thread. Never speaks with a process of another user, never lets two exchanges run
//! at a time (the estate says which one may), never waits for a successor on the thread that accepts.

use std::{
    fmt,
    io::{self, ErrorKind},
    net::Shutdown,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags};

use super::{
    Estate, HandoverError, HandoverErrorKind,
    channel::{self, Channel},
    credentials,
    error::Tried,
    give::{self, LAST_WORDS, Offer, UntilOver},
    message::Message,
    place::Place,
    steps::{Side, Step},
    succession,
};

/// How long one who has connected may take to say what it wants.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// How many may speak at a time; all but one of them are only told to come later. The next one waits in the queue.
const MAX_GUESTS: usize = 8;
/// How long to leave it when `accept` fails, or there are too many guests.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes the estate of one exchange.
pub(crate) type Estates = Arc<dyn Fn() -> Box<dyn Estate> + Send + Sync>;

/// A Unix socket at which a successor may ask this server to hand over. It serves one after the other until one has
/// taken over, or until it is dropped; an exchange that is under way then goes on to its end.
///
/// Only processes of this one's user, and of root, are answered, and nobody else may open the socket's file.
#[must_use = "dropping it closes the socket"]
pub struct HandoverSocket {
    path: PathBuf,
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl HandoverSocket {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for HandoverSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandoverSocket").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Its file is gone when this returns.
impl Drop for HandoverSocket {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            // A panic there was reported where it happened.
            let _ = thread.join();
        }
    }
}

/// Listens for successors at `path`. In a process that is a successor itself, the path may be its predecessor's: then
/// this takes its place there when the exchange is over.
///
/// # Errors
/// The path is of no use, somebody else listens there, or there is no thread or descriptor to be had.
pub(crate) fn offer_on(
    estates: Estates,
    path: &Path,
    within: Duration,
) -> Result<HandoverSocket, HandoverError> {
    let resources = |what| move |error: io::Error| system(what).because(error);
    let place = Place::at(path)?;
    let (ear, mouth) = UnixStream::pair().map_err(resources("make a pair of sockets"))?;
    let stop = Arc::new(Stop { told: AtomicBool::new(false), given_away: AtomicBool::new(false), mouth });
    let door = Door { estates, within, stop: Arc::clone(&stop), guests: Arc::new(()) };
    let thread = thread::Builder::new().name("anteroom-successors".into());
    let thread = thread
        .spawn(move || door.keep(place, &ear))
        .map_err(resources("make the thread that waits for successors"))?;
    Ok(HandoverSocket { path: path.to_owned(), stop, thread: Some(thread) })
}

/// Tells the thread to end; anybody may, also twice.
struct Stop {
    told: AtomicBool,
    /// The path is, or may at any moment be, the successor's.
    given_away: AtomicBool,
    mouth: UnixStream,
}

impl Stop {
    fn stop(&self) {
        self.told.store(true, Ordering::Release);
        // It wakes the poll for good; it fails only where that was done before.
        let _ = self.mouth.shutdown(Shutdown::Both);
        succession::wake();
    }

    fn is_told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }
}

/// What every guest is met with.
#[derive(Clone)]
struct Door {
    estates: Estates,
    within: Duration,
    stop: Arc<Stop>,
    /// Counted by its copies.
    guests: Arc<()>,
}

impl Door {
    fn keep(self, place: Place, ear: &UnixStream) {
        let listener = match place.settle(|| self.stop.is_told()) {
            Ok(Some(listener)) => listener,
            Ok(None) => return,
            Err(error) => return (self.estates)().failed(&error, false),
        };
        let pause = || channel::poll(ear, PollFlags::IN, channel::deadline(PAUSE));
        while !self.stop.is_told() {
            // One copy is this thread's.
            if Arc::strong_count(&self.guests) > MAX_GUESTS {
                pause();
                continue;
            }
            match listener.accept() {
                Ok(guest) => self.meet(guest),
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait(&listener, ear),
                // Out of descriptors, most likely; the guest stays in the queue.
                Err(_) => {
                    pause();
                }
            }
        }
        if self.stop.given_away.load(Ordering::Acquire) {
            listener.leave();
        }
    }

    fn meet(&self, guest: OwnedFd) {
        if let Err(error) = credentials::check(&guest, Side::Old) {
            return (self.estates)().failed(&error, false);
        }
        let channel = Channel::new(guest, Side::Old, HELLO_WITHIN);
        let door = self.clone();
        let thread = thread::Builder::new().name("anteroom-handover".into());
        if let Err(error) = thread.spawn(move || door.speak_with(channel)) {
            let error = system("make a thread for the exchange").because(error);
            (self.estates)().failed(&error, false);
        }
    }

    fn speak_with(&self, mut channel: Channel) {
        let estate = (self.estates)();
        match channel.receive() {
            Ok((Message::Hello {}, _)) => {}
            // Somebody looks whether anybody listens here.
            Err(error) if matches!(error.kind(), HandoverErrorKind::Vanished { .. }) => return,
            answer => {
                let error = match answer {
                    Ok((got, _)) => channel.unexpected(got, "hello"),
                    Err(error) => error,
                };
                channel.say(&abort(error.reason()));
                return estate.failed(&error, false);
            }
        }
        channel.within(self.within);
        if let Err(reason) = estate.may_begin() {
            channel.say(&abort(reason));
            return estate.failed(&channel.error(HandoverErrorKind::NotNow { reason }), false);
        }
        let _over = UntilOver(&*estate);
        self.hand_over(&mut channel, &*estate);
    }

    fn hand_over(&self, channel: &mut Channel, estate: &dyn Estate) {
        let offer = match Offer::of(estate) {
            Ok(offer) => offer,
            Err(error) => {
                channel.say(&abort(error.reason()));
                return estate.failed(&error, true);
            }
        };
        channel.reached(Step::Began);
        // Before the successor can know: the server may end, and this with it, as soon as it has been told.
        self.stop.given_away.store(true, Ordering::Release);
        match give::give(channel, estate, offer) {
            Ok(given) => {
                self.stop.stop();
                if let Some(error) = given.kept {
                    estate.failed(&error, false);
                }
            }
            Err(error) => {
                self.stop.given_away.store(false, Ordering::Release);
                // A successor closes its end when it has let the listeners go, by its death at the latest.
                let has_let_go = channel.is_closed_within(LAST_WORDS);
                estate.failed(&error, has_let_go);
            }
        }
    }
}

/// Until somebody comes, or the thread is to end.
fn wait(listener: &impl AsFd, ear: &UnixStream) {
    let mut two = [PollFd::new(listener, PollFlags::IN), PollFd::new(ear, PollFlags::IN)];
    // Whatever it says, the loop looks for itself.
    let _ = rustix::event::poll(&mut two, None);
}

fn abort(reason: impl Into<String>) -> Message {
    Message::Abort { reason: reason.into() }
}

fn system(what: &'static str) -> HandoverError {
    HandoverError::new(Tried::Listen, HandoverErrorKind::System { what })
}
