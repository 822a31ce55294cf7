//! The one table of what can be wrong with `accept`.
//!
//! Owns the classes. Never decides what to do about one: that is the acceptor's.

use std::io;

/// Whose fault an error of `accept` is (accept(2), *Errors* and *Error handling*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcceptErrorClass {
    /// Nothing is wrong: the queue is empty (`EAGAIN`).
    Empty,
    /// A signal came (`EINTR`): call again.
    Interrupted,
    /// This one connection failed and the listener is well; the next call can succeed at once. `ECONNABORTED`, `EPROTO`,
    /// `EPERM` (a firewall rule), and the pending network errors that Linux passes from the new socket: `ENETDOWN`,
    /// `ENOPROTOOPT`, `EHOSTDOWN`, `ENONET`, `EHOSTUNREACH`, `EOPNOTSUPP`, `ENETUNREACH`, `ETIMEDOUT`, `ECONNRESET`,
    /// `ESOCKTNOSUPPORT`, `EPROTONOSUPPORT`.
    ///
    /// `EOPNOTSUPP` also means a socket that is not a stream socket; a [`Listener`](crate::Listener) always is one.
    Connection,
    /// No descriptor is free, in the process (`EMFILE`) or on the host (`ENFILE`). The connection stays queued and the
    /// listener readable: calling again at once spins.
    Descriptors,
    /// No memory (`ENOBUFS`, `ENOMEM`, `ENOSR`). As above.
    Memory,
    /// The listener itself is over: `EBADF`, `ENOTSOCK`, `EINVAL` (it does not listen any more), and `EFAULT`, which only
    /// a defect of the caller brings about and no repetition mends.
    Listener,
    /// Anything else. Go on, with a pause: an error that nobody foresaw must neither stop a server nor make it spin.
    Unknown,
}

impl AcceptErrorClass {
    /// Every class, each once.
    pub const ALL: &[Self] = &[
        Self::Empty,
        Self::Interrupted,
        Self::Connection,
        Self::Descriptors,
        Self::Memory,
        Self::Listener,
        Self::Unknown,
    ];

    /// Classifies an error of `accept`.
    ///
    /// # Examples
    ///
    /// ```
    /// use anteroom_listener::AcceptErrorClass;
    ///
    /// let error = std::io::ErrorKind::ConnectionAborted.into();
    /// assert_eq!(AcceptErrorClass::of(&error), AcceptErrorClass::Connection);
    /// ```
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::of_errno(errno),
            None => Self::of_kind(error.kind()),
        }
    }

    /// A name for labels and logs, in snake case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Interrupted => "interrupted",
            Self::Connection => "connection",
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
            Self::Listener => "listener",
            Self::Unknown => "unknown",
        }
    }

    fn of_errno(errno: i32) -> Self {
        match errno {
            libc::EAGAIN => Self::Empty,
            // The same number as EAGAIN on Linux, not everywhere.
            #[allow(unreachable_patterns, reason = "two names for one number on some platforms")]
            libc::EWOULDBLOCK => Self::Empty,
            libc::EINTR => Self::Interrupted,
            libc::ECONNABORTED | libc::ECONNRESET | libc::EPROTO | libc::EPERM | libc::ETIMEDOUT => {
                Self::Connection
            }
            libc::ENETDOWN | libc::ENETUNREACH | libc::EHOSTDOWN | libc::EHOSTUNREACH => Self::Connection,
            libc::ENOPROTOOPT | libc::EOPNOTSUPP | libc::ESOCKTNOSUPPORT | libc::EPROTONOSUPPORT => {
                Self::Connection
            }
            #[cfg(any(target_os = "linux", target_os = "android"))]
            libc::ENONET => Self::Connection,
            libc::EMFILE | libc::ENFILE => Self::Descriptors,
            libc::ENOBUFS | libc::ENOMEM => Self::Memory,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            libc::ENOSR => Self::Memory,
            libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EFAULT => Self::Listener,
            _ => Self::Unknown,
        }
    }

    /// For errors that did not come from the kernel: sources of tests, wrappers.
    fn of_kind(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::WouldBlock => Self::Empty,
            io::ErrorKind::Interrupted => Self::Interrupted,
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::TimedOut => {
                Self::Connection
            }
            io::ErrorKind::OutOfMemory => Self::Memory,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use AcceptErrorClass::*;

    use super::*;

    /// accept(2) of the Linux manual pages, *Errors*, with *Error handling* and the note on other errors.
    #[cfg(target_os = "linux")]
    const TABLE: &[(i32, AcceptErrorClass)] = &[
        (libc::EAGAIN, Empty),
        (libc::EWOULDBLOCK, Empty),
        (libc::EINTR, Interrupted),
        (libc::ECONNABORTED, Connection),
        (libc::ECONNRESET, Connection),
        (libc::EPROTO, Connection),
        (libc::EPERM, Connection),
        (libc::ENETDOWN, Connection),
        (libc::ENOPROTOOPT, Connection),
        (libc::EHOSTDOWN, Connection),
        (libc::ENONET, Connection),
        (libc::EHOSTUNREACH, Connection),
        (libc::EOPNOTSUPP, Connection),
        (libc::ENETUNREACH, Connection),
        (libc::ETIMEDOUT, Connection),
        (libc::ESOCKTNOSUPPORT, Connection),
        (libc::EPROTONOSUPPORT, Connection),
        (libc::EMFILE, Descriptors),
        (libc::ENFILE, Descriptors),
        (libc::ENOBUFS, Memory),
        (libc::ENOMEM, Memory),
        (libc::ENOSR, Memory),
        (libc::EBADF, Listener),
        (libc::EINVAL, Listener),
        (libc::ENOTSOCK, Listener),
        (libc::EFAULT, Listener),
        (libc::EIO, Unknown),
        (libc::EACCES, Unknown),
        (libc::ENOSYS, Unknown),
        (512, Unknown),
        (9999, Unknown),
    ];

    #[cfg(target_os = "linux")]
    #[test]
    fn every_errno_of_the_manual_has_its_class() {
        for &(errno, class) in TABLE {
            assert_eq!(AcceptErrorClass::of(&io::Error::from_raw_os_error(errno)), class, "errno {errno}");
        }
        for class in AcceptErrorClass::ALL {
            assert!(TABLE.iter().any(|(_, known)| known == class), "no errno for {class:?}");
        }
    }

    #[test]
    fn an_error_without_a_number_goes_by_its_kind() {
        let table = [
            (io::ErrorKind::WouldBlock, Empty),
            (io::ErrorKind::Interrupted, Interrupted),
            (io::ErrorKind::ConnectionAborted, Connection),
            (io::ErrorKind::ConnectionReset, Connection),
            (io::ErrorKind::OutOfMemory, Memory),
            (io::ErrorKind::InvalidInput, Unknown),
            (io::ErrorKind::Other, Unknown),
        ];
        for (kind, class) in table {
            assert_eq!(AcceptErrorClass::of(&kind.into()), class, "{kind:?}");
        }
    }

    #[test]
    fn names_are_labels_and_differ() {
        let mut names: Vec<_> = AcceptErrorClass::ALL.iter().map(|class| class.name()).collect();
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), AcceptErrorClass::ALL.len());
    }
}
