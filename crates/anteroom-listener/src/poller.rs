//! What an acceptor sleeps on: its listeners, the peers of those who wait, and a bell.
//!
//! Owns the one place to wait. Never accepts, never reads, never owns what it watches.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    Listener,
    sys::{Alarm, Interest, Notice, Notices, Selector, Sign},
};

/// Listeners' tokens have this bit inside the kernel, peers' do not.
const LISTENER: u64 = 1 << 63;
const ALARM: u64 = u64::MAX;

/// What one acceptor sleeps on. On Linux one epoll set and an eventfd; elsewhere poll(2) and a socket pair.
///
/// Registrations may come and go from any thread while another waits. One thread waits at a time.
///
/// # Examples
///
/// ```
/// use anteroom_listener::{Event, Events, Listener, Poller};
///
/// let listener = Listener::bind("127.0.0.1:0")?;
/// let poller = Poller::new()?;
/// poller.add_listener(&listener, 7)?;
///
/// let _client = std::net::TcpStream::connect(listener.local_addr().tcp().unwrap())?;
/// let mut events = Events::with_capacity(16);
/// poller.wait(&mut events, None)?;
/// assert!(events.iter().any(|event| event == Event::Listener(7)));
/// poller.remove_listener(&listener)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Poller {
    selector: Selector,
    waker: Waker,
}

impl Poller {
    /// A poller that watches nothing yet.
    ///
    /// # Errors
    ///
    /// What epoll_create1(2) and eventfd(2) give, or socketpair(2): out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        let selector = Selector::new()?;
        let alarm = Alarm::new()?;
        selector.add_alarm(&alarm, ALARM)?;
        let bell = Bell { alarm, is_ringing: AtomicBool::new(false) };
        Ok(Self { selector, waker: Waker { bell: Arc::new(bell) } })
    }

    /// What ends a sleep from any thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Watches a listener: [`Event::Listener`] comes for as long as `accept` has something to say (level-triggered).
    /// Of several processes or threads that watch one listener each is told.
    ///
    /// Remove it before the listener is dropped.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if it is watched already, `InvalidInput` if bit 63 of the token is set or all others are, and
    /// what epoll_ctl(2) gives.
    pub fn add_listener(&self, listener: &Listener, token: u64) -> io::Result<()> {
        let token = listener_token(token)?;
        self.changed(self.selector.add(listener.as_fd(), Interest::Acceptable, token))
    }

    /// Stops the events of a listener but keeps it registered. Linux: if the listener breaks meanwhile, that is still
    /// told, once.
    ///
    /// # Errors
    ///
    /// `NotFound` if it is not watched; else as [`add_listener`](Self::add_listener).
    pub fn pause_listener(&self, listener: &Listener, token: u64) -> io::Result<()> {
        let token = listener_token(token)?;
        self.changed(self.selector.modify(listener.as_fd(), Interest::Paused, token))
    }

    /// Lets the events of a paused listener come again; what waits in its queue is told at once.
    ///
    /// # Errors
    ///
    /// As [`pause_listener`](Self::pause_listener).
    pub fn resume_listener(&self, listener: &Listener, token: u64) -> io::Result<()> {
        let token = listener_token(token)?;
        self.changed(self.selector.modify(listener.as_fd(), Interest::Acceptable, token))
    }

    /// Forgets a listener.
    ///
    /// # Errors
    ///
    /// `NotFound` if it is not watched.
    pub fn remove_listener(&self, listener: &Listener) -> io::Result<()> {
        self.changed(self.selector.remove(listener.as_fd()))
    }

    /// Watches whether a peer hangs up while nobody reads its socket: [`Event::Peer`] comes for each way of it, and at
    /// once if it has already happened. Bytes that arrive are no event.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if it is watched already, `InvalidInput` if bit 63 of the token is set, and what epoll_ctl(2)
    /// gives.
    ///
    /// # Platform
    ///
    /// Linux only (`EPOLLRDHUP`, edge-triggered); elsewhere `Unsupported`.
    pub fn watch_peer(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        self.watch(socket.as_fd(), Interest::HangUp, token)
    }

    /// Watches whether a peer sends something or hangs up while nobody reads its socket: [`Event::Bytes`] comes when
    /// bytes arrive, again when more do, and at once if some are there already. A hang-up is [`Event::Peer`] as with
    /// [`watch_peer`](Self::watch_peer), with bytes before it or without: look at the socket.
    ///
    /// A socket is watched in one of the two ways at a time; to change it, [`unwatch_peer`](Self::unwatch_peer) first.
    ///
    /// # Errors
    ///
    /// As [`watch_peer`](Self::watch_peer).
    ///
    /// # Platform
    ///
    /// Linux only (`EPOLLIN` and `EPOLLRDHUP`, edge-triggered); elsewhere `Unsupported`.
    pub fn watch_bytes(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        self.watch(socket.as_fd(), Interest::Bytes, token)
    }

    /// Forgets a peer, whatever it was watched for. An event that another thread has already fetched can still come out of its [`Events`].
    ///
    /// # Errors
    ///
    /// `NotFound` if it is not watched.
    ///
    /// # Platform
    ///
    /// As [`watch_peer`](Self::watch_peer).
    pub fn unwatch_peer(&self, socket: impl AsFd) -> io::Result<()> {
        if !Selector::WATCHES_PEERS {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.selector.remove(socket.as_fd())
    }

    /// Sleeps until there are events, the time is over, or a [`Waker`] is used; what was in `events` is gone. Without a
    /// timeout it sleeps for as long as it takes. A timeout is rounded up to whole milliseconds. A signal ends it with
    /// no events; so can, outside Linux, a registration that another thread changes.
    ///
    /// # Errors
    ///
    /// What epoll_wait(2) or poll(2) gives, except for the signal.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match self.selector.wait(&mut events.notices, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.notices.clear(),
            result => result?,
        }
        if events.notices.iter().any(|notice| notice.token == ALARM) {
            self.waker.bell.quiet();
        }
        Ok(())
    }

    /// The epoll descriptor. It is itself readable while there are events, so that a task of an asynchronous runtime
    /// can await it and then [`wait`](Self::wait) with a timeout of zero.
    ///
    /// # Platform
    ///
    /// Linux only; elsewhere `None`.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.selector.as_fd()
    }

    fn watch(&self, socket: BorrowedFd<'_>, interest: Interest, token: u64) -> io::Result<()> {
        if !Selector::WATCHES_PEERS {
            return Err(io::ErrorKind::Unsupported.into());
        }
        if token & LISTENER != 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.selector.add(socket, interest, token)
    }

    /// Tells the sleeper of a change where it would not see it.
    fn changed(&self, result: io::Result<()>) -> io::Result<()> {
        if Selector::NEEDS_WAKE_AFTER_CHANGE && result.is_ok() {
            self.waker.wake();
        }
        result
    }
}

/// Ends the sleep of one [`Poller`], from any thread: the present one or, if it is awake, the next.
///
/// Wakes are coalesced: however many come between two sleeps, one call into the kernel is made and one
/// [`Event::Woken`] comes. What was written before [`wake`](Self::wake) is seen by whoever got that event.
#[derive(Clone, Debug)]
pub struct Waker {
    bell: Arc<Bell>,
}

impl Waker {
    /// Ends the sleep. Never blocks.
    pub fn wake(&self) {
        self.bell.ring();
    }
}

#[derive(Debug)]
struct Bell {
    alarm: Alarm,
    is_ringing: AtomicBool,
}

impl Bell {
    fn ring(&self) {
        if !self.is_ringing.swap(true, Ordering::AcqRel) && self.alarm.ring().is_err() {
            // Only a full counter or buffer refuses, and then it is ringing already.
            self.is_ringing.store(false, Ordering::Release);
        }
    }

    /// In this order: a ring that comes between the two is swallowed, but the event that is about to be returned
    /// stands for it. The other way round its byte would be read away while the flag says that one is under way.
    fn quiet(&self) {
        self.alarm.quiet();
        self.is_ringing.swap(false, Ordering::AcqRel);
    }
}

/// The reusable answer of [`Poller::wait`].
#[derive(Debug)]
pub struct Events {
    notices: Notices,
}

impl Events {
    /// Room for so many events of one wait, at least one. What does not fit comes with the next wait.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { notices: Notices::with_capacity(capacity) }
    }

    /// The events of the last wait.
    pub fn iter(&self) -> impl Iterator<Item = Event> {
        self.notices.iter().filter_map(event)
    }
}

/// What ended a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `accept` on this listener has something to say: a connection, or that the listener is broken.
    Listener(u64),
    /// This peer hung up.
    Peer {
        /// As it was given to [`Poller::watch_peer`] or [`Poller::watch_bytes`].
        token: u64,
        /// What is known of it now. Another event can follow when it becomes more.
        how: HungUp,
    },
    /// Bytes of this peer wait to be read, and it did not hang up.
    Bytes {
        /// As it was given to [`Poller::watch_bytes`].
        token: u64,
    },
    /// A [`Waker`] was used. Outside Linux it also comes when another thread changed a registration.
    Woken,
}

/// How a peer hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HungUp {
    /// It sends no more. On TCP a full close looks the same.
    HalfClosed,
    /// Both directions are closed: a Unix peer closed, or this side had shut down too.
    Closed,
    /// The connection is broken.
    Reset,
}

fn listener_token(token: u64) -> io::Result<u64> {
    if token & LISTENER != 0 || token | LISTENER == ALARM {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(token | LISTENER)
}

fn event(notice: Notice) -> Option<Event> {
    let Notice { token, sign } = notice;
    if token == ALARM {
        return Some(Event::Woken);
    }
    if token & LISTENER != 0 {
        return Some(Event::Listener(token & !LISTENER));
    }
    let how = match sign {
        Sign::ClosedOneWay => HungUp::HalfClosed,
        Sign::ClosedBothWays => HungUp::Closed,
        Sign::Error => HungUp::Reset,
        Sign::Readable => return Some(Event::Bytes { token }),
        Sign::Nothing => return None,
    };
    Some(Event::Peer { token, how })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_listeners_and_peers_are_kept_apart() {
        assert_eq!(listener_token(7).ok(), Some(LISTENER | 7));
        assert!(listener_token(LISTENER).is_err());
        assert!(listener_token(ALARM).is_err());
        assert!(listener_token(!LISTENER).is_err());
        let told = |token, sign| event(Notice { token, sign });
        assert_eq!(told(ALARM, Sign::Nothing), Some(Event::Woken));
        assert_eq!(told(LISTENER | 7, Sign::Error), Some(Event::Listener(7)));
        assert_eq!(told(7, Sign::Error), Some(Event::Peer { token: 7, how: HungUp::Reset }));
        assert_eq!(told(7, Sign::ClosedBothWays), Some(Event::Peer { token: 7, how: HungUp::Closed }));
        assert_eq!(told(7, Sign::ClosedOneWay), Some(Event::Peer { token: 7, how: HungUp::HalfClosed }));
        assert_eq!(told(7, Sign::Readable), Some(Event::Bytes { token: 7 }));
        assert_eq!(told(7, Sign::Nothing), None);
    }

    #[test]
    fn many_wakes_are_one_event() {
        let poller = Poller::new().unwrap();
        let waker = poller.waker();
        for _ in 0..1_000 {
            waker.wake();
        }
        let mut events = Events::with_capacity(8);
        poller.wait(&mut events, None).unwrap();
        assert_eq!(events.iter().collect::<Vec<_>>(), [Event::Woken]);
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.iter().count(), 0);
    }

    #[cfg(all(target_os = "linux", not(anteroom_portable)))]
    #[test]
    fn the_poller_is_itself_readable_while_it_has_something_to_tell() {
        let poller = Poller::new().unwrap();
        let is_readable = || {
            let mut one = crate::sys::PollSet::default();
            one.push(poller.as_fd().unwrap(), libc::POLLIN);
            one.poll_now().unwrap();
            one.answers().any(|ready| ready.has(libc::POLLIN))
        };
        assert!(!is_readable());
        poller.waker().wake();
        assert!(is_readable());
        let mut events = Events::with_capacity(8);
        poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.iter().next(), Some(Event::Woken));
        assert!(!is_readable());
        poller.waker().wake();
        assert!(is_readable(), "the next wake is told as well");
    }

    #[test]
    fn no_wake_is_lost_between_two_threads() {
        const ROUNDS: usize = 20_000;
        let poller = Poller::new().unwrap();
        let waker = poller.waker();
        let told = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    told.store(round, Ordering::Relaxed);
                    waker.wake();
                }
            });
            let mut events = Events::with_capacity(1);
            while told.load(Ordering::Relaxed) < ROUNDS {
                poller.wait(&mut events, Some(Duration::from_secs(30))).unwrap();
                assert_eq!(events.iter().next(), Some(Event::Woken), "a wake was lost");
            }
        });
    }
}
