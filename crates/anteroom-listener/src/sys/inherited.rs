//! Descriptors that a parent left open across exec, known by their numbers only.
//!
//! Owns the step from a number to an owned descriptor, once for each number. Never takes one that this process opened
//! itself: those are close-on-exec, and what came through exec cannot be.

use std::{
    collections::BTreeSet,
    io,
    mem::MaybeUninit,
    os::fd::{FromRawFd, OwnedFd, RawFd},
    sync::{Mutex, PoisonError},
};

use socket2::SockRef;

/// Standard input, output and error are the standard library's.
const FIRST: RawFd = 3;

static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// What became of a number.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Ours from now on, and close-on-exec.
    Ours(OwnedFd),
    /// Nothing is open under it.
    NotOpen,
    /// It did not come from the parent, or somebody here has it already.
    NotInherited,
}

/// Takes what is open under a number, once.
pub(crate) fn take(number: RawFd) -> io::Result<Taken> {
    if number < FIRST {
        return Ok(Taken::NotInherited);
    }
    // Held to the end: two threads that ask for one number must not both get it.
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    match descriptor_flags(number) {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => return Ok(Taken::NotOpen),
        Err(error) => return Err(error),
        Ok(flags) if flags & libc::FD_CLOEXEC != 0 => return Ok(Taken::NotInherited),
        Ok(_) => {}
    }
    if !taken.insert(number) {
        return Ok(Taken::NotInherited);
    }
    // SAFETY: it is open and not close-on-exec, as only a descriptor from before this program's start is, and the set
    // above gives each number out once: nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    SockRef::from(&fd).set_cloexec(true)?;
    Ok(Taken::Ours(fd))
}

/// The inode of the socket under a number; `None` if nothing is open there, or no socket. It takes nothing.
pub(crate) fn socket_inode(number: RawFd) -> io::Result<Option<u64>> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the call writes one `stat`, which is live and exclusively borrowed, and does not keep the pointer; a
    // number that is not open is an error.
    let answer = unsafe { libc::fstat(number, status.as_mut_ptr()) };
    if answer == -1 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::EBADF) { Ok(None) } else { Err(error) };
    }
    // SAFETY: the call succeeded and has written it.
    let status = unsafe { status.assume_init() };
    let is_socket = status.st_mode & libc::S_IFMT == libc::S_IFSOCK;
    // By way of a type that holds them all: the number is shorter on some systems.
    Ok(is_socket.then(|| u64::try_from(i128::from(status.st_ino)).ok()).flatten())
}

fn descriptor_flags(number: RawFd) -> io::Result<libc::c_int> {
    // SAFETY: the call takes no pointer; a number that is not open is an error.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags == -1 { Err(io::Error::last_os_error()) } else { Ok(flags) }
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        os::{
            fd::{AsFd, AsRawFd},
            unix::fs::MetadataExt,
        },
    };

    use super::*;

    /// Each test takes a descriptor of its own, left open across exec as a parent would.
    fn left_open() -> RawFd {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&listener).set_cloexec(false).unwrap();
        std::os::fd::IntoRawFd::into_raw_fd(listener)
    }

    #[test]
    fn a_number_is_given_out_once_and_close_on_exec() {
        let number = left_open();
        let Taken::Ours(fd) = take(number).unwrap() else { panic!("it is ours") };
        assert_eq!(fd.as_raw_fd(), number);
        assert_ne!(descriptor_flags(number).unwrap() & libc::FD_CLOEXEC, 0);
        SockRef::from(&fd).set_cloexec(false).unwrap();
        assert!(matches!(take(number).unwrap(), Taken::NotInherited), "not even if it looks as before");
    }

    #[test]
    fn what_this_process_opened_is_not_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(matches!(take(listener.as_raw_fd()).unwrap(), Taken::NotInherited));
        assert!(listener.local_addr().is_ok(), "and it stays open");
        for number in [-1, 0, 1, 2] {
            assert!(matches!(take(number).unwrap(), Taken::NotInherited), "{number}");
        }
        assert!(matches!(take(RawFd::MAX).unwrap(), Taken::NotOpen));
    }

    #[test]
    fn the_inode_of_a_socket_is_told_and_of_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode =
            std::fs::File::from(listener.as_fd().try_clone_to_owned().unwrap()).metadata().unwrap().ino();
        assert_eq!(socket_inode(listener.as_raw_fd()).unwrap(), Some(inode));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(socket_inode(file.as_raw_fd()).unwrap(), None);
        assert_eq!(socket_inode(RawFd::MAX).unwrap(), None);
        assert_eq!(socket_inode(-1).unwrap(), None);
    }
}
