//! Gathering what a server needs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;
use tower_service::Service;
use tracing::Span;

use super::dispatcher::{BoxError, Dispatcher};
use super::driver;
use super::lane::{Kin, Lane};
use super::running::Server;
use super::sharded::recruit;
use super::start::{Common, start};
use crate::accept::{Candidate, Desk, Filter, Verdict};
use crate::config::Config;
use crate::connection::{Connection, End, Hooks, Info, Outlet};
use crate::lifecycle::{Core, StartError};

/// Sets the taker of one lane going.
pub(super) type StartLane = Box<dyn FnOnce(Arc<Core>, Arc<Desk>, Arc<Outlet>)>;

/// Gets ready whatever takes from one lane, or from several.
type Prepare = Box<dyn FnOnce() -> Result<Vec<StartLane>, StartError> + Send>;

/// Gathers listeners, services and settings; see [`Server::builder`].
#[derive(Default)]
pub struct ServerBuilder {
    common: Common,
    hooks: Hooks,
    places: Vec<Lane>,
    takers: Vec<Prepare>,
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { common, places, .. } = self;
        f.debug_struct("ServerBuilder").field("common", common).field("lanes", places).finish_non_exhaustive()
    }
}

impl ServerBuilder {
    /// Replaces every setting; setters that are called later override single ones.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.common.config = config;
        self
    }

    /// See [`Config::max_connections`].
    #[must_use]
    pub fn max_connections(mut self, places: usize) -> Self {
        self.common.config.max_connections = Some(places);
        self
    }

    /// See [`Config::max_waiting`].
    #[must_use]
    pub fn max_waiting(mut self, connections: usize) -> Self {
        self.common.config.max_waiting = connections;
        self
    }

    /// See [`Config::max_wait`].
    #[must_use]
    pub fn max_wait(mut self, age: Duration) -> Self {
        self.common.config.max_wait = age;
        self
    }

    /// Asks `filter` about every connection that is not dead on arrival, before it may wait.
    ///
    /// It runs where connections are accepted, so it must not wait for anything: no I/O, no lock that others hold
    /// for long. With [`AcceptOn::Taker`](crate::AcceptOn::Taker) that is mostly inside the runtime, where tokio's
    /// `blocking_` calls panic; with [`AcceptOn::Thread`](crate::AcceptOn::Thread) it never is. It is timed, and calls over 100 µs are spoken of. A panic refuses the connection as
    /// [`Cause::Denied`](crate::Cause::Denied); the program's panic hook, which writes to stderr
    /// unless you replace it, then runs on the acceptor too.
    #[must_use]
    pub fn filter(mut self, filter: impl FnMut(&Candidate<'_>) -> Verdict + Send + 'static) -> Self {
        self.common.filter = Some(Filter::new(filter));
        self
    }

    /// The span of each connection, in which its handler runs. The default has its id, listener and
    /// peer, at level `INFO`, under the target `anteroom::connection`.
    #[must_use]
    pub fn make_span(mut self, make_span: impl Fn(&Info) -> Span + Send + Sync + 'static) -> Self {
        self.hooks.make_span = Some(Arc::new(make_span));
        self
    }

    /// Called once for each served connection, at its end, wherever its task is by then.
    #[must_use]
    pub fn on_end(mut self, on_end: impl Fn(&Info, &End) + Send + Sync + 'static) -> Self {
        self.hooks.on_end = Some(Arc::new(on_end));
        self
    }

    /// Succeeds another server: nobody is accepted until `predecessor` says so, and who waits there comes
    /// along. The listeners are those that it gave ([`Predecessor::take`](crate::Predecessor::take)), and
    /// others if need be; each that it offered has to be served or
    /// [left](crate::Predecessor::leave). If it does not let go, this ends with
    /// [`ServeError::NoSuccession`](crate::ServeError::NoSuccession), having accepted nobody.
    #[cfg(all(feature = "handover", target_os = "linux"))]
    #[must_use]
    pub fn succeed(mut self, predecessor: crate::Predecessor) -> Self {
        self.common.predecessor = Some(predecessor);
        self
    }

    /// `accept` fails with what `faults` gives, and is asked itself whenever that is `None`.
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn inject_accept_errors(
        mut self,
        faults: impl FnMut() -> Option<std::io::Error> + Send + 'static,
    ) -> Self {
        self.common.faults = Some(super::start::FaultSource(Box::new(faults)));
        self
    }

    /// Serves `listeners`, or a [`Lane`] of them, with `service`. Each call has a lane of the waiting room and a dispatcher
    /// of its own, so that no service is held up by another one that is not ready.
    ///
    /// The service is asked with `poll_ready` when a connection waits, and called when it is ready:
    /// tower's layers are real back-pressure. It is called from one task, so it need be neither
    /// `Clone` nor `Sync`. The futures of its calls run in tasks of their own.
    ///
    /// An error of `poll_ready` is final by tower's contract: the server then drains and ends with
    /// [`ServeError::Service`](crate::ServeError::Service). Errors and panics of single connections
    /// are counted and end nothing else.
    #[must_use]
    pub fn serve<S>(mut self, listeners: impl Into<Lane>, service: S) -> Self
    where
        S: Service<Connection, Response = (), Error: Into<BoxError>, Future: Send + 'static> + Send + 'static,
    {
        self.places.push(listeners.into());
        self.takers.push(Box::new(move || {
            driver::probe_io()?;
            let runtime = runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
            let start: StartLane = Box::new(move |core, desk, outlet| {
                core.serves_on(runtime.clone());
                #[expect(
                    clippy::let_underscore_future,
                    reason = "it ends by itself, and its drop tells if it cannot"
                )]
                let _ = runtime.spawn(Dispatcher::new(core, desk, service, runtime.clone(), outlet));
            });
            Ok(vec![start])
        }));
        self
    }

    /// Serves each of `shards` on a thread of its own, with a single-threaded runtime and a service that `make` makes
    /// there: no connection changes its thread, and neither the service nor its futures need be `Send`.
    ///
    /// A shard is a [`Lane`], usually with one listener of a
    /// [group that shares a port](anteroom_listener::Builder::bind_group): the kernel spreads new connections over
    /// them. As with every lane, limits hold for each by itself.
    ///
    /// The acceptor's thread sleeps while all shards accept. Connections that a shard leaves standing for some
    /// milliseconds, because a handler holds its thread, it gives to those that do accept
    /// ([`AcceptOn::Taker`](crate::AcceptOn::Taker)); what the shard has taken already waits for it.
    ///
    /// `make` is called with the number of the shard, from 0, inside the shard's runtime, when the server starts. The
    /// threads, named `anteroom-shard-N`, end with the server.
    ///
    /// # Examples
    /// ```
    /// use anteroom::{Connection, Listener, Server, service_fn};
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    /// use std::thread::available_parallelism;
    /// use tokio::io::AsyncWriteExt;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let shards = Listener::builder().bind_group("127.0.0.1:0", available_parallelism()?)?;
    /// let server = Server::builder()
    ///     .serve_sharded(shards, |_shard| {
    ///         let visitors = Rc::new(Cell::new(0));
    ///         service_fn(move |mut connection: Connection| {
    ///             visitors.set(visitors.get() + 1);
    ///             let greeting = format!("you are number {} here\n", visitors.get());
    ///             async move { connection.write_all(greeting.as_bytes()).await }
    ///         })
    ///     })
    ///     .start()?;
    /// # drop(server);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn serve_sharded<S, M>(mut self, shards: impl IntoIterator<Item = impl Into<Lane>>, make: M) -> Self
    where
        M: Fn(usize) -> S + Send + Sync + 'static,
        S: Service<Connection, Response = (), Error: Into<BoxError>, Future: 'static> + 'static,
    {
        self.common.is_sharded = true;
        let before = self.places.len();
        self.places.extend(shards.into_iter().map(Into::into));
        let shards = self.places.len() - before;
        for (number, lane) in self.places.iter_mut().skip(before).enumerate() {
            lane.kin = Kin { before: number, all: shards };
        }
        self.takers.push(Box::new(move || recruit(shards, make)));
        self
    }

    /// Starts accepting and serving, at once.
    ///
    /// # Errors
    /// [`StartError::NoRuntime`] outside a tokio runtime and [`StartError::NoDriver`] in one without I/O, unless all is
    /// [sharded](Self::serve_sharded); [`StartError::ShardPanicked`], [`StartError::NothingToServe`] without a
    /// listener, [`StartError::Config`] for settings that cannot be meant,
    /// [`StartError::Resources`] when a thread or a descriptor cannot be had.
    pub fn start(self) -> Result<Server, StartError> {
        let takers: Vec<_> = self.takers.into_iter().map(|prepare| prepare()).collect::<Result<_, _>>()?;
        let (core, desks) = start(self.common, self.places)?;
        for (start_lane, desk) in takers.into_iter().flatten().zip(desks) {
            let outlet = core.outlet(desk.lane(), self.hooks.clone());
            start_lane(Arc::clone(&core), desk, outlet);
        }
        Ok(Server::new(core))
    }
}
