//! The new side of the exchange.

use std::{io, path::Path, time::Duration};

use anteroom_listener::Listener;

use super::{HandoverError, HandoverErrorKind, Heir, steps::Side};

/// The server that this process takes over from, and what it offers.
#[derive(Debug)]
pub struct Predecessor {
    names: Vec<String>,
}

impl Predecessor {
    /// The one that started this process by [`Handle::upgrade`](crate::Handle). `None`: nobody did.
    ///
    /// # Errors
    /// What came cannot be read, or the predecessor gave up.
    pub fn inherited() -> Result<Option<Self>, HandoverError> {
        Ok(None)
    }

    /// The one that listens for successors at `path`.
    ///
    /// # Errors
    /// Nobody listens there, or it refused, or did not answer within that time.
    pub fn connect(_path: impl AsRef<Path>, _within: Duration) -> Result<Self, HandoverError> {
        Err(HandoverError::of(Side::New, HandoverErrorKind::Path))
    }

    /// The names of the listeners that it offers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The listener of this name, named so: to be served by the server that succeeds. Once each.
    pub fn take(&mut self, _name: &str) -> Option<Listener> {
        None
    }

    /// Says that the listener of this name is deliberately not continued.
    pub fn leave(&mut self, _name: &str) {}
}

/// Carries the exchange to its end, on a thread of its own. `within`: for the whole of it; `None`: 60 s.
pub(crate) fn succeed(
    _predecessor: Predecessor,
    _heir: Box<dyn Heir>,
    _within: Option<Duration>,
) -> io::Result<()> {
    Ok(())
}
