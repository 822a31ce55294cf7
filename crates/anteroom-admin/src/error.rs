//! Why there is no admin listener.

use std::error::Error;
use std::fmt;
use std::io;

use anteroom::{Address, AddressError, BindError};

/// An admin listener could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum AdminError {
    /// The address cannot be read.
    Address(AddressError),
    /// The address can be reached from elsewhere.
    BeyondLoopback {
        /// It.
        address: Address,
    },
    /// An abstract Unix name has no file permissions.
    Unprotected {
        /// It.
        address: Address,
    },
    /// It cannot be bound.
    Bind(BindError),
    /// No server was given.
    NothingToTell,
    /// Two servers have one name.
    TwoOfOneName {
        /// The name.
        name: String,
    },
    /// The thread, its runtime or the reserve descriptor cannot be had.
    Resources {
        /// What was to be made.
        what: &'static str,
        /// Why it could not.
        source: io::Error,
    },
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::BeyondLoopback { address } => write!(
                f,
                "an admin listener on {address} can be reached from elsewhere: bind 127.0.0.1, [::1] or a Unix socket, or \
                 say beyond_loopback() if everybody there may read it"
            ),
            Self::Unprotected { address } => write!(
                f,
                "an admin listener on {address} has no file permissions, and every user of this host may read it: bind \
                 a path (unix:/run/app/admin.sock), or say beyond_loopback() if they may"
            ),
            Self::Bind(error) => error.fmt(f),
            Self::NothingToTell => {
                f.write_str("an admin listener tells of servers: give the builder at least one")
            }
            Self::TwoOfOneName { name } => {
                write!(f, "two servers are called {name}: give the second another name, with named()")
            }
            Self::Resources { what, source } => write!(f, "cannot make {what}: {source}"),
        }
    }
}

impl Error for AdminError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Address(error) => error.source(),
            Self::Bind(error) => error.source(),
            // What is said already is not said again by whoever tells the whole chain.
            Self::Resources { source, .. } => source.source(),
            _ => None,
        }
    }
}

impl From<AdminError> for io::Error {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Bind(error) => error.into(),
            AdminError::Resources { ref source, .. } => Self::new(source.kind(), error),
            _ => Self::new(io::ErrorKind::InvalidInput, error),
        }
    }
}
