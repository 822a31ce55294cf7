//! The permit: the place that a connection takes, given back by its drop.
//!
//! Owns the key under which the gate has registered the connection. Never owns the socket.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};

use tokio_util::sync::CancellationToken;

use crate::admit::Cause;
use crate::gate::{Gate, OpenKey, Wire};
use crate::observe::Ending;

/// A place among `max_connections`, held as long as this is not dropped.
///
/// It travels inside the [`Connection`](crate::Connection) and its halves; on its own it comes out
/// of [`Connection::into_parts`](crate::Connection::into_parts). Draining waits for permits.
#[must_use = "dropping the permit frees the place while the socket lives on"]
pub struct Permit(pub(crate) Arc<Place>);

impl Permit {
    /// The same place, for another part of the same connection.
    pub(super) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// What all parts of one connection share.
pub(crate) struct Place {
    pub(crate) gate: Arc<Gate>,
    pub(crate) key: OpenKey,
    pub(crate) wire: Weak<dyn Wire>,
    pub(crate) draining: CancellationToken,
    pub(crate) verdict: Arc<Refusing>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.release(self.key, self.verdict.ending(Ending::Done));
    }
}

/// Whether a handed-out connection was refused after all, shared with whoever counts its end.
#[derive(Debug, Default)]
pub(crate) struct Refusing(AtomicU8);

impl Refusing {
    pub(crate) fn refuse(&self, cause: Cause) {
        #[expect(clippy::cast_possible_truncation, reason = "there are few causes")]
        self.0.store(cause.index() as u8 + 1, Ordering::Relaxed);
    }

    /// `otherwise`, unless it was refused.
    pub(crate) fn ending(&self, otherwise: Ending) -> Ending {
        let index = usize::from(self.0.load(Ordering::Relaxed));
        match index.checked_sub(1).and_then(|index| Cause::ALL.get(index)) {
            Some(&cause) if otherwise != Ending::Panicked => Ending::Refused(cause),
            _ => otherwise,
        }
    }
}
