//! What can be chosen when a server is started.
//!
//! Owns: the runtimes, and the settings that a run changes.
//! Never: a default of its own.

use super::Protection;
use anteroom::Config;
use std::{io, num::NonZeroUsize};
use tokio::runtime::{Builder, Runtime};

/// How a server is to serve.
#[derive(Clone, Debug, Default)]
pub struct Serving {
    /// Worker threads, or shards, where a server has them. `None`: as many as it has by itself, which are those
    /// of the cores that it may use.
    pub workers: Option<NonZeroUsize>,
    /// What is switched from its default, of the servers with an [`anteroom::Config`].
    pub switched: Vec<Protection>,
}

impl Serving {
    pub(super) fn multi_thread(&self) -> io::Result<Runtime> {
        let mut builder = Builder::new_multi_thread();
        if let Some(workers) = self.workers {
            builder.worker_threads(workers.get());
        }
        builder.enable_all().build()
    }

    pub(super) fn current_thread(&self) -> io::Result<Runtime> {
        current_thread()
    }

    /// How many shards there are where nobody else decides.
    pub(super) fn shards(&self) -> usize {
        self.workers.map_or_else(
            || std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            NonZeroUsize::get,
        )
    }

    pub(super) fn config(&self, mut config: Config) -> Config {
        for protection in &self.switched {
            protection.switch(&mut config);
        }
        config
    }
}

pub(super) fn current_thread() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
