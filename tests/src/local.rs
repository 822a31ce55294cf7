//! A server in this process that speaks the tests' protocol.
//!
//! Owns its runtime, and so every handler: they end with it. Never subscribes to events.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anteroom::{Address, Config, Connection, Handle, Listener, Report, Server, Snapshot, service_fn};
use anteroom_testkit::{BOUND, eventually};
use tokio::runtime::Runtime;

use crate::lines::{Calls, speak};

/// The server, its handle, and who called.
pub struct LocalServer {
    runtime: Runtime,
    server: Server,
    handle: Handle,
    address: Address,
    calls: Arc<Calls>,
}

impl LocalServer {
    /// On this address.
    ///
    /// # Panics
    /// When it cannot start.
    #[must_use]
    pub fn start(listen: &str, config: Config) -> Self {
        let listener = Listener::builder().name("main").bind(listen).expect("the address is free");
        let address = listener.local_addr().clone();
        let runtime = Runtime::new().expect("a runtime");
        let calls = Arc::new(Calls::default());
        let service = {
            let calls = Arc::clone(&calls);
            service_fn(move |connection: Connection| {
                calls.count();
                let calls = Arc::clone(&calls);
                async move { speak(connection, &calls).await }
            })
        };
        let server = {
            let _inside = runtime.enter();
            Server::builder().config(config).serve(listener, service).start().expect("it starts")
        };
        let handle = server.handle();
        Self { runtime, server, handle, address, calls }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its handle.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Who called.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Waits until the snapshot is as wanted, and gives it.
    ///
    /// # Panics
    /// When that takes so long that it never will.
    pub fn becomes(&self, what: &str, mut is_so: impl FnMut(&Snapshot) -> bool) -> Snapshot {
        let mut last = self.handle.snapshot();
        eventually(what, BOUND, || {
            last = self.handle.snapshot();
            is_so(&last)
        });
        last
    }

    /// How many stand in the kernel's queue.
    #[must_use]
    pub fn depth(snapshot: &Snapshot) -> u32 {
        snapshot.listeners.first().and_then(|listener| listener.queue?.depth).unwrap_or(0)
    }

    /// Begins a drain, and gives what waits for its end.
    pub fn begin_drain(self, within: Duration) -> impl FnOnce() -> Report {
        let stopped = self.handle.drain(within);
        move || {
            let report = self.runtime.block_on(stopped).expect("nothing failed");
            drop(self.server);
            report
        }
    }

    /// Drains it, and gives the report.
    #[must_use]
    pub fn drain(self, within: Duration) -> Report {
        self.begin_drain(within)()
    }
}

impl fmt::Debug for LocalServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalServer").field("address", &self.address).finish_non_exhaustive()
    }
}
