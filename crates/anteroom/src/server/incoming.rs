//! The taking end for accept loops that are not ours: axum's, tonic's, hand-written ones.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anteroom_listener::{Address, AddressError, Listener, Listeners};
use futures_core::Stream;
use tokio::runtime;

use super::driver;
use super::lane::Lane;
use super::start::{Common, start};
use crate::accept::{Attendant, Candidate, Desk, Filter, Verdict};
use crate::config::Config;
use crate::connection::{Connection, Hooks, Outlet};
use crate::gate::{CountedBy, Doorstep};
use crate::lifecycle::{AcceptError, Core, Failure, Handle, StartError};

/// Accepted connections, one at a time.
///
/// It is bound without a runtime; a connection meets the driver of the runtime in which it first has to wait.
/// Accepting goes on in the background whether anybody takes or not: who waits is in the waiting
/// room, bounded, aged, and dropped when the peer leaves.
///
/// Dropping it refuses what waits (cause [`Closed`](crate::Cause::Closed)) and closes the listeners
/// with what the kernel has queued; connections that were taken live on, for as long as they like.
/// The lossless end is [`Handle::drain`], then accepting until `None`.
///
/// # Examples
/// ```
/// use anteroom::Incoming;
/// use tokio::io::AsyncWriteExt;
///
/// # fn main() -> std::io::Result<()> {
/// let mut incoming = Incoming::bind("127.0.0.1:0")?;
/// let handle = incoming.handle();
/// # handle.drain(std::time::Duration::from_secs(1));
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// while let Some(mut connection) = incoming.accept().await? {
///     tokio::task::spawn(async move { connection.write_all(b"hello\n").await });
/// }
/// # Ok(())
/// # })
/// # }
/// ```
pub struct Incoming {
    core: Arc<Core>,
    lane: usize,
    outlet: Arc<Outlet>,
    ended: bool,
    /// The runtime in which it was polled last, which was found to have a driver for sockets.
    driven_by: Option<runtime::Id>,
    /// It accepts for itself, in the runtime in which it is polled.
    attendant: Attendant,
}

impl Incoming {
    fn new(core: Arc<Core>, desk: Arc<Desk>) -> Self {
        let lane = desk.lane();
        let outlet = core.outlet(lane, Hooks::default());
        Self { core, lane, outlet, ended: false, driven_by: None, attendant: Attendant::new(desk) }
    }

    /// Binds `address` and starts to accept, with all defaults. No DNS, and no runtime needed.
    ///
    /// # Errors
    /// The address cannot be read or bound, or a thread or descriptor cannot be had.
    pub fn bind(address: impl TryInto<Address, Error: Into<AddressError>>) -> Result<Self, StartError> {
        Self::builder().listen(Listener::bind(address)?).start()
    }

    /// Begins to gather listeners and settings.
    #[must_use]
    pub fn builder() -> IncomingBuilder {
        IncomingBuilder::default()
    }

    /// A handle to look at it and to drain it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.core))
    }

    /// The address of the first listener, with the port that the kernel chose.
    ///
    /// # Panics
    /// Never: there is at least one listener.
    #[must_use]
    pub fn local_addr(&self) -> &Address {
        #[expect(clippy::expect_used, reason = "start() refuses a lane without a listener")]
        self.addresses().next().expect("a lane has at least one listener")
    }

    /// The addresses of all its listeners.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<Address> {
        self.addresses().cloned().collect()
    }

    fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.core.gate.ports().iter().filter(|port| port.lane == self.lane).map(|port| &*port.address)
    }

    /// The next connection; `None` when it was drained and nothing is left.
    ///
    /// # Errors
    /// The listener is broken, or the runtime of [`AcceptOn::Task`](crate::AcceptOn::Task) is gone,
    /// and everything that was accepted has been taken: final, `None` follows. Or this was called
    /// outside a tokio runtime with I/O: the connection keeps waiting, and the next call tries again.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: a connection leaves the room in the same poll that returns
    /// it.
    pub async fn accept(&mut self) -> Result<Option<Connection>, AcceptError> {
        poll_fn(|cx| self.poll_accept(cx)).await.transpose()
    }

    /// [`accept`](Self::accept), by hand. `None` is the end, also after an error.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Connection, AcceptError>>> {
        // As tokio's own listener: a loop that accepts lets others run now and then.
        let progress = ready!(tokio::task::coop::poll_proceed(cx));
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            // Outside a runtime the thread accepts.
            let _no_driver_yet = self.look_for_driver();
            let doorstep = ready!(self.attendant.poll_someone(None, || None, cx));
            if doorstep == Doorstep::End {
                self.ended = true;
                progress.made_progress();
                return Poll::Ready(self.core.life.failure().map(|failure| Err(self.failed(failure))));
            }
            if let Err(error) = self.look_for_driver() {
                return Poll::Ready(Some(Err(self.error(io::Error::other(error)))));
            }
            let Some(handed) = self.core.gate.take(self.lane, CountedBy::Permit) else { continue };
            let connection = Connection::hand_over(&self.outlet, handed);
            self.core.gate.attach(connection.key(), connection.wire(), None);
            progress.made_progress();
            return Poll::Ready(Some(Ok(connection)));
        }
    }

    /// Once for each runtime in which it is polled.
    fn look_for_driver(&mut self) -> Result<(), StartError> {
        let runtime = runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        if self.driven_by == Some(runtime.id()) {
            return Ok(());
        }
        driver::probe_io()?;
        self.driven_by = Some(runtime.id());
        self.core.serves_on(runtime);
        self.attendant.take_up();
        Ok(())
    }

    fn failed(&self, failure: &Failure) -> AcceptError {
        match failure {
            Failure::Listener(error) => error.clone(),
            Failure::Service(error) => self.error(io::Error::other(Arc::clone(error))),
            #[cfg(all(feature = "handover", target_os = "linux"))]
            Failure::NoSuccession(error) => self.error(io::Error::other(Arc::clone(error))),
            Failure::RuntimeGone => {
                self.error(io::Error::other("the runtime on which it was accepting was shut down"))
            }
        }
    }

    fn error(&self, source: io::Error) -> AcceptError {
        AcceptError { listener: self.local_addr().to_string().into(), source: Arc::new(source) }
    }
}

impl Stream for Incoming {
    type Item = Result<Connection, AcceptError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_accept(cx)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.core.gate.abandon(self.lane);
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("listeners", &self.local_addrs()).finish_non_exhaustive()
    }
}

/// Gathers listeners and settings; see [`Incoming::builder`].
#[derive(Debug, Default)]
pub struct IncomingBuilder {
    common: Common,
    listeners: Vec<Listener>,
}

impl IncomingBuilder {
    /// Replaces every setting; setters that are called later override single ones.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.common.config = config;
        self
    }

    /// See [`Config::max_connections`]: the connections that may be taken and not yet dropped.
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

    /// See [`ServerBuilder::filter`](crate::ServerBuilder::filter).
    #[must_use]
    pub fn filter(mut self, filter: impl FnMut(&Candidate<'_>) -> Verdict + Send + 'static) -> Self {
        self.common.filter = Some(Filter::new(filter));
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
        faults: impl FnMut() -> Option<io::Error> + Send + 'static,
    ) -> Self {
        self.common.faults = Some(super::start::FaultSource(Box::new(faults)));
        self
    }

    /// Accepts on these listeners too.
    #[must_use]
    pub fn listen(mut self, listeners: impl Into<Listeners>) -> Self {
        self.listeners.extend(listeners.into());
        self
    }

    /// Starts to accept. Needs no runtime, unless accepting is to run in a task.
    ///
    /// # Errors
    /// As [`ServerBuilder::start`](crate::ServerBuilder::start), without the need of a runtime.
    ///
    /// # Panics
    /// Never: a lane has a desk.
    pub fn start(self) -> Result<Incoming, StartError> {
        let (core, desks) = start(self.common, vec![self.listeners.into()])?;
        #[expect(clippy::expect_used, reason = "one desk for each lane")]
        let desk = desks.into_iter().next().expect("there is one lane");
        Ok(Incoming::new(core, desk))
    }

    /// Starts one acceptor with a lane for each of `lanes`: a public and an admin accept loop in one
    /// process, of which neither holds up the other. Listeners given to [`listen`](Self::listen) go
    /// to the first.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// # Panics
    /// Never: every lane has a desk.
    pub fn start_each<const N: usize>(self, lanes: [Lane; N]) -> Result<[Incoming; N], StartError> {
        let mut lanes = Vec::from(lanes);
        if let Some(first) = lanes.first_mut() {
            let given = std::mem::take(&mut first.listeners);
            first.listeners = self.listeners.into_iter().chain(given).collect();
        }
        let (core, desks) = start(self.common, lanes)?;
        let mut desks = desks.into_iter();
        #[expect(clippy::expect_used, reason = "one desk for each lane")]
        Ok(std::array::from_fn(|_| {
            Incoming::new(Arc::clone(&core), desks.next().expect("there are N lanes"))
        }))
    }
}
