//! The farewell: refused clients that are given time to read why.
//!
//! Owns the sockets of the refused from the reply to their close: at most so many, for so long, with so
//! many bytes read away each. Who is in here has been counted as refused already, and can neither wait
//! nor be served again.
//!
//! A close with unread bytes in the socket is a reset, which destroys the reply on its way
//! (`tcp_close` in the kernel's `net/ipv4/tcp.c`); so the reply is written, the sending side shut, and
//! what the client has sent is thrown away until it closes.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anteroom_listener::{Poller, Stream, discard_now, half_close, write_now};

use crate::admit::{Arena, Token};
use crate::config::{Farewell, Reply};
use crate::tick::Tick;

/// Tokens of the leaving in the epoll set carry this bit, and not that of the open.
pub(super) const FAREWELL_BIT: u64 = 1 << 61;

/// Where "for ever" was asked for, a century stands for it.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

#[derive(Debug, Default)]
pub(super) struct Farewells {
    leaving: Mutex<Leaving>,
    /// How many there are, to be read without the lock.
    len: AtomicUsize,
}

#[derive(Debug, Default)]
struct Leaving {
    streams: Arena<OnTheirWay>,
    due: BTreeSet<(Tick, Token)>,
    /// Nobody keeps time for them any more.
    over: bool,
}

#[derive(Debug)]
struct OnTheirWay {
    stream: Stream,
    due: Tick,
    /// Bytes that may still be read away.
    bytes: usize,
}

/// What became of one who was to be bidden farewell.
#[derive(Debug)]
pub(super) enum Bidden {
    /// It reads, or has left already.
    Goodbye,
    /// As [`Bidden::Goodbye`], and it is the first that has to be let go by time.
    FirstToBeLetGo,
    /// There is no room in this stage, or no reply could be written.
    Refused(Stream),
}

impl Farewells {
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Replies, and lets the client read that. `most` is how many may be in here.
    pub(super) fn bid(
        &self,
        poller: &Poller,
        stream: Stream,
        reply: &Reply,
        bounds: Farewell,
        most: usize,
        now: Tick,
    ) -> Bidden {
        let mut leaving = self.lock();
        if leaving.over || leaving.streams.len() >= most {
            return Bidden::Refused(stream);
        }
        let reply = reply.as_bytes();
        match write_now(&stream, &[IoSlice::new(reply)]) {
            Ok(written) if written == reply.len() => {}
            _ => return Bidden::Refused(stream),
        }
        // Who has reset the connection meanwhile is seen to have left below.
        let _gone_already = half_close(&stream);
        let Some(bytes) = throw_away(&stream, bounds.bytes) else { return Bidden::Goodbye };
        let due = now.checked_add(bounds.within.min(LONGEST)).unwrap_or(now);
        let token = leaving.streams.insert(OnTheirWay { stream, due, bytes });
        leaving.due.insert((due, token));
        let is_first = leaving.due.first().is_some_and(|&(_, first)| first == token);
        if let Some(one) = leaving.streams.get(token) {
            watch(poller, &one.stream, token.to_bits() | FAREWELL_BIT);
        }
        if is_first { Bidden::FirstToBeLetGo } else { Bidden::Goodbye }
    }

    /// The client has sent more, or closed.
    pub(super) fn stir(&self, token: Token) {
        let mut leaving = self.lock();
        let Some(one) = leaving.streams.get_mut(token) else { return };
        match throw_away(&one.stream, one.bytes) {
            Some(bytes) => one.bytes = bytes,
            None => leaving.let_go(token),
        }
    }

    /// Closes whose time is over. Says when to come again.
    pub(super) fn tend(&self, now: Tick) -> Option<Tick> {
        if self.len() == 0 {
            return None;
        }
        let mut leaving = self.lock();
        while let Some(&(due, token)) = leaving.due.first() {
            if due > now {
                return Some(due);
            }
            leaving.let_go(token);
        }
        None
    }

    /// Nobody keeps time for them any more: they are closed, and nobody is bidden farewell again.
    pub(super) fn close(&self) {
        let mut leaving = self.lock();
        leaving.over = true;
        leaving.due.clear();
        leaving.streams = Arena::default();
    }

    fn lock(&self) -> Locked<'_> {
        Locked { leaving: self.leaving.lock().unwrap_or_else(PoisonError::into_inner), len: &self.len }
    }
}

/// The lock; letting it go tells how many there are.
struct Locked<'a> {
    leaving: MutexGuard<'a, Leaving>,
    len: &'a AtomicUsize,
}

impl Deref for Locked<'_> {
    type Target = Leaving;

    fn deref(&self) -> &Leaving {
        &self.leaving
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Leaving {
        &mut self.leaving
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.len.store(self.leaving.streams.len(), Ordering::Release);
    }
}

impl Leaving {
    fn let_go(&mut self, token: Token) {
        if let Some(one) = self.streams.remove(token) {
            self.due.remove(&(one.due, token));
        }
    }
}

/// Watches for what the client still sends, and for its close. One that waited is in the set already,
/// under the name that it had in the room; one that cannot be watched at all is let go by time.
fn watch(poller: &Poller, stream: &Stream, token: u64) {
    let watched = poller.watch_bytes(stream, token);
    if watched.is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
        let _not_in_it = poller.unwatch_peer(stream);
        let _unwatched = poller.watch_bytes(stream, token);
    }
}

/// Reads away what is there. Gives how much more may be; `None` when there is nothing to wait for: the
/// client has closed, or has sent too much.
fn throw_away(stream: &Stream, most: usize) -> Option<usize> {
    let mut left = most;
    while left > 0 {
        match discard_now(stream, left) {
            Ok(0) => return None,
            Ok(read) => left = left.saturating_sub(read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(left),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    None
}
