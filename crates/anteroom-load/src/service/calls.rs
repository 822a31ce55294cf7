//! Who was worked for, and from when on.
//!
//! Owns: the list, and its way from one process to the other.
//! Never: bounded by itself; it lives as long as a measurement.

use super::nanos;
use crate::{measure::now, process::ServerProcess};
use serde_json::Value;
use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// One call of the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The client.
    pub peer: SocketAddr,
    /// A moment of [`now`].
    pub at: Duration,
}

impl Call {
    /// All calls of a service so far.
    ///
    /// # Errors
    ///
    /// The server is gone, or is no service.
    pub fn all(server: &mut ServerProcess) -> io::Result<Vec<Self>> {
        let calls: Vec<(SocketAddr, u64)> = serde_json::from_str(&server.ask("calls")?)?;
        Ok(calls.into_iter().map(|(peer, nanos)| Self { peer, at: Duration::from_nanos(nanos) }).collect())
    }
}

#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<Vec<Call>>);

impl Calls {
    pub(super) fn note(&self, peer: SocketAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Call { peer, at: now() });
    }

    pub(super) fn to_json(&self) -> Value {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls
            .iter()
            .map(|call| Value::from(vec![Value::from(call.peer.to_string()), nanos(call.at).into()]))
            .collect()
    }
}
