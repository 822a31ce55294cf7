//! The handle: what can be asked of a running server, and told it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use anteroom_listener::{Backlog, BindError, Census};

use super::core::Core;
#[cfg(all(feature = "handover", target_os = "linux"))]
use super::estate::Old;
#[cfg(feature = "metrics")]
use super::publisher::Publisher;
use super::ready::Ready;
use super::signal::{Exhausted, Stopped};
use crate::config::{Config, ConfigError};
use crate::connection::Draining;
use crate::gate::Port;
use crate::observe::{Note, Phase, Readiness, Snapshot};

/// A running server seen from outside.
///
/// Cheap to clone and `Send + Sync`. Dropping handles never stops a server, and holding one never
/// keeps it alive; it holds the counts, and an epoll set and an eventfd, until the last one is gone.
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<Core>);

impl Handle {
    /// The server at this moment, its accept queues read from the kernel by this call. Works while
    /// every worker of the runtime is blocked.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }

    /// Publishes this server into a recorder of your own, beside the global one.
    #[cfg(feature = "metrics")]
    pub fn publisher(&self) -> Publisher {
        Publisher::new(Arc::clone(&self.0))
    }

    /// Where the server stands in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.0.life.phase()
    }

    /// How many of the connections in the accept queue of `listener` have already been left by their
    /// clients, before anybody accepts them. `None` when there is no open listener of this name, and
    /// where the platform does not tell (it needs `sock_diag`, and a TCP listener).
    ///
    /// The cost grows with the number of sockets on the host: on demand or rarely.
    ///
    /// # Errors
    /// The kernel was asked and did not answer.
    pub fn census(&self, listener: &str) -> io::Result<Option<Census>> {
        self.port(listener).map_or(Ok(None), Port::census)
    }

    /// Changes the backlog of `listener` at once; nothing that is queued is lost. `None` when there
    /// is no open listener of this name.
    ///
    /// # Errors
    /// As `listen(2)`; or 0 was asked for; or the listener is strict and the kernel granted less.
    pub fn set_backlog(&self, listener: &str, backlog: u32) -> Option<Result<Backlog, BindError>> {
        self.port(listener)?.set_backlog(backlog)
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> Config {
        (*self.0.config()).clone()
    }

    /// Changes settings while the server runs, all of them in one step: whoever is accepted after the
    /// return is dealt with by the new ones. Connections are lost by no change: who waits or is served
    /// beyond a bound that has become smaller stays, and nobody follows. Only deadlines hold for those who
    /// wait already. What a [`Lane`](crate::Lane) has of its own stays as it is.
    ///
    /// Two changes at the same time come one after the other; `change` may not call this again.
    ///
    /// # Errors
    /// The settings cannot be meant, or one was changed that holds from the start
    /// ([`Config::accept_on`], [`Config::descriptors`]): nothing has changed.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let incoming = anteroom::Incoming::bind("127.0.0.1:0")?;
    /// let handle = incoming.handle();
    /// handle.reconfigure(|config| config.max_connections = Some(100))?;
    /// assert_eq!(handle.config().max_connections, Some(100));
    /// assert!(handle.reconfigure(|config| config.batch = 0).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn reconfigure(&self, change: impl FnOnce(&mut Config)) -> Result<(), ConfigError> {
        self.0.reconfigure(change)
    }

    fn port(&self, name: &str) -> Option<&Port> {
        self.0.gate.ports().iter().find(|port| &*port.name == name).map(|port| &**port)
    }

    /// Stops calling `accept`, at once. What comes waits in the kernel's queue, where it ages and
    /// may be dropped; what was accepted is served.
    pub fn pause(&self) {
        if self.0.life.pause() {
            self.0.gate.notes().leave(Note::Paused);
        }
        self.0.gate.wake_acceptor();
    }

    /// Goes on after a [`pause`](Self::pause).
    pub fn resume(&self) {
        if self.0.life.resume() {
            self.0.gate.notes().leave(Note::Resumed);
        }
        self.0.gate.wake_acceptor();
    }

    /// Whether clients are to be sent here: it serves, nobody has told it to stop or to pause, and it
    /// keeps up: neither the oldest wait nor the runtime's delay have passed
    /// [`StallWatch::unready_after`](crate::StallWatch::unready_after). In a lame duck and a drain it is not.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readiness().is_ready()
    }

    /// Whether clients are to be sent here, and why not.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.0.life.readiness()
    }

    /// [`readiness`](Self::readiness) as a value that can be waited for.
    ///
    /// # Examples
    /// ```
    /// use anteroom::{Incoming, Readiness, Unready};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let incoming = Incoming::bind("127.0.0.1:0")?;
    /// let handle = incoming.handle();
    /// let mut ready = handle.ready();
    /// ready.until_ready().await;
    /// handle.pause();
    /// assert_eq!(ready.changed().await, Readiness::NotReady(Unready::Paused));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn ready(&self) -> Ready {
        Ready::new(self.0.life.watch_readiness())
    }

    /// Accepts and serves on, and is not [ready](Self::is_ready) any more: for as long as load
    /// balancers need to notice. It ends with a [`shut_down`](Self::shut_down) or a
    /// [`drain`](Self::drain), and without one never.
    pub fn lame_duck(&self) {
        self.0.lame_duck(None);
    }

    /// Stops in steps that have their time in the settings: a lame duck for
    /// [`Config::lame_duck`](crate::Config::lame_duck) (of which the time counts that it has been one
    /// already), then a [`drain`](Self::drain) within
    /// [`Config::drain_within`](crate::Config::drain_within). What an orchestrator's SIGTERM should do.
    ///
    /// It begins at the call; a second call changes nothing.
    ///
    /// # Cancel safety
    /// Dropping the future loses only the report.
    pub fn shut_down(&self) -> Stopped {
        self.0.shut_down();
        self.stopped()
    }

    /// Ends the step that a stop is at: whoever serves, or is a lame duck, drains within
    /// [`Config::drain_within`](crate::Config::drain_within); who drains cuts what is open now.
    pub fn cut_short(&self) {
        self.0.cut_short();
    }

    /// Stops as fast as can be told: what is open is cut, what waits refused, nobody is waited for.
    ///
    /// # Cancel safety
    /// Dropping the future loses only the report.
    pub fn stop_now(&self) -> Stopped {
        self.0.life.hurry();
        self.drain(Duration::ZERO)
    }

    /// Stops gracefully: tells every connection
    /// ([`Connection::draining`](crate::Connection::draining)), lets nobody new in, accepts what the
    /// kernel has queued, closes the listeners, serves what waits, and cuts what is still open after
    /// `within`.
    ///
    /// Nobody is reset whose `connect` has succeeded, as long as the time lasts: a listener that was made
    /// here and never passed on is *fenced* first (the kernel drops newcomers' SYNs, which come again at
    /// the successor or are refused after the close; on a Unix socket they are refused at once), then
    /// emptied until it is quiet: nothing queued, and no handshake under way, for which it waits at most
    /// [`Config::handshakes_within`](crate::Config::handshakes_within). One that was adopted is not fenced
    /// unless it was declared [exclusive](crate::Listener::exclusive): whoever shares it would lose
    /// newcomers.
    ///
    /// It begins at the call, not at the first poll of the result. A second call can bring the end
    /// forward, never put it off. A handler that blocks its thread cannot be cut: it is counted as
    /// cut, and the server stops without it.
    ///
    /// # Cancel safety
    /// Dropping the future loses only the report.
    pub fn drain(&self, within: Duration) -> Stopped {
        self.0.drain(within);
        self.stopped()
    }

    /// Starts `command`, the new version of this program, and hands over to it: the listening sockets
    /// with all that the kernel has queued, and those who wait in the room, with their ages. Nobody is
    /// reset, and at no moment does nobody accept for longer than a message takes.
    ///
    /// The new process finds its predecessor with
    /// [`Predecessor::inherited`](crate::Predecessor::inherited) and gives it to its builder. It has
    /// `within` to be ready, listeners and all; then this server [drains](Self::drain) within
    /// [`Config::drain_within`](crate::Config::drain_within) without touching the queues. If the new one
    /// ends, is not ready in time or leaves a listener out, it is killed, and this server serves on as if
    /// nothing had happened; an event and the error say why.
    ///
    /// It begins at the call, on a thread of its own.
    ///
    /// # Cancel safety
    /// Dropping the result loses only the outcome.
    #[cfg(all(feature = "handover", target_os = "linux"))]
    pub fn upgrade(&self, mut command: std::process::Command, within: Duration) -> crate::handover::Upgrade {
        // It names this process: a service manager's watchdog is to be fed by the child.
        command.env_remove("WATCHDOG_PID");
        crate::handover::upgrade(Box::new(Old::new(Arc::clone(&self.0))), command, within)
    }

    /// Hands over, as [`upgrade`](Self::upgrade) does, to a process that somebody else starts and that
    /// connects to a Unix socket at `path` ([`Predecessor::connect`](crate::Predecessor::connect)).
    /// The socket is readable and writable for this user alone, and who connects is asked for: this user
    /// or root. Each successor has `within` from its connect until it serves.
    ///
    /// It is open until the result is dropped, or until a handover has succeeded.
    ///
    /// # Errors
    /// The path cannot be bound, or a thread not be started.
    #[cfg(all(feature = "handover", target_os = "linux"))]
    pub fn hand_over_on(
        &self,
        path: impl AsRef<std::path::Path>,
        within: Duration,
    ) -> Result<crate::handover::HandoverSocket, crate::handover::HandoverError> {
        let core = Arc::clone(&self.0);
        let estate = move || Box::new(Old::new(Arc::clone(&core))) as Box<dyn crate::handover::Estate>;
        crate::handover::offer_on(Arc::new(estate), path.as_ref(), within)
    }

    /// Resolves when the server has stopped, whoever stopped it.
    pub fn stopped(&self) -> Stopped {
        Stopped::new(Arc::clone(&self.0.life))
    }

    /// Resolves when the server begins to drain.
    pub fn draining(&self) -> Draining {
        Draining::new(self.0.life.draining.clone())
    }

    /// Resolves when everything that was queued has been handed out, or the listener is broken.
    pub fn exhausted(&self) -> Exhausted {
        Exhausted::new(Arc::clone(&self.0.life))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("phase", &self.phase()).finish_non_exhaustive()
    }
}
