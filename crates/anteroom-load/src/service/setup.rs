//! What a service process is told when it starts.
//!
//! Owns: the description, and starting the process from it.
//! Never: a socket.

use crate::process::ServerProcess;
use serde::{Deserialize, Serialize};
use std::{ffi::OsStr, io, time::Duration};

/// The accept path and what stands behind it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Who accepts.
    pub accepted_by: Loop,
    /// How many are worked for at a time.
    pub places: usize,
    /// How long each takes.
    pub takes: Duration,
    /// The runtime's workers.
    pub workers: usize,
    /// Of both kinds of listener.
    pub backlog: u32,
}

/// Who accepts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loop {
    /// The loop over `tokio::net::TcpListener` that everybody writes: it takes a permit of a semaphore, accepts,
    /// and gives the connection a task that holds the permit. Who cannot be served stays in the kernel's queue.
    Plain,
    /// [`anteroom::Server`] with these settings, of which `max_connections` is overridden by the places.
    Anteroom(Box<anteroom::Config>),
}

impl Setup {
    /// Starts it: `program` is one that passes the argument after `serve` to [`serve`](super::serve).
    ///
    /// # Errors
    ///
    /// The program cannot be started, or says something else than an address.
    pub fn start(&self, program: impl AsRef<OsStr>) -> io::Result<ServerProcess> {
        let setup = serde_json::to_string(self)?;
        ServerProcess::start_program(program, ["serve", &setup])
    }
}
