//! How the service of one connection fails.
//!
//! Owns the words. Never decides what is a failure.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A connection that did not end well. It is about this connection only.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The client did not send the whole head of a request in time.
    HeadersTooLate {
        /// The time it had.
        within: Duration,
    },
    /// The connection broke, the client did not speak HTTP, or the service returned an error.
    Http {
        /// What hyper says, or the service.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeadersTooLate { within } => write!(f, "no whole request head within {within:?}"),
            Self::Http { .. } => f.write_str("the http connection failed"),
        }
    }
}

impl Error for ConnectionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::HeadersTooLate { .. } => None,
            Self::Http { source } => Some(&**source),
        }
    }
}
