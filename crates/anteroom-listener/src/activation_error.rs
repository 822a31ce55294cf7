//! The error of socket activation: which descriptor, what it was, what to do.
//!
//! Owns the words, and the descriptors that were passed. Never takes one.

use std::{
    error::Error,
    ffi::OsString,
    fmt, io,
    os::fd::{OwnedFd, RawFd},
};

use socket2::{SockRef, Type};

use crate::{AdoptError, AdoptErrorKind};

/// What a service manager passed cannot be served. It holds every descriptor that was passed; dropping it, or making an
/// [`io::Error`] of it and dropping that, closes them.
#[derive(Debug)]
pub struct ActivationError(Box<Tried>);

#[derive(Debug)]
struct Tried {
    subject: Subject,
    kind: ActivationErrorKind,
    source: Option<io::Error>,
    #[expect(dead_code, reason = "they are kept to be closed with the error")]
    held: Vec<OwnedFd>,
}

#[derive(Debug)]
enum Subject {
    Variable { name: &'static str, value: OsString },
    Descriptor { number: RawFd, name: Option<String> },
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActivationErrorKind {
    /// `LISTEN_PID` or `LISTEN_FDS` is no number, or `LISTEN_FDNAMES` has another number of names.
    Variable,
    /// Nothing is open under the number.
    NotOpen,
    /// The descriptor was opened by this process, or taken before by [`inherited_socket`](crate::inherited_socket) or by
    /// another library.
    NotInherited,
    /// No socket: a pipe, a file, a device.
    NotASocket,
    /// A datagram socket.
    Datagram,
    /// A socket of another type that is no stream: sequenced packets, raw.
    NotAStream,
    /// A stream socket of a family that is neither IP nor Unix.
    OtherFamily,
    /// A connection, not a listener.
    Connection,
    /// A stream socket on which nobody has called listen(2).
    NotListening,
    /// The system refused a question or a setting; the source says what.
    Refused,
}

/// What is wrong, with the system's own words.
#[derive(Debug)]
pub(crate) enum Why {
    NotOpen,
    NotInherited,
    Refused(io::Error),
    Kind(ActivationErrorKind),
}

impl ActivationError {
    /// The descriptor's number; `None` if a variable is at fault.
    pub fn descriptor(&self) -> Option<RawFd> {
        match &self.0.subject {
            Subject::Descriptor { number, .. } => Some(*number),
            Subject::Variable { .. } => None,
        }
    }

    /// The descriptor's name in `LISTEN_FDNAMES`, if it has one.
    pub fn name(&self) -> Option<&str> {
        match &self.0.subject {
            Subject::Descriptor { name, .. } => name.as_deref(),
            Subject::Variable { .. } => None,
        }
    }

    /// What is wrong.
    pub fn kind(&self) -> ActivationErrorKind {
        self.0.kind
    }

    pub(crate) fn of_variable(name: &'static str, value: OsString) -> Self {
        let (subject, kind) = (Subject::Variable { name, value }, ActivationErrorKind::Variable);
        Self(Box::new(Tried { subject, kind, source: None, held: Vec::new() }))
    }

    pub(crate) fn of_descriptor(number: RawFd, name: Option<String>, why: Why, held: Vec<OwnedFd>) -> Self {
        let (kind, source) = match why {
            Why::NotOpen => (ActivationErrorKind::NotOpen, None),
            Why::NotInherited => (ActivationErrorKind::NotInherited, None),
            Why::Refused(error) => (ActivationErrorKind::Refused, Some(error)),
            Why::Kind(kind) => (kind, None),
        };
        Self(Box::new(Tried { subject: Subject::Descriptor { number, name }, kind, source, held }))
    }
}

impl Why {
    /// Why a descriptor was not adopted, more closely than the adoption itself says, and the descriptor.
    pub(crate) fn not_adopted(error: AdoptError) -> (Self, OwnedFd) {
        let (kind, fd, source) = error.into_parts();
        let socket = SockRef::from(&fd);
        let why = match (kind, source) {
            (AdoptErrorKind::NotASocket, _) => Self::Kind(ActivationErrorKind::NotASocket),
            (AdoptErrorKind::NotAStream, _) if socket.r#type().is_ok_and(|is| is == Type::DGRAM) => {
                Self::Kind(ActivationErrorKind::Datagram)
            }
            (AdoptErrorKind::NotAStream, _) => Self::Kind(ActivationErrorKind::NotAStream),
            (AdoptErrorKind::OtherFamily, _) => Self::Kind(ActivationErrorKind::OtherFamily),
            (AdoptErrorKind::NotListening, _) if socket.peer_addr().is_ok() => {
                Self::Kind(ActivationErrorKind::Connection)
            }
            (AdoptErrorKind::NotListening, _) => Self::Kind(ActivationErrorKind::NotListening),
            (AdoptErrorKind::Refused, Some(error)) => Self::Refused(error),
            (AdoptErrorKind::Refused, None) => Self::Kind(ActivationErrorKind::Refused),
        };
        (why, fd)
    }
}

impl fmt::Display for ActivationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot take what the service manager passed: ")?;
        match &self.0.subject {
            Subject::Variable { name, value } => write!(f, "the variable {name} is {value:?}")?,
            Subject::Descriptor { number, name: Some(name) } => write!(f, "descriptor {number} ({name})")?,
            Subject::Descriptor { number, name: None } => write!(f, "descriptor {number}")?,
        }
        f.write_str(match self.0.kind {
            ActivationErrorKind::Variable => {
                ", which does not fit; LISTEN_PID and LISTEN_FDS are numbers, LISTEN_FDNAMES has a name for each descriptor"
            }
            ActivationErrorKind::NotOpen => {
                " is not open; LISTEN_FDS counts more than was passed, or something has closed it"
            }
            ActivationErrorKind::NotInherited => {
                " was not passed, or somebody has taken it; call this before anything else that takes them"
            }
            ActivationErrorKind::NotASocket => {
                " is not a socket; remove ListenFIFO=, ListenSpecial= and stored files from the unit"
            }
            ActivationErrorKind::Datagram => {
                " is a datagram socket; write ListenStream= instead of ListenDatagram="
            }
            ActivationErrorKind::NotAStream => {
                " is not a stream socket; write ListenStream= for it in the socket unit"
            }
            ActivationErrorKind::OtherFamily => {
                " is neither of tcp nor a unix socket; give ListenStream= an ip address, a port or a path"
            }
            ActivationErrorKind::Connection => {
                " is a connection and not a listener; write Accept=no in the socket unit"
            }
            ActivationErrorKind::NotListening => {
                " is a socket that does not listen; call listen on it before it is passed"
            }
            ActivationErrorKind::Refused => " cannot be used: the system refused",
        })
    }
}

impl Error for ActivationError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_ref().map(|error| error as _)
    }
}

/// The `ActivationError` is inside.
impl From<ActivationError> for io::Error {
    fn from(error: ActivationError) -> Self {
        let kind = error.0.source.as_ref().map_or(io::ErrorKind::InvalidInput, io::Error::kind);
        Self::new(kind, error)
    }
}
