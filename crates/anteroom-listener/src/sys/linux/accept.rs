//! accept4(2).
//!
//! Owns the one call. Never retries it and never sorts its errors.

use std::{io, os::fd::BorrowedFd};

use socket2::{SockAddr, SockRef, Socket};

/// Takes one connection; the new socket is non-blocking and close-on-exec from its first moment.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(Socket, SockAddr)> {
    SockRef::from(&listener).accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        mem::ManuallyDrop,
        net::{TcpListener, TcpStream},
        os::fd::{FromRawFd, IntoRawFd, OwnedFd},
        sync::mpsc,
        thread,
    };

    use anteroom_testkit::{BOUND, eventually};

    /// It stands here because only unsafe code can close a descriptor that another thread is using.
    #[test]
    fn closing_a_listener_does_not_wake_who_is_blocked_in_accept() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let fd = listener.into_raw_fd();
        let (say, hear) = mpsc::sync_channel(1);
        let blocked = thread::spawn(move || {
            let own = fs::read_link("/proc/thread-self").unwrap();
            say.send(own).unwrap();
            // SAFETY: the descriptor is open now, and `ManuallyDrop` leaves closing it to the other thread.
            let listener = ManuallyDrop::new(unsafe { TcpListener::from_raw_fd(fd) });
            listener.accept().map(|(_, peer)| peer)
        });
        let waits_in = format!("/proc/{}/wchan", hear.recv().unwrap().display());
        eventually("the thread is blocked in accept", BOUND, || {
            fs::read_to_string(&waits_in).is_ok_and(|place| place.contains("inet_csk"))
        });
        // SAFETY: this is the only owner of the descriptor; the blocked call holds the open socket, not the number.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
        // The call goes on, and so does the socket: it takes the next client as if nothing had happened.
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(blocked.join().unwrap().unwrap(), client.local_addr().unwrap());
        assert!(TcpStream::connect(address).is_err(), "and only then is it gone");
    }
}
