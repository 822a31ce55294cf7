//! The socket options that not every Unix has: here nobody has them.
//!
//! Owns the refusals. `SO_ACCEPTCONN` is POSIX and is asked.

use std::{io, os::fd::BorrowedFd, time::Duration};

use libc::c_int;
use socket2::{Protocol, Socket, TcpKeepalive};

pub(crate) fn mptcp() -> io::Result<Protocol> {
    unsupported()
}

pub(crate) fn set_device(_socket: &Socket, _name: &str) -> io::Result<()> {
    unsupported()
}

pub(crate) fn set_free_bind(_socket: &Socket, _is_v6: bool) -> io::Result<()> {
    unsupported()
}

/// With whatever of the three the system has.
pub(crate) fn set_keep_alive(
    socket: &Socket,
    idle: Duration,
    interval: Duration,
    probes: u32,
) -> io::Result<()> {
    let keep_alive = TcpKeepalive::new().with_time(idle);
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "solaris")))]
    let keep_alive = keep_alive.with_interval(interval).with_retries(probes);
    #[cfg(any(target_os = "openbsd", target_os = "haiku", target_os = "solaris"))]
    let _ = (interval, probes);
    socket.set_tcp_keepalive(&keep_alive)
}

pub(crate) fn set_user_timeout(_socket: &Socket, _timeout: Duration) -> io::Result<()> {
    unsupported()
}

pub(crate) fn set_type_of_service(_socket: &Socket, _value: u8, _is_v6: bool) -> io::Result<()> {
    unsupported()
}

pub(crate) fn set_defer_accept(_socket: &Socket, _seconds: c_int) -> io::Result<()> {
    unsupported()
}

pub(crate) fn write_defer_accept(_socket: BorrowedFd<'_>, _seconds: c_int) -> io::Result<()> {
    unsupported()
}

pub(crate) fn read_defer_accept(_socket: BorrowedFd<'_>) -> io::Result<c_int> {
    unsupported()
}

pub(crate) fn set_fast_open(_socket: &Socket, _length: c_int) -> io::Result<()> {
    unsupported()
}

/// Whether the socket listens (`SO_ACCEPTCONN`); where the system cannot be asked, what was given is believed.
pub(crate) fn is_listening(socket: BorrowedFd<'_>) -> io::Result<bool> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    return socket2::SockRef::from(&socket).is_listener();
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    {
        let _ = socket;
        Ok(true)
    }
}

/// Whether it is a multipath socket: nobody can be asked.
pub(crate) fn is_mptcp(_socket: BorrowedFd<'_>) -> bool {
    false
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}
