//! The permit: the place that a connection takes, given back by its drop.
//!
//! Owns the key under which the gate has registered the connection. Never owns the socket.

use std::fmt;
use std::sync::{Arc, Weak};

use super::outlet::Outlet;
use crate::gate::{OpenKey, Wire};

/// A place among `max_connections`, held as long as this is not dropped.
///
/// It travels inside the [`Connection`](crate::Connection) and its halves; on its own it comes out
/// of [`Connection::into_parts`](crate::Connection::into_parts). Draining waits for permits.
#[must_use = "dropping the permit frees the place while the socket lives on"]
pub struct Permit {
    pub(super) outlet: Arc<Outlet>,
    pub(super) key: OpenKey,
    pub(super) wire: Weak<dyn Wire>,
}

impl Permit {
    /// The same place, for another part of the same connection.
    pub(super) fn share(&self) -> Self {
        self.outlet.gate.hold_on(self.key);
        Self { outlet: Arc::clone(&self.outlet), key: self.key, wire: self.wire.clone() }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.outlet.gate.release(self.key);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
