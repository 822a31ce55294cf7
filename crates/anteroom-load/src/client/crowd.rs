//! Clients that give up, each in a manner that has a name.
//!
//! Owns: connecting, the patience, and the leaving. A client that has no connection when its patience ends was
//! turned away: its handshake never finished.
//! Never: waits for anything but a moment; the caller drives it with [`Crowd::leave_due`].

use super::{begin_connect, reset_on_close, stream_socket};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    net::{SendFlags, Shutdown},
};
use std::{
    collections::VecDeque,
    fmt, io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

/// How a client gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Leaving {
    /// Says nothing and closes: FIN.
    Silent,
    /// Says nothing and resets: RST.
    Reset,
    /// Sends its request as soon as it can, and closes when its patience ends: bytes, then FIN.
    SendAndClose,
    /// Sends its request, closes its sending half, and waits for the answer. It has not left at all; for the
    /// server nothing tells it from the one before.
    SendAndHalfClose,
}

impl Leaving {
    /// Every manner, in the order in which the tallies count.
    pub const ALL: [Self; 4] = [Self::Silent, Self::Reset, Self::SendAndClose, Self::SendAndHalfClose];

    fn index(self) -> usize {
        match self {
            Self::Silent => 0,
            Self::Reset => 1,
            Self::SendAndClose => 2,
            Self::SendAndHalfClose => 3,
        }
    }

    fn request(self) -> Request {
        match self {
            Self::Silent | Self::Reset => Request::None,
            Self::SendAndClose | Self::SendAndHalfClose => Request::Due,
        }
    }
}

impl fmt::Display for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "closed without a byte",
            Self::Reset => "reset",
            Self::SendAndClose => "sent a request and closed",
            Self::SendAndHalfClose => "sent a request and half-closed",
        })
    }
}

/// One client to be.
#[derive(Clone, Debug)]
pub struct Leaver {
    /// The server.
    pub target: SocketAddr,
    /// Where it comes from; on loopback any address of 127.0.0.0/8, so that a server can tell the kinds apart.
    pub source: Option<IpAddr>,
    /// What it says, if its manner says anything.
    pub request: Arc<[u8]>,
    /// How it gives up.
    pub leaving: Leaving,
    /// When, counted from the connect.
    pub patience: Duration,
}

/// What became of the clients, by manner, in the order of [`Leaving::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrowdTally {
    /// Started to connect.
    pub arrived: [u64; 4],
    /// Were connected when they left.
    pub left: [u64; 4],
    /// Were not: the handshake had not finished.
    pub turned_away: [u64; 4],
    /// Half-closed clients that got an answer.
    pub answered: u64,
}

struct Present {
    socket: OwnedFd,
    leaver: Leaver,
    leaves: Instant,
    handshake: Handshake,
    request: Request,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Handshake {
    UnderWay,
    Finished,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Request {
    None,
    Due,
    Sent,
}

/// See the module.
#[derive(Default)]
pub struct Crowd {
    present: VecDeque<Present>,
    half_closed: Vec<OwnedFd>,
    tally: CrowdTally,
}

impl Crowd {
    /// Nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Connects one more. Clients must arrive in the order in which they leave: with one patience for all, they do.
    ///
    /// # Errors
    ///
    /// The socket could not be made, or the connect failed at once.
    pub fn arrive(&mut self, leaver: Leaver) -> io::Result<()> {
        let socket = stream_socket(leaver.target)?;
        if let Some(source) = leaver.source {
            rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
        }
        begin_connect(&socket, leaver.target)?;
        count(&mut self.tally.arrived, leaver.leaving);
        let leaves = Instant::now() + leaver.patience;
        let request = leaver.leaving.request();
        let mut present = Present { socket, leaver, leaves, handshake: Handshake::UnderWay, request };
        present.catch_up();
        self.present.push_back(present);
        Ok(())
    }

    /// When the next one leaves.
    #[must_use]
    pub fn next_departure(&self) -> Option<Instant> {
        self.present.front().map(|present| present.leaves)
    }

    /// Lets everyone go whose patience ended at or before `now`.
    pub fn leave_due(&mut self, now: Instant) {
        while self.present.front().is_some_and(|present| present.leaves <= now) {
            if let Some(present) = self.present.pop_front() {
                self.leave(present);
            }
        }
    }

    /// How many have not left yet.
    #[must_use]
    pub fn present(&self) -> usize {
        self.present.len()
    }

    /// The counts so far.
    #[must_use]
    pub fn tally(&self) -> CrowdTally {
        self.tally
    }

    /// Waits, `bound` at most, for the answers to those who half-closed.
    ///
    /// # Errors
    ///
    /// When polling fails.
    pub fn await_answers(&mut self, bound: Duration) -> io::Result<()> {
        let end = Instant::now() + bound;
        while !self.half_closed.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            let mut fds: Vec<_> =
                self.half_closed.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            match rustix::event::poll(&mut fds, Some(&timeout)) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            drop(fds);
            let tally = &mut self.tally;
            self.half_closed.retain(|socket| match rustix::io::read(socket, &mut [0_u8; 1]) {
                Ok(1) => {
                    tally.answered += 1;
                    false
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => true,
                Ok(_) | Err(_) => false,
            });
        }
        Ok(())
    }

    fn leave(&mut self, mut present: Present) {
        let manner = present.leaver.leaving;
        present.catch_up();
        if present.handshake == Handshake::UnderWay {
            count(&mut self.tally.turned_away, manner);
            return;
        }
        count(&mut self.tally.left, manner);
        match manner {
            Leaving::Silent | Leaving::SendAndClose => {}
            Leaving::Reset => {
                // A failure leaves a plain close; the socket is valid, so there is none.
                let _ = reset_on_close(&present.socket);
            }
            Leaving::SendAndHalfClose => {
                let _ = rustix::net::shutdown(&present.socket, Shutdown::Write);
                self.half_closed.push(present.socket);
            }
        }
    }
}

impl Present {
    /// Once right after the connect, and once more on leaving for those whose handshake took longer.
    fn catch_up(&mut self) {
        // An unfinished handshake has no peer yet. (Neither has a connection that the server reset, which is
        // why a handshake that was once seen finished stays so.)
        if self.handshake == Handshake::UnderWay && rustix::net::getpeername(&self.socket).is_ok() {
            self.handshake = Handshake::Finished;
        }
        if self.handshake == Handshake::Finished && self.request == Request::Due {
            // Few bytes into an empty buffer: it takes them, or the server has reset the connection.
            let _ = rustix::net::send(&self.socket, &self.leaver.request, SendFlags::NOSIGNAL);
            self.request = Request::Sent;
        }
    }
}

impl fmt::Debug for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crowd").field("present", &self.present.len()).field("tally", &self.tally).finish()
    }
}

fn count(counts: &mut [u64; 4], leaving: Leaving) {
    if let Some(count) = counts.get_mut(leaving.index()) {
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn leaver(target: SocketAddr, leaving: Leaving) -> Leaver {
        Leaver { target, source: None, request: Arc::from(&b"x"[..]), leaving, patience: Duration::ZERO }
    }

    /// A loaded machine may finish a handshake later than the connect.
    fn until_connected(crowd: &mut Crowd, count: usize) {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            crowd.present.iter_mut().for_each(Present::catch_up);
            let finished = |present: &&Present| present.handshake == Handshake::Finished;
            if crowd.present.iter().filter(finished).count() >= count {
                return;
            }
            assert!(Instant::now() < end, "no {count} handshakes finished");
            std::thread::yield_now();
        }
    }

    fn everyone_leaves(crowd: &mut Crowd) {
        if let Some(moment) = crowd.present.back().map(|present| present.leaves) {
            crowd.leave_due(moment);
        }
    }

    #[test]
    fn each_manner_of_leaving_is_what_the_server_sees() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let mut crowd = Crowd::new();
        for leaving in Leaving::ALL {
            crowd.arrive(leaver(target, leaving)).unwrap();
        }
        until_connected(&mut crowd, 4);
        everyone_leaves(&mut crowd);
        let read = |bytes: &mut [u8]| {
            let (mut stream, _) = listener.accept().unwrap();
            (stream.read(bytes).map_err(|error| error.kind()), stream)
        };
        let mut byte = [0];
        assert_eq!(read(&mut byte).0, Ok(0));
        assert_eq!(read(&mut byte).0, Err(io::ErrorKind::ConnectionReset));
        let (sent, mut stream) = read(&mut byte);
        assert_eq!((sent, byte), (Ok(1), *b"x"));
        assert_eq!(stream.read(&mut byte).unwrap(), 0);
        let (sent, mut stream) = read(&mut byte);
        assert_eq!((sent, byte), (Ok(1), *b"x"));
        stream.write_all(b"y").unwrap();
        crowd.await_answers(Duration::from_secs(10)).unwrap();
        let tally = crowd.tally();
        assert_eq!(tally.answered, 1);
        assert_eq!(tally.left, [1; 4]);
        assert_eq!(tally.turned_away, [0; 4]);
    }

    #[test]
    fn a_source_address_tells_the_kinds_apart() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let source: IpAddr = "127.0.7.3".parse().unwrap();
        let mut crowd = Crowd::new();
        let target = listener.local_addr().unwrap();
        crowd.arrive(Leaver { source: Some(source), ..leaver(target, Leaving::Silent) }).unwrap();
        assert_eq!(listener.accept().unwrap().1.ip(), source);
    }

    #[test]
    fn who_is_never_let_in_was_turned_away() {
        let listener =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)
                .unwrap();
        rustix::net::bind(&listener, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        let target: SocketAddr = rustix::net::getsockname(&listener).unwrap().try_into().unwrap();
        let mut crowd = Crowd::new();
        for _ in 0..5 {
            crowd.arrive(leaver(target, Leaving::SendAndClose)).unwrap();
        }
        until_connected(&mut crowd, 2);
        everyone_leaves(&mut crowd);
        // A limit of n holds n + 1.
        assert_eq!(crowd.tally().left[Leaving::SendAndClose.index()], 2);
        assert_eq!(crowd.tally().turned_away[Leaving::SendAndClose.index()], 3);
    }
}
