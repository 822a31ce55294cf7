//! The error of making a listener: what was tried, on what, why it failed, what to do.
//!
//! Owns the words. Never tries anything again.

use std::{borrow::Cow, error::Error, fmt, io};

use crate::{Address, AddressError};

/// A listener could not be made, or its backlog not changed.
///
/// `Display` says what was tried, on which address, what is wrong and what to do; the kernel's own words are in
/// [`source`](Error::source). It converts into an [`io::Error`] of the same kind.
#[derive(Debug)]
pub struct BindError(Box<Tried>);

#[derive(Debug)]
struct Tried {
    act: Act,
    address: Option<Address>,
    kind: BindErrorKind,
    advice: Cow<'static, str>,
    source: Option<Cause>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindErrorKind {
    /// The text is not an address.
    NotAnAddress,
    /// The name of a Unix socket that cannot be bound: none, or too long.
    UnixName,
    /// Somebody else has the address.
    AddressInUse,
    /// A file that is not a socket has the Unix socket's path.
    NotASocket,
    /// This process may not have the address.
    PermissionDenied,
    /// No interface of this host has the address, or the host does not speak its family.
    AddressNotAvailable,
    /// A backlog of 0 was asked for.
    ZeroBacklog,
    /// Strict, and the kernel granted less than was asked for. After [`set_backlog`](crate::Listener::set_backlog) the
    /// lower limit is in force.
    Clamped {
        /// What was asked for.
        requested: u32,
        /// What the kernel granted.
        effective: u32,
        /// `net.core.somaxconn`, if it can be read: what the kernel cut it to.
        somaxconn: Option<u32>,
    },
    /// Strict, and the platform does not tell what it granted.
    BacklogUnknown,
    /// An option does not fit: not for this family of addresses, or a value out of range.
    OptionMisused {
        /// The builder's method.
        option: &'static str,
    },
    /// The kernel refused an option.
    OptionRefused {
        /// The builder's method.
        option: &'static str,
    },
    /// Something else; the source says what.
    Other,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Listen,
    ChangeBacklog,
}

#[derive(Debug)]
enum Cause {
    Kernel(io::Error),
    Address(AddressError),
}

impl BindError {
    /// The address that was tried; `None` if it could not even be read.
    pub fn address(&self) -> Option<&Address> {
        self.0.address.as_ref()
    }

    /// What is wrong.
    pub fn kind(&self) -> &BindErrorKind {
        &self.0.kind
    }

    pub(crate) fn new(address: &Address, kind: BindErrorKind, advice: impl Into<Cow<'static, str>>) -> Self {
        let (address, advice) = (Some(address.clone()), advice.into());
        Self(Box::new(Tried { act: Act::Listen, address, kind, advice, source: None }))
    }

    pub(crate) fn not_an_address(error: AddressError) -> Self {
        Self(Box::new(Tried {
            act: Act::Listen,
            address: None,
            kind: BindErrorKind::NotAnAddress,
            advice: "give an ip address with a port, or unix: and a name".into(),
            source: Some(Cause::Address(error)),
        }))
    }

    /// What socket(2), bind(2) or listen(2) said, with what to do about it.
    pub(crate) fn kernel(address: &Address, error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::AddrInUse => BindErrorKind::AddressInUse,
            io::ErrorKind::PermissionDenied => BindErrorKind::PermissionDenied,
            io::ErrorKind::AddrNotAvailable => BindErrorKind::AddressNotAvailable,
            _ if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => BindErrorKind::AddressNotAvailable,
            _ => BindErrorKind::Other,
        };
        let advice = advice(address, &kind, &error);
        Self::new(address, kind, advice).because(error)
    }

    pub(crate) fn refused(address: &Address, option: &'static str, error: io::Error) -> Self {
        let advice = match error.kind() {
            io::ErrorKind::Unsupported => "this platform does not have it; leave it out",
            io::ErrorKind::PermissionDenied => "it needs a privilege that this process does not have",
            _ => "the kernel does not take this value here; leave it out or change it",
        };
        Self::new(address, BindErrorKind::OptionRefused { option }, advice).because(error)
    }

    pub(crate) fn because(mut self, error: io::Error) -> Self {
        self.0.source = Some(Cause::Kernel(error));
        self
    }

    pub(crate) fn during(mut self, act: Act) -> Self {
        self.0.act = act;
        self
    }

    fn io_kind(&self) -> io::ErrorKind {
        match (&self.0.source, &self.0.kind) {
            (Some(Cause::Kernel(error)), _) => error.kind(),
            (_, BindErrorKind::AddressInUse | BindErrorKind::NotASocket) => io::ErrorKind::AddrInUse,
            (_, BindErrorKind::BacklogUnknown) => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::InvalidInput,
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.act {
            Act::Listen => f.write_str("cannot listen")?,
            Act::ChangeBacklog => f.write_str("cannot change the backlog")?,
        }
        if let Some(address) = &self.0.address {
            write!(f, " on {address}")?;
        }
        write!(f, ": {}", self.0.kind)?;
        if self.0.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.0.advice) }
    }
}

/// What is wrong, without what to do.
impl fmt::Display for BindErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnAddress => f.write_str("not an address"),
            Self::UnixName => f.write_str("a unix socket cannot have this name"),
            Self::AddressInUse => f.write_str("the address is in use"),
            Self::NotASocket => f.write_str("a file that is not a socket is in the way"),
            Self::PermissionDenied => f.write_str("permission denied"),
            Self::AddressNotAvailable => f.write_str("this host does not have the address"),
            Self::ZeroBacklog => f.write_str("a backlog of 0"),
            Self::Clamped { requested, effective, .. } => {
                write!(f, "the backlog was clamped from {requested} to {effective}")
            }
            Self::BacklogUnknown => f.write_str("this platform does not tell the effective backlog"),
            Self::OptionMisused { option } => write!(f, "the option {option} does not fit"),
            Self::OptionRefused { option } => write!(f, "the option {option} was refused"),
            Self::Other => f.write_str("the system refused"),
        }
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.0.source.as_ref()? {
            Cause::Kernel(error) => Some(error),
            Cause::Address(error) => Some(error),
        }
    }
}

/// Of the same kind; the `BindError` is inside.
impl From<BindError> for io::Error {
    fn from(error: BindError) -> Self {
        Self::new(error.io_kind(), error)
    }
}

fn advice(address: &Address, kind: &BindErrorKind, error: &io::Error) -> Cow<'static, str> {
    let tcp = address.tcp();
    match (kind, tcp) {
        (BindErrorKind::AddressInUse, Some(tcp)) => format!(
            "`ss -ltnp 'sport = :{}'` shows who has it; port 0 takes a free one, reuse_port on every listener shares one",
            tcp.port()
        )
        .into(),
        (BindErrorKind::AddressInUse, None) => {
            "another process listens there; stop it or choose another name".into()
        }
        (BindErrorKind::PermissionDenied, Some(_)) => {
            "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE; choose a higher one".into()
        }
        (BindErrorKind::PermissionDenied, None) => "this process may not write to the directory".into(),
        (BindErrorKind::AddressNotAvailable, _) => {
            "listen on 0.0.0.0 or [::], give the address to an interface, or use free_bind".into()
        }
        (BindErrorKind::Other, None) if error.kind() == io::ErrorKind::NotFound => {
            "the directory of the socket does not exist".into()
        }
        (BindErrorKind::Other, _) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
            "out of file descriptors; raise the limit (ulimit -n)".into()
        }
        _ => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(address: &str, errno: i32) -> BindError {
        BindError::kernel(&address.parse().unwrap(), io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn the_words_say_what_was_tried_and_what_to_do() {
        let error = kernel("127.0.0.1:80", libc::EACCES);
        let text = error.to_string();
        assert!(text.starts_with("cannot listen on 127.0.0.1:80: permission denied; "), "{text}");
        assert!(text.contains("CAP_NET_BIND_SERVICE"), "{text}");
        assert!(!text.contains("os error"), "the source's text is the source's: {text}");
        assert!(error.source().unwrap().to_string().contains("os error 13"));
    }

    #[test]
    fn every_errno_gets_its_kind_and_keeps_it_as_an_io_error() {
        let table = [
            (libc::EADDRINUSE, BindErrorKind::AddressInUse),
            (libc::EACCES, BindErrorKind::PermissionDenied),
            (libc::EADDRNOTAVAIL, BindErrorKind::AddressNotAvailable),
            (libc::EAFNOSUPPORT, BindErrorKind::AddressNotAvailable),
            (libc::EMFILE, BindErrorKind::Other),
        ];
        for (errno, kind) in table {
            let error = kernel("127.0.0.1:80", errno);
            assert_eq!(error.kind(), &kind);
            assert_eq!(error.address(), Some(&"127.0.0.1:80".parse().unwrap()));
            let io = io::Error::from(error);
            assert_eq!(io.kind(), io::Error::from_raw_os_error(errno).kind());
            assert!(io.get_ref().unwrap().is::<BindError>());
        }
    }

    #[test]
    fn a_text_that_is_not_an_address_is_the_source() {
        let error = BindError::not_an_address("localhost:80".parse::<Address>().unwrap_err());
        assert!(error.to_string().starts_with("cannot listen: not an address; "), "{error}");
        assert!(error.source().unwrap().is::<AddressError>());
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_change_of_the_backlog_is_named_as_such() {
        let address = "127.0.0.1:80".parse().unwrap();
        let kind = BindErrorKind::Clamped { requested: 8192, effective: 128, somaxconn: Some(128) };
        let error = BindError::new(&address, kind, "raise it").during(Act::ChangeBacklog);
        let text = error.to_string();
        assert!(text.starts_with("cannot change the backlog on 127.0.0.1:80: "), "{text}");
        assert!(text.contains("from 8192 to 128; raise it"), "{text}");
    }
}
