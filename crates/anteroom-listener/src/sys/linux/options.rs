//! setsockopt(2), and getsockopt(2) of what it restores, for what not every Unix has (socket(7), ip(7), ipv6(7), tcp(7)).
//!
//! Owns the calls. Never checks whether an option makes sense: that was done before.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

use libc::{c_int, socklen_t};
use socket2::{Protocol, SockRef, Socket, TcpKeepalive};

/// Of a `c_int`.
const LENGTH: socklen_t = 4;

/// The protocol number of MPTCP.
pub(crate) fn mptcp() -> io::Result<Protocol> {
    Ok(Protocol::MPTCP)
}

pub(crate) fn set_device(socket: &Socket, name: &str) -> io::Result<()> {
    socket.bind_device(Some(name.as_bytes()))
}

/// `IP_FREEBIND`; on an IPv6 socket too.
pub(crate) fn set_free_bind(socket: &Socket, is_v6: bool) -> io::Result<()> {
    if is_v6 { socket.set_freebind_v6(true) } else { socket.set_freebind_v4(true) }
}

pub(crate) fn set_keep_alive(
    socket: &Socket,
    idle: Duration,
    interval: Duration,
    probes: u32,
) -> io::Result<()> {
    let keep_alive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
    socket.set_tcp_keepalive(&keep_alive)
}

pub(crate) fn set_user_timeout(socket: &Socket, timeout: Duration) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(timeout))
}

/// `IP_TOS`; on an IPv6 socket also `IPV6_TCLASS`, the former for clients that come over IPv4.
pub(crate) fn set_type_of_service(socket: &Socket, value: u8, is_v6: bool) -> io::Result<()> {
    if is_v6 {
        socket.set_tclass_v6(value.into())?;
    }
    socket.set_tos_v4(value.into())
}

/// `seconds` as tcp(7) wants them.
pub(crate) fn set_defer_accept(socket: &Socket, seconds: c_int) -> io::Result<()> {
    write_defer_accept(socket.as_fd(), seconds)
}

/// `TCP_DEFER_ACCEPT` of a socket that listens already; 0 switches it off.
pub(crate) fn write_defer_accept(socket: BorrowedFd<'_>, seconds: c_int) -> io::Result<()> {
    write_option(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
}

/// The seconds of `TCP_DEFER_ACCEPT`; 0 if it is off.
pub(crate) fn read_defer_accept(socket: BorrowedFd<'_>) -> io::Result<c_int> {
    let mut seconds: c_int = 0;
    let mut length = LENGTH;
    let value = (&raw mut seconds).cast();
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT);
    // SAFETY: `value` is writable for `length` bytes, `length` for its own size, and the call keeps neither pointer.
    let answer = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, value, &raw mut length) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(seconds) }
}

/// `length` of the queue of connections whose cookie is not yet confirmed.
pub(crate) fn set_fast_open(socket: &Socket, length: c_int) -> io::Result<()> {
    write_option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN, length)
}

/// Whether the socket listens (`SO_ACCEPTCONN`).
pub(crate) fn is_listening(socket: BorrowedFd<'_>) -> io::Result<bool> {
    SockRef::from(&socket).is_listener()
}

/// Whether it is a multipath socket (`SO_PROTOCOL`); one that was asked to be can still be plain TCP.
pub(crate) fn is_mptcp(socket: BorrowedFd<'_>) -> bool {
    SockRef::from(&socket).protocol().is_ok_and(|protocol| protocol == Some(Protocol::MPTCP))
}

fn write_option(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let value = (&raw const value).cast();
    // SAFETY: `value` points to a live `c_int` of `LENGTH` bytes, and the call does not keep the pointer.
    let answer = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, LENGTH) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
