//! setsockopt(2) for what not every Unix has (socket(7), ip(7), ipv6(7), tcp(7)).
//!
//! Owns the calls. Never checks whether an option makes sense: that was done before.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

use libc::{c_int, socklen_t};
use socket2::{Protocol, SockFilter, SockRef, Socket, TcpKeepalive};

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
pub(crate) fn set_defer_accept(socket: impl AsFd, seconds: c_int) -> io::Result<()> {
    write_option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
}

/// `length` of the queue of connections whose cookie is not yet confirmed.
pub(crate) fn set_fast_open(socket: &Socket, length: c_int) -> io::Result<()> {
    write_option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN, length)
}

/// Drops segments with SYN set and ACK clear, and lets the others through (`SO_ATTACH_FILTER`, socket(7)). At a TCP
/// socket a filter sees a segment from its TCP header on (`tcp_filter` in `net/ipv4/tcp_ipv4.c`).
pub(crate) fn attach_fence(socket: BorrowedFd<'_>) -> io::Result<()> {
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    let step = |code: u32, if_so, if_not, value| {
        SockFilter::new(u16::try_from(code).unwrap_or_default(), if_so, if_not, value)
    };
    let program = [
        step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, FLAGS),
        step(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, SYN | ACK),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, SYN),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    SockRef::from(&socket).attach_filter(&program)
}

/// `SO_DETACH_FILTER`.
pub(crate) fn detach_fence(socket: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&socket).detach_filter()
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
    const LENGTH: socklen_t = 4;
    let value = (&raw const value).cast();
    // SAFETY: `value` points to a live `c_int` of `LENGTH` bytes, and the call does not keep the pointer.
    let answer = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, LENGTH) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
