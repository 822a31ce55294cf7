//! Taking over a listening socket that somebody else made.
//!
//! Owns the checks. Never closes what it refuses.

use std::{
    error::Error,
    fmt, io,
    net::TcpListener,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixListener,
    },
};

use socket2::{SockRef, Type};

use crate::{Address, Listener, listener::Parts, sys};

/// A descriptor that could not be adopted. It holds the descriptor: [`into_fd`](Self::into_fd) gives it back, dropping
/// the error closes it.
#[derive(Debug)]
pub struct AdoptError {
    fd: OwnedFd,
    kind: AdoptErrorKind,
    source: Option<io::Error>,
}

/// Why a descriptor was not adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdoptErrorKind {
    /// It is no socket at all.
    NotASocket,
    /// A socket of another type: datagram, sequenced packets.
    NotAStream,
    /// A stream socket of a family that is neither IP nor Unix.
    OtherFamily,
    /// A stream socket that does not listen: a connection, or listen(2) was forgotten.
    NotListening,
    /// The system refused a question or a setting; the source says what.
    Refused,
}

impl AdoptError {
    /// Gives the descriptor back, as it was.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    pub(crate) fn into_parts(self) -> (AdoptErrorKind, OwnedFd, Option<io::Error>) {
        (self.kind, self.fd, self.source)
    }

    /// What is wrong with it.
    pub fn kind(&self) -> AdoptErrorKind {
        self.kind
    }
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            AdoptErrorKind::NotASocket => "cannot adopt this descriptor: it is not a socket",
            AdoptErrorKind::NotAStream => "cannot adopt this socket: it is not a stream socket",
            AdoptErrorKind::OtherFamily => "cannot adopt this socket: it is neither of TCP nor a unix socket",
            AdoptErrorKind::NotListening => {
                "cannot adopt this socket: it does not listen; call listen on it, or pass the listener and not a connection"
            }
            AdoptErrorKind::Refused => "cannot adopt this socket: the system refused",
        })
    }
}

impl Error for AdoptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

/// Closes the descriptor that was not adopted.
impl From<AdoptError> for io::Error {
    fn from(error: AdoptError) -> Self {
        let kind = error.source.as_ref().map_or(io::ErrorKind::InvalidInput, io::Error::kind);
        Self::new(kind, error)
    }
}

impl TryFrom<TcpListener> for Listener {
    type Error = AdoptError;

    fn try_from(listener: TcpListener) -> Result<Self, AdoptError> {
        Self::adopt(listener.into())
    }
}

impl TryFrom<UnixListener> for Listener {
    type Error = AdoptError;

    fn try_from(listener: UnixListener) -> Result<Self, AdoptError> {
        Self::adopt(listener.into())
    }
}

pub(crate) fn adopt(fd: OwnedFd) -> Result<Listener, AdoptError> {
    match check_and_set(&fd) {
        Ok(local) => Ok(Listener::adopted(Parts { fd, local, file: None })),
        Err((kind, source)) => Err(AdoptError { fd, kind, source }),
    }
}

/// Checks first and sets last, so that a descriptor that is given back is as it came.
fn check_and_set(fd: &OwnedFd) -> Result<Address, (AdoptErrorKind, Option<io::Error>)> {
    let refused = |error| (AdoptErrorKind::Refused, Some(error));
    let socket = SockRef::from(fd);
    let r#type = socket.r#type().map_err(|error| match error.raw_os_error() {
        Some(libc::ENOTSOCK) => (AdoptErrorKind::NotASocket, Some(error)),
        _ => refused(error),
    })?;
    if r#type != Type::STREAM {
        return Err((AdoptErrorKind::NotAStream, None));
    }
    let local = socket.local_addr().map_err(refused)?;
    let local = Address::of_kernel(&local).ok_or((AdoptErrorKind::OtherFamily, None))?;
    if !sys::options::is_listening(fd.as_fd()).map_err(refused)? {
        return Err((AdoptErrorKind::NotListening, None));
    }
    socket.set_cloexec(true).map_err(refused)?;
    socket.set_nonblocking(true).map_err(refused)?;
    Ok(local)
}
