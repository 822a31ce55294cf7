//! What can go wrong with a server as a whole: at its start, on its listener, at its end.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use anteroom_listener::{AddressError, BindError};

use crate::config::ConfigError;
use crate::observe::Report;

/// A server or an [`Incoming`](crate::Incoming) could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// No listener could be bound.
    Bind(BindError),
    /// The address cannot be read.
    Address(AddressError),
    /// No listener was given.
    NothingToServe,
    /// Settings that cannot be meant.
    Config(ConfigError),
    /// [`ServerBuilder::start`](crate::ServerBuilder::start) was called outside a tokio runtime.
    NoRuntime,
    /// The runtime was built without a driver that is needed.
    NoDriver {
        /// The method of tokio's runtime builder that adds it.
        driver: &'static str,
    },
    /// [`AcceptOn::Task`](crate::AcceptOn::Task) needs what this platform does not have.
    TaskUnsupported,
    /// What was to make the service of a shard panicked; the program's panic hook has told how.
    ShardPanicked {
        /// Its number.
        shard: usize,
    },
    /// A thread, the epoll set or the reserve descriptor could not be made.
    Resources {
        /// What was to be made.
        what: &'static str,
        /// Why it could not.
        source: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Address(error) => error.fmt(f),
            Self::NothingToServe => f.write_str("nothing to serve: give the builder at least one listener"),
            Self::Config(error) => error.fmt(f),
            Self::NoRuntime => f.write_str(
                "a server runs its handlers on a tokio runtime: call start() inside one, for example under #[tokio::main]",
            ),
            Self::NoDriver { driver } => {
                write!(f, "the runtime lacks a driver: call {driver}() or enable_all() on its builder")
            }
            Self::TaskUnsupported => {
                f.write_str("accepting in a task needs epoll: on this platform use AcceptOn::Thread")
            }
            Self::ShardPanicked { shard } => write!(f, "making the service of shard {shard} panicked"),
            Self::Resources { what, .. } => write!(f, "cannot make {what}"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Bind(error) => error.source(),
            Self::Resources { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<StartError> for io::Error {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Bind(error) => error.into(),
            StartError::Resources { ref source, .. } => Self::new(source.kind(), error),
            StartError::NoRuntime | StartError::NoDriver { .. } | StartError::ShardPanicked { .. } => {
                Self::other(error)
            }
            StartError::TaskUnsupported => Self::new(io::ErrorKind::Unsupported, error),
            _ => Self::new(io::ErrorKind::InvalidInput, error),
        }
    }
}

/// Nothing can be accepted: the listener is broken, the runtime that was accepting is gone (both are
/// final), or `accept` was called where there is no driver for sockets (which the next call may have).
#[derive(Clone, Debug)]
pub struct AcceptError {
    pub(crate) listener: Arc<str>,
    pub(crate) source: Arc<io::Error>,
}

impl AcceptError {
    /// The name of the listener.
    #[must_use]
    pub fn listener(&self) -> &str {
        &self.listener
    }

    /// The kind of the error that `accept` returned.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot accept on {}", self.listener)
    }
}

impl Error for AcceptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

impl From<AcceptError> for io::Error {
    fn from(error: AcceptError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// A server ended by itself. Whatever it was, what had been accepted was brought to an end first,
/// and the report says how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// A listener broke.
    Listener {
        /// Which, and how.
        source: AcceptError,
        /// Where every connection went.
        report: Report,
    },
    /// A service failed in `poll_ready`, which by tower's contract means that it is not to be used
    /// any more, or it panicked there.
    Service {
        /// Its error.
        source: Arc<dyn Error + Send + Sync>,
        /// Where every connection went.
        report: Report,
    },
    /// It was to succeed another server, which did not let go: it has served nobody, unless it had begun
    /// before that came to light.
    NoSuccession {
        /// What failed.
        source: Arc<dyn Error + Send + Sync>,
        /// Where every connection went.
        report: Report,
    },
    /// The runtime on which the server was started is gone.
    RuntimeGone {
        /// Where every connection went.
        report: Report,
    },
}

impl ServeError {
    /// Where every connection went.
    #[must_use]
    pub fn report(&self) -> &Report {
        match self {
            Self::Listener { report, .. }
            | Self::Service { report, .. }
            | Self::NoSuccession { report, .. }
            | Self::RuntimeGone { report } => report,
        }
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener { source, .. } => write!(f, "the server stopped: {source}"),
            Self::Service { .. } => f.write_str("the server stopped: its service failed and takes no more"),
            Self::NoSuccession { .. } => f.write_str("the server stopped: its predecessor did not let go"),
            Self::RuntimeGone { .. } => f.write_str("the server stopped: its runtime was shut down"),
        }
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Listener { source, .. } => source.source(),
            Self::Service { source, .. } | Self::NoSuccession { source, .. } => Some(&**source),
            Self::RuntimeGone { .. } => None,
        }
    }
}

impl From<ServeError> for io::Error {
    fn from(error: ServeError) -> Self {
        match &error {
            ServeError::Listener { source, .. } => Self::new(source.kind(), error),
            _ => Self::other(error),
        }
    }
}
