//! A server as a handover sees it: what the old one gives, and what the new one gets.
//!
//! Owns nothing of its own. Decides when listeners are closed without a drain, and who goes along;
//! never speaks with the other process.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::core::Core;
use super::life::Failure;
use crate::admit::Age;
use crate::gate::{From, Parked, Port};
use crate::handover::{Estate, Exported, HandoverError, Heir, Passed};
use crate::observe::{Note, Phase};
use crate::tick::Tick;

/// The server that is to be succeeded.
#[derive(Debug)]
pub(super) struct Old {
    core: Arc<Core>,
    /// The ports whose sockets nobody else had before they were offered; a service manager may have others.
    exclusive: Mutex<Vec<usize>>,
    /// The process that was started for it.
    #[cfg(feature = "systemd")]
    child: std::sync::OnceLock<u32>,
}

impl Old {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            exclusive: Mutex::default(),
            #[cfg(feature = "systemd")]
            child: Default::default(),
        }
    }

    fn ports(&self) -> &[Arc<Port>] {
        self.core.gate.ports()
    }

    /// In numbers of our own: names are for the wire.
    fn parked(&self, connections: Vec<Exported>) -> Vec<Parked> {
        parked(self.ports(), connections)
    }

    fn exclusive(&self) -> MutexGuard<'_, Vec<usize>> {
        self.exclusive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever these were offered to has let them go.
    fn reclaim(&self, may: impl Fn(&Port) -> bool) {
        let exclusive = self.exclusive();
        let ports = exclusive.iter().filter_map(|&index| self.ports().get(index));
        for port in ports.filter(|port| may(port)) {
            if let Some(listener) = port.listener() {
                listener.reclaim();
            }
        }
    }
}

impl Estate for Old {
    fn may_begin(&self) -> Result<(), &'static str> {
        let life = &self.core.life;
        match life.phase() {
            Phase::Starting => Err("the server has not taken over from its own predecessor yet"),
            Phase::Draining | Phase::Stopped => Err("the server is draining"),
            _ if !life.begin_exchange() => Err("another handover is under way"),
            _ => Ok(()),
        }
    }

    fn listeners(&self) -> io::Result<Vec<Passed>> {
        let mut offered = Vec::new();
        for (index, port) in self.ports().iter().enumerate() {
            if let Some(listener) = port.listener() {
                if listener.is_exclusive() {
                    self.exclusive().push(index);
                }
                offered.push(Passed {
                    name: port.name.to_string(),
                    address: port.address.to_string(),
                    exclusive: listener.is_exclusive(),
                    descriptor: listener.share()?,
                });
            }
        }
        Ok(offered)
    }

    #[cfg(feature = "systemd")]
    fn started(&self, process: u32) {
        let _the_only_one = self.child.set(process);
    }

    fn hold_back(&self) {
        self.core.gate.open_passage();
        self.core.life.hold();
        self.core.gate.wake_acceptor();
    }

    fn go_on(&self) {
        self.core.life.let_go();
        // Who comes back has come; a drain need not wait for the end of a child that has failed.
        self.core.gate.close_passage();
    }

    fn export(&self, most: usize, left: &[String]) -> Vec<Exported> {
        let now = Tick::now();
        let exported =
            self.core.gate.export(most, |port| !is_among(port, left)).into_iter().map(|parked| Exported {
                listener: self
                    .ports()
                    .get(parked.port)
                    .map_or_else(String::new, |port| port.name.to_string()),
                peer: parked.peer,
                kernel_wait: parked.kernel_wait,
                since_handshake: parked.age.since_handshake(now),
                accepted_ago: now.since(parked.age.accepted),
                stream: parked.stream,
            });
        exported.collect()
    }

    fn take_back(&self, connections: Vec<Exported>) {
        self.core.gate.send_in(self.parked(connections), From::Successor);
    }

    fn handed_over(&self, connections: Vec<Exported>) {
        self.core.gate.passed_on(self.parked(connections));
    }

    fn hand_over(&self, left: &[String]) {
        for port in self.ports().iter().filter(|port| is_among(port, left)) {
            port.leave_behind();
        }
        self.reclaim(Port::is_left_behind);
        #[cfg(feature = "systemd")]
        if let Some(&child) = self.child.get() {
            self.core.life.succeeded_by(child);
        }
        self.core.life.hand_over();
        self.core.drain(self.core.config().drain_within);
        self.core.life.let_go();
    }

    fn failed(&self, error: &HandoverError, let_go: bool) {
        if let_go {
            self.reclaim(|_| true);
        }
        self.core.gate.notes().leave(Note::HandoverFailed { error: told(error) });
    }

    fn over(&self) {
        self.core.life.end_exchange();
        // It wakes the acceptor, which may have waited for this.
        self.core.gate.close_passage();
    }
}

/// The server that succeeds another.
#[derive(Clone, Debug)]
pub(super) struct New(Arc<Core>);

impl New {
    pub(super) fn of(core: Arc<Core>) -> Self {
        Self(core)
    }

    /// Ends with `error`. If nobody was accepted yet, the queues that others hold are left to them, and
    /// those of our own are drained.
    pub(super) fn give_up(&self, error: Arc<dyn Error + Send + Sync>) {
        if self.0.life.is_held() {
            for port in self.0.gate.ports() {
                if port.listener().is_some_and(|listener| listener.is_exclusive()) {
                    port.leave_behind();
                }
            }
            self.0.life.hand_over();
        }
        self.0.gate.notes().leave(Note::HandoverFailed { error: told(&*error) });
        self.0.fail(Failure::NoSuccession(error));
    }
}

impl Heir for New {
    fn names(&self) -> Vec<String> {
        self.0.gate.ports().iter().map(|port| port.name.to_string()).collect()
    }

    fn may_serve(&self) -> Result<(), &'static str> {
        match self.0.life.phase() {
            Phase::Starting | Phase::Serving => Ok(()),
            Phase::LameDuck | Phase::Draining | Phase::Stopped => Err("the successor was told to stop"),
        }
    }

    fn begin(&self) {
        // Told to stop from here on, it waits for those who are on their way to it.
        self.0.gate.open_passage();
        self.0.life.let_go();
        if self.0.life.enter(Phase::Serving) {
            self.0.gate.notes().leave(Note::Phase(Phase::Serving));
        }
        self.0.gate.wake_acceptor();
    }

    fn receive(&self, connections: Vec<Exported>) {
        self.0.gate.send_in(parked(self.0.gate.ports(), connections), From::Predecessor);
    }

    fn failed(&self, error: HandoverError) {
        self.give_up(Arc::new(error));
        self.0.gate.close_passage();
    }

    fn over(&self, exclusive: &[String]) {
        for port in self.0.gate.ports().iter().filter(|port| is_among(port, exclusive)) {
            if let Some(listener) = port.listener() {
                listener.declare_exclusive();
            }
        }
        self.0.gate.close_passage();
    }
}

/// An error with its sources, in one line.
fn told(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        told = format!("{told}: {error}");
        source = error.source();
    }
    told
}

fn is_among(port: &Port, names: &[String]) -> bool {
    names.iter().any(|name| **name == *port.name)
}

/// Those of a listener that is not here are closed: nobody was to send them.
fn parked(ports: &[Arc<Port>], connections: Vec<Exported>) -> Vec<Parked> {
    let now = Tick::now();
    let before = |ago: Duration| now.checked_sub(ago).unwrap_or(now);
    let parked = connections.into_iter().filter_map(|exported| {
        let Exported { listener, stream, peer, kernel_wait, since_handshake, accepted_ago } = exported;
        let port = ports.iter().position(|port| *port.name == *listener)?;
        let age = Age { accepted: before(accepted_ago), handshake: before(since_handshake) };
        // The acceptor numbers it when it comes in.
        Some(Parked { id: 0, port, stream, peer, kernel_wait, age })
    });
    parked.collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use crate::{Incoming, Listener};

    use super::*;

    /// Whether each listener is this server's alone after a successor could not even be started.
    fn alone_after_a_failure(listeners: Vec<Listener>) -> Vec<bool> {
        let incoming = Incoming::builder().listen(listeners).start().unwrap();
        let handle = incoming.handle();
        handle
            .upgrade(Command::new("/there/is/no/such/program"), Duration::from_secs(60))
            .wait()
            .unwrap_err();
        let ports = handle.0.gate.ports().iter();
        ports.map(|port| port.listener().unwrap().is_exclusive()).collect()
    }

    #[test]
    fn what_was_offered_in_vain_is_reclaimed_and_what_a_manager_has_is_not() {
        let listen = || Listener::bind("127.0.0.1:0").unwrap();
        let stored = listen();
        let _the_manager_s = stored.share().unwrap();
        assert_eq!(alone_after_a_failure(vec![listen(), stored]), [true, false]);
    }
}
