//! A connection that was accepted, before anybody's runtime has it.
//!
//! Owns what can be asked and done without waiting: the wait in the kernel's queue, the peer's state, one call to read,
//! write or throw away what is there, the ways to end it. Never waits for the peer, never keeps its bytes.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::{Shutdown, TcpStream},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use bytes::BufMut;
use socket2::SockRef;

use crate::{Address, PeerState, sys};

/// How much one call throws away where the bytes must be copied for it; it lies on the stack.
const SCRATCH: usize = 16 * 1024;

/// An accepted socket: non-blocking and close-on-exec.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stream {
    /// TCP, MPTCP too.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
}

impl Stream {
    /// How long the connection waited in the kernel's accept queue, if asked right after `accept`.
    ///
    /// It is `tcpi_last_data_sent` of `TCP_INFO` (tcp(7), `tcp_get_info` in the kernel's `net/ipv4/tcp.c`): the time
    /// since data was last sent, which before the first write is the time since the handshake ended. Ask before
    /// writing; after a write it is the time since that. Resolution: the kernel's tick, 1 to 10 ms. `None` on Unix
    /// sockets and on platforms other than Linux.
    pub fn kernel_wait(&self) -> Option<Duration> {
        match self {
            Self::Tcp(stream) => last_sent(stream),
            Self::Unix(_) => None,
        }
    }

    /// Whether the peer is still there; see [`PeerState::of`].
    ///
    /// # Errors
    ///
    /// As [`PeerState::of`].
    pub fn peer_state(&self) -> io::Result<PeerState> {
        PeerState::of(self)
    }

    /// The address that the peer connected to.
    ///
    /// # Errors
    ///
    /// What getsockname(2) gives.
    pub fn local_addr(&self) -> io::Result<Address> {
        let address = SockRef::from(self).local_addr()?;
        Address::of_kernel(&address).ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
    }

    /// Ends the connection at once: a reset on TCP, a plain close on a Unix socket.
    pub fn reset(self) {
        // Where the option is refused the close below still ends the connection, only less abruptly.
        let _ = reset_on_close(&self);
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Tcp(stream) => stream.into(),
            Stream::Unix(stream) => stream.into(),
        }
    }
}

/// How long ago this side last sent data on a TCP connection, or since the handshake if it never did. Source and
/// resolution as of [`Stream::kernel_wait`]. `None` on other sockets and on platforms other than Linux.
pub fn last_sent(socket: impl AsFd) -> Option<Duration> {
    sys::tcp_info(socket.as_fd())?.last_data_sent
}

/// Reads what is there into the next piece of `buffer` (which need not be zeroed), in one call, whatever a runtime knows of
/// the socket's readiness.
///
/// # Errors
///
/// What recv(2) gives: [`WouldBlock`](io::ErrorKind::WouldBlock) where nothing is there on a non-blocking socket.
pub fn read_now(socket: impl AsFd, buffer: &mut impl BufMut) -> io::Result<usize> {
    sys::read(socket.as_fd(), buffer)
}

/// Writes what there is room for, in one call, whatever a runtime knows of the socket's readiness. A peer that has gone
/// is an error, never a signal.
///
/// # Errors
///
/// What send(2) gives: [`WouldBlock`](io::ErrorKind::WouldBlock) where there is no room on a non-blocking socket.
pub fn write_now(socket: impl AsFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    match parts {
        // The plain call takes the kernel less time than the one with a header of parts.
        [part] => SockRef::from(&socket.as_fd()).send_with_flags(part, sys::NO_SIGNAL),
        parts => SockRef::from(&socket.as_fd()).send_vectored_with_flags(parts, sys::NO_SIGNAL),
    }
}

/// Reads up to `most` bytes and throws them away, without waiting even on a blocking socket; gives how many. Zero is the
/// peer's end. Less than `most` is all that was there; what it ended with, if it did, is told by the next call.
///
/// # Errors
///
/// What recv(2) gives: [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing is there, `ConnectionReset` once.
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if `most` is zero, for which the end could not be told from nothing.
///
/// # Platform
///
/// TCP on Linux: one call, and nothing is copied. Elsewhere, and on a Unix socket: a call for each 16 KiB.
pub fn discard_now(socket: impl AsFd, most: usize) -> io::Result<usize> {
    let socket = socket.as_fd();
    if most == 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    match sys::discard_uncopied(socket, most)? {
        Some(count) => Ok(count),
        None => discard_copied(socket, most),
    }
}

/// Ends this side's sending (shutdown(2) with `SHUT_WR`): the peer reads what was written and then the end, and can
/// still be read.
///
/// With [`write_now`] before and [`discard_now`] after it a last word reaches a peer whose request nobody read: a close
/// with unread bytes is a reset, which can destroy what was written before.
///
/// # Errors
///
/// `ENOTCONN` if the peer has already reset the connection.
pub fn half_close(socket: impl AsFd) -> io::Result<()> {
    let socket = socket.as_fd();
    SockRef::from(&socket).shutdown(Shutdown::Write)
}

/// Makes the coming close of this socket a reset (`SO_LINGER` of zero, socket(7)). The owner closes it; on a Unix
/// socket the close stays a plain one.
///
/// # Errors
///
/// What setsockopt(2) gives.
pub fn reset_on_close(socket: impl AsFd) -> io::Result<()> {
    let socket = socket.as_fd();
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))
}

/// Shuts both directions of a socket down (shutdown(2)), whoever owns it: everybody who reads, writes or polls it
/// wakes.
///
/// # Errors
///
/// `ENOTCONN` if the peer has already reset the connection.
pub fn shut_down(socket: impl AsFd) -> io::Result<()> {
    let socket = socket.as_fd();
    SockRef::from(&socket).shutdown(Shutdown::Both)
}

/// Reads up to `most` bytes into memory that nobody looks at.
fn discard_copied(socket: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
    let socket = SockRef::from(&socket);
    let mut scratch = [MaybeUninit::uninit(); SCRATCH];
    let mut thrown_away = 0;
    while thrown_away < most {
        let room = SCRATCH.min(most - thrown_away);
        let scratch = scratch.get_mut(..room).unwrap_or_default();
        match socket.recv_with_flags(scratch, libc::MSG_DONTWAIT) {
            Ok(count) => {
                thrown_away += count;
                if count < room {
                    break;
                }
            }
            // The next call tells it again, except for the reset, which is no loss to who throws bytes away.
            Err(_) if thrown_away > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(thrown_away)
}
