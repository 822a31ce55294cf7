//! The other end of a connection: its address, and whether it is still there.
//!
//! Owns the reading of poll(2)'s answer. Never reads the peer's bytes away, never writes, and never decides what a
//! state means for the connection: that is policy.

use std::{
    fmt, io,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
};

use socket2::SockRef;

use crate::sys::{self, PollSet, Ready, Sign};

/// The peer's address, as `accept` itself returned it.
///
/// Asking afterwards (`getpeername`) fails with `ENOTCONN` for a peer that has reset the connection meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerAddr {
    /// TCP. A client that came over IPv4 to a dual-stack listener shows its mapped address (`::ffff:192.0.2.1`).
    Tcp(SocketAddr),
    /// A Unix socket; clients have no name as a rule.
    Unix,
}

impl PeerAddr {
    /// The TCP address, if it is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix => None,
        }
    }

    /// The IP address, if it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.tcp().map(|address| address.ip())
    }
}

/// The address with its port, or `unix`.
impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// Whether bytes of the peer wait to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unread {
    /// Nothing was sent that was not read.
    Nothing,
    /// At least one byte waits.
    Bytes,
}

/// What the kernel knows of a peer, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerState {
    /// Nothing speaks against the peer being there.
    Open,
    /// The peer sends no more (TCP: a FIN came).
    ///
    /// On TCP nothing readable tells a client that closed from one that only shut its sending side down and waits for
    /// the answer. On a Unix socket it is the latter.
    HalfClosed(Unread),
    /// Both directions are closed. On a Unix socket: the peer closed. On TCP: it closed its side and this process shut
    /// down the other, or an error was already taken from the socket.
    Closed(Unread),
    /// The connection is broken: a reset came, or the kernel gave it up. What was not read may be lost.
    Reset,
}

impl PeerState {
    /// Asks the kernel: one `poll` that does not wait, and a look at the first unread byte only if the peer hung up.
    /// It takes nothing from the socket, neither bytes nor the pending error.
    ///
    /// # Errors
    ///
    /// What poll(2) gives, out of memory in practice.
    ///
    /// # Platform
    ///
    /// Linux tells all states. Elsewhere a hang-up behind unread bytes is [`Open`](Self::Open) until they are read,
    /// [`Closed`](Self::Closed) is never told from [`HalfClosed`](Self::HalfClosed), and looking may take the pending
    /// error of a reset connection.
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        let socket = socket.as_fd();
        let mut one = PollSet::default();
        one.push(socket, sys::PEER_INTEREST);
        one.poll_now()?;
        Ok(one.answers().next().map_or(Self::Open, |ready| Self::read(socket, ready)))
    }

    /// The state behind poll's answer for this socket.
    pub(crate) fn read(socket: BorrowedFd<'_>, ready: Ready) -> Self {
        match sys::peer_sign(ready) {
            Sign::Nothing => Self::Open,
            Sign::Error => Self::Reset,
            Sign::ClosedBothWays => Self::Closed(unread(socket)),
            Sign::ClosedOneWay => Self::HalfClosed(unread(socket)),
            Sign::Readable => match peek(socket) {
                Ok(0) => Self::HalfClosed(Unread::Nothing),
                Ok(_) => Self::Open,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Self::Open,
                Err(_) => Self::Reset,
            },
        }
    }

    /// Whether bytes wait, behind the same answer that gave this state. Who is there costs no further call: poll has
    /// already told.
    pub(crate) fn unread(self, socket: BorrowedFd<'_>, ready: Ready) -> Unread {
        match self {
            Self::Open if ready.has(libc::POLLIN) => Unread::Bytes,
            Self::Open => Unread::Nothing,
            Self::HalfClosed(unread) | Self::Closed(unread) => unread,
            Self::Reset => match sys::unread_bytes(socket) {
                Ok(1..) => Unread::Bytes,
                Ok(0) | Err(_) => Unread::Nothing,
            },
        }
    }
}

fn unread(socket: BorrowedFd<'_>) -> Unread {
    match peek(socket) {
        Ok(1..) => Unread::Bytes,
        Ok(0) | Err(_) => Unread::Nothing,
    }
}

/// How many bytes wait, up to one.
fn peek(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut first = [MaybeUninit::uninit()];
    SockRef::from(&socket).recv_with_flags(&mut first, libc::MSG_PEEK | libc::MSG_DONTWAIT)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{Shutdown, TcpListener, TcpStream},
        os::unix::net::UnixStream,
    };

    use super::*;

    #[test]
    fn an_address_shows_itself() {
        let tcp: SocketAddr = "192.0.2.1:5".parse().unwrap();
        assert_eq!(PeerAddr::Tcp(tcp).to_string(), "192.0.2.1:5");
        assert_eq!(PeerAddr::Tcp(tcp).ip(), Some(tcp.ip()));
        assert_eq!(PeerAddr::Unix.to_string(), "unix");
        assert_eq!(PeerAddr::Unix.ip(), None);
    }

    #[test]
    fn a_quiet_peer_is_open_and_so_is_one_that_sent() {
        let (mut here, there) = UnixStream::pair().unwrap();
        assert_eq!(PeerState::of(&there).unwrap(), PeerState::Open);
        here.write_all(b"x").unwrap();
        assert_eq!(PeerState::of(&there).unwrap(), PeerState::Open);
    }

    #[test]
    fn a_blocking_socket_is_looked_at_without_waiting() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(PeerState::of(&accepted).unwrap(), PeerState::Open);
        client.shutdown(Shutdown::Write).unwrap();
        anteroom_testkit::eventually("the FIN is here", anteroom_testkit::BOUND, || {
            PeerState::of(&accepted).unwrap() == PeerState::HalfClosed(Unread::Nothing)
        });
    }
}
