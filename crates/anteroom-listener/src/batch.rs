//! A handful of connections accepted in one turn, and one look at all of them.
//!
//! Owns the buffers of that look. Never decides what becomes of a connection, and never accepts without a bound.

use std::{io, os::fd::AsFd, time::Duration};

use crate::{
    AcceptErrorClass, Listener, PeerAddr, PeerState, Stream, Unread, queue::TcpKind, sys, sys::PollSet,
};

/// `TCP_ESTABLISHED` of `include/net/tcp_states.h`.
const ESTABLISHED: u8 = 1;

/// A connection as `accept` gave it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// The socket.
    pub stream: Stream,
    /// The address that `accept` itself returned; it is right even if the peer has reset the connection.
    pub peer: PeerAddr,
    /// `None`: not known, or not TCP.
    pub(crate) tcp_kind: Option<TcpKind>,
}

impl Accepted {
    /// Puts together what something other than a [`Listener`](crate::Listener) accepted.
    pub fn new(stream: Stream, peer: PeerAddr) -> Self {
        Self { stream, peer, tcp_kind: None }
    }

    /// What one call tells of a plain TCP connection whose peer has not left: how long it waited, and whether bytes wait.
    /// `None`: there is more to it.
    fn glance(&self) -> Option<(Option<Duration>, Unread)> {
        if self.tcp_kind != Some(TcpKind::Plain) {
            return None;
        }
        let info = sys::tcp_info(self.stream.as_fd())?;
        let unread = if info.received? > 0 { Unread::Bytes } else { Unread::Nothing };
        (info.state == Some(ESTABLISHED)).then_some((info.last_data_sent, unread))
    }
}

/// A connection, and what was known of it in its first moment.
#[derive(Debug)]
#[non_exhaustive]
pub struct Classified {
    /// The socket.
    pub stream: Stream,
    /// The address that `accept` itself returned.
    pub peer: PeerAddr,
    /// Whether the peer is still there.
    pub state: PeerState,
    /// Whether bytes of the peer were waiting to be read at that look, whatever the state;
    /// [`Nothing`](Unread::Nothing) if the look was lost. A multipath connection that was reset may be told as
    /// [`Bytes`](Unread::Bytes) though none wait: its kernel counts the end as one.
    pub unread: Unread,
    /// How long it waited in the kernel's queue, or an upper bound of it (see [`Batch::classify`]); `None` where the
    /// platform does not tell.
    pub kernel_wait: Option<Duration>,
}

/// How [`Batch::fill`] ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum BatchEnd {
    /// It made as many calls as it was allowed; there may be more in the queue.
    Full,
    /// The queue is empty.
    Empty,
    /// `accept` failed; what was accepted before stands in the batch.
    Error(io::Error),
}

/// The reusable buffers of one acceptor: in the steady state nothing is allocated per connection.
///
/// # Examples
///
/// ```
/// use anteroom_listener::{Batch, BatchEnd, Listener, PeerState};
///
/// let listener = Listener::bind("127.0.0.1:0")?;
/// let _client = std::net::TcpStream::connect(listener.local_addr().tcp().unwrap())?;
///
/// let mut batch = Batch::new();
/// let end = batch.fill(32, || listener.accept());
/// assert!(matches!(end, BatchEnd::Empty));
/// for connection in batch.classify() {
///     assert_eq!(connection.state, PeerState::Open);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Batch {
    accepted: Vec<Accepted>,
    polls: PollSet,
}

impl Batch {
    /// A wait in the kernel's queue that is too short to matter. Where the head of a batch waited less, nobody behind
    /// it waited longer, and the head's wait stands for all.
    pub const SHORT_WAIT: Duration = Duration::from_millis(10);

    /// No wait at all, by the kernel's clock: it goes in steps of a millisecond at least.
    pub const NO_WAIT: Duration = Duration::from_millis(1);

    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `accept` until it fails, at most `max` times, and keeps what it gives. A call that was interrupted
    /// (`EINTR`) counts and is made again.
    ///
    /// It is generic over the source so that faults can be put in front of a real listener. Fill from one listener,
    /// then [`classify`](Self::classify): the bound on the waits stands on the order of one queue.
    pub fn fill(&mut self, max: usize, mut accept: impl FnMut() -> io::Result<Accepted>) -> BatchEnd {
        for _ in 0..max {
            match accept() {
                Ok(accepted) => self.accepted.push(accepted),
                Err(error) => match AcceptErrorClass::of(&error) {
                    AcceptErrorClass::Interrupted => {}
                    AcceptErrorClass::Empty => return BatchEnd::Empty,
                    _ => return BatchEnd::Error(error),
                },
            }
        }
        BatchEnd::Full
    }

    /// How many connections it holds.
    pub fn len(&self) -> usize {
        self.accepted.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.accepted.is_empty()
    }

    /// Looks at all of them and empties the batch.
    ///
    /// The states, and whether bytes wait, come from one `poll` over the whole batch that does not wait; only a peer that
    /// hung up costs a second look. If the kernel refuses that call (it has no memory for it), all count as
    /// [`PeerState::Open`] with nothing unread: the look is lost, not the connections. One that is alone in its batch, is
    /// plain TCP and has not left costs one call for everything, `TCP_INFO`.
    ///
    /// The waits: the head's is read. The queue is first in, first out, so where the head waited less than
    /// [`SHORT_WAIT`](Self::SHORT_WAIT) its wait stands for the others, as an upper bound; else each is read.
    pub fn classify(&mut self) -> Classify<'_> {
        self.classify_within(None)
    }

    /// The same, where nobody in it can have waited longer than `longest`, because the queue was seen empty, or
    /// everybody in it was accepted, so long before the last of these was.
    ///
    /// Where that is less than [`NO_WAIT`](Self::NO_WAIT), waits of plain TCP connections are not read and are zero. That
    /// saves the dearest call of a connection that is alone in its batch. Whom another listener of a group left to this
    /// one (`net.ipv4.tcp_migrate_req`) then counts from there.
    pub fn classify_within(&mut self, longest: Option<Duration>) -> Classify<'_> {
        self.polls.clear();
        let nobody_waited = self.nobody_waited(longest);
        let glance = match &*self.accepted {
            [alone] if !nobody_waited => alone.glance(),
            _ => None,
        };
        let head = match glance {
            Some((wait, unread)) => {
                self.polls.push_answered(if unread == Unread::Bytes { libc::POLLIN } else { 0 });
                wait
            }
            None => {
                self.poll(None);
                self.wait_of_head(nobody_waited)
            }
        };
        self.classified(head, None)
    }

    /// The same, and the `poll` over the batch also looks whether anybody is left in the queue of `listener`, from which
    /// it was filled: see [`Classify::is_anybody_left`]. Cheaper than to ask for the queue's depth before, where few
    /// come at a time.
    pub fn classify_at(&mut self, listener: &Listener, longest: Option<Duration>) -> Classify<'_> {
        self.polls.clear();
        let nobody_waited = self.nobody_waited(longest);
        let was_polled = self.poll(Some(listener));
        let head = self.wait_of_head(nobody_waited);
        let left = self.polls.answer(self.accepted.len()).is_some_and(|listener| listener.has(libc::POLLIN));
        self.classified(head, Some(left || !was_polled))
    }

    fn nobody_waited(&self, longest: Option<Duration>) -> bool {
        longest.is_some_and(|longest| longest < Self::NO_WAIT)
            && self.accepted.first().is_some_and(|head| head.tcp_kind == Some(TcpKind::Plain))
    }

    /// Says whether the kernel answered.
    fn poll(&mut self, listener: Option<&Listener>) -> bool {
        for accepted in &self.accepted {
            self.polls.push(accepted.stream.as_fd(), sys::PEER_INTEREST);
        }
        if let Some(listener) = listener {
            self.polls.push(listener.as_fd(), libc::POLLIN);
        }
        let is_answered = self.polls.poll_now().is_ok();
        if !is_answered {
            self.polls.forget_answers();
        }
        is_answered
    }

    fn wait_of_head(&self, nobody_waited: bool) -> Option<Duration> {
        match nobody_waited {
            true => Some(Duration::ZERO),
            false => self.accepted.first().and_then(|head| head.stream.kernel_wait()),
        }
    }

    fn classified(&mut self, head: Option<Duration>, is_anybody_left: Option<bool>) -> Classify<'_> {
        let bound = head.filter(|wait| *wait < Self::SHORT_WAIT);
        Classify {
            accepted: self.accepted.drain(..),
            polls: &self.polls,
            place: 0,
            head,
            bound,
            is_anybody_left,
        }
    }
}

/// The connections of a [`Batch`] with what was known of them. What it has not given when it is dropped is closed.
#[derive(Debug)]
pub struct Classify<'a> {
    accepted: std::vec::Drain<'a, Accepted>,
    polls: &'a PollSet,
    /// Of the next.
    place: usize,
    /// What the first waited.
    head: Option<Duration>,
    /// What stands for the others.
    bound: Option<Duration>,
    is_anybody_left: Option<bool>,
}

impl Classify<'_> {
    /// Whether somebody stood in the listener's queue at the same look, behind those of the batch; or the look was lost.
    /// `None` where nobody looked: only [`Batch::classify_at`] does.
    pub fn is_anybody_left(&self) -> Option<bool> {
        self.is_anybody_left
    }
}

impl Iterator for Classify<'_> {
    type Item = Classified;

    fn next(&mut self) -> Option<Classified> {
        let Accepted { stream, peer, .. } = self.accepted.next()?;
        let ready = self.polls.answer(self.place)?;
        let state = PeerState::read(stream.as_fd(), ready);
        let unread = state.unread(stream.as_fd(), ready);
        let kernel_wait = match (self.place, self.bound) {
            (0, _) => self.head,
            (_, Some(bound)) => Some(bound),
            (_, None) => stream.kernel_wait(),
        };
        self.place += 1;
        Some(Classified { stream, peer, state, unread, kernel_wait })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.accepted.size_hint()
    }
}

impl ExactSizeIterator for Classify<'_> {}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn good() -> (Accepted, UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        (Accepted::new(Stream::Unix(here), PeerAddr::Unix), there)
    }

    /// A source that gives the errors in turn, then connections; `None` is a connection.
    fn source(script: &[Option<i32>]) -> impl FnMut() -> io::Result<Accepted> {
        let mut script = script.iter().copied();
        move || match script.next() {
            Some(Some(errno)) => Err(io::Error::from_raw_os_error(errno)),
            Some(None) => Ok(good().0),
            None => panic!("accept was called once too often"),
        }
    }

    #[test]
    fn it_stops_at_the_bound() {
        let mut batch = Batch::new();
        assert!(matches!(batch.fill(2, source(&[None, None])), BatchEnd::Full));
        assert_eq!(batch.len(), 2);
    }

    #[test]
    fn an_empty_queue_ends_it() {
        let mut batch = Batch::new();
        assert!(matches!(batch.fill(9, source(&[None, Some(libc::EAGAIN)])), BatchEnd::Empty));
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn an_interrupted_call_is_made_again_within_the_count() {
        let mut batch = Batch::new();
        assert!(matches!(batch.fill(3, source(&[Some(libc::EINTR), None, None])), BatchEnd::Full));
        assert_eq!(batch.len(), 2);
        assert!(matches!(batch.fill(2, source(&[Some(libc::EINTR), Some(libc::EINTR)])), BatchEnd::Full));
        assert_eq!(batch.len(), 2);
    }

    #[test]
    fn an_error_ends_it_and_keeps_what_was_accepted() {
        let mut batch = Batch::new();
        let end = batch.fill(9, source(&[None, Some(libc::EMFILE)]));
        assert!(matches!(end, BatchEnd::Error(error) if error.raw_os_error() == Some(libc::EMFILE)));
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn a_bound_of_nothing_accepts_nothing() {
        let mut batch = Batch::new();
        assert!(matches!(batch.fill(0, source(&[])), BatchEnd::Full));
        assert_eq!(batch.classify().count(), 0);
    }

    #[test]
    fn classifying_empties_the_batch_and_tells_the_gone_from_the_open() {
        let (open, _peer) = good();
        let (left, peer) = good();
        drop(peer);
        let mut both = vec![left, open];
        let mut batch = Batch::new();
        batch.fill(2, || Ok(both.pop().unwrap()));
        let states: Vec<_> = batch.classify().map(|connection| connection.state).collect();
        assert_eq!(states.first(), Some(&PeerState::Open));
        assert_ne!(states.last(), Some(&PeerState::Open));
        assert!(batch.is_empty());
    }

    #[test]
    fn an_iterator_that_is_dropped_closes_the_rest() {
        let ((first, _one), (second, other)) = (good(), good());
        let mut both = vec![second, first];
        let mut batch = Batch::new();
        batch.fill(2, || Ok(both.pop().unwrap()));
        let kept = batch.classify().next();
        assert!(kept.is_some() && batch.is_empty());
        assert_ne!(PeerState::of(&other).unwrap(), PeerState::Open);
    }
}
