//! Anteroom: a hardened accept loop, the room between the kernel's accept queue and your handlers.
//!
//! A connection whose handshake the kernel has finished waits in the `listen()` queue until the
//! process calls `accept`. When the process is slow to do so, clients give up there: they have no
//! descriptor, keep their place in the queue, and nothing inside the process shows them. Anteroom
//! empties that queue whatever the handlers do, drops who has left, lets the others wait where they
//! can be seen and bounded, and tells what happened to each.
//!
//! - [`Server`] runs a [`tower_service::Service`] for every connection.
//! - [`Incoming`] gives connections to an accept loop of your own, or a framework's.
//! - [`Handle`] shows what is going on, pauses, and drains.
//!
//! # Bounds
//! One thread accepts for any number of listeners, a second one publishes. In each lane (a service, or
//! an `Incoming`) at most [`Config::max_connections`] are handed out, [`Config::max_waiting`] wait for
//! whom no place is free, and [`FirstByte::max_silent`] are silent; all lanes together hold no more
//! sockets than [`Config::descriptors`] says.
//!
//! # Platform
//! Linux first. Elsewhere on Unix it serves with what the platform tells; what it does not tell is
//! `None`.

#![forbid(unsafe_code)]

mod accept;
mod admit;
mod config;
mod connection;
mod gate;
#[cfg(all(feature = "handover", target_os = "linux"))]
mod handover;
mod lifecycle;
mod observe;
mod server;
#[cfg(feature = "signals")]
mod signals;
#[cfg(feature = "simulate")]
pub mod simulate;
mod stall;
/// The steps of a handover, and a hook that tells when one is reached: for tests that stop a process exactly there.
#[cfg(all(feature = "handover", feature = "test-util", target_os = "linux"))]
pub mod steps {
    pub use crate::handover::{Side, Step, on_step, set_patience};
}
#[cfg(feature = "systemd")]
pub mod systemd;
#[cfg(feature = "test-util")]
pub mod test;
mod tick;

pub use anteroom_listener::{
    AcceptErrorClass, ActivationError, Address, AddressError, AdoptError, Backlog, BindError,
    Builder as ListenerBuilder, Census, Listener, Listeners, PeerAddr, Queue, activated,
};

pub use crate::accept::{Candidate, Verdict};
pub use crate::admit::{
    Cause, Death, EarlyRefusal, FirstByte, HalfClose, Order, Prefix, PrefixError, Rate, Share, SilentClose,
    WhenFull,
};
pub use crate::config::{
    AcceptOn, Config, ConfigError, DescriptorBudget, Farewell, Kick, OutOfDescriptors, Refusal, Reply,
    StallWatch,
};
pub use crate::connection::{Connection, Draining, End, Info, PeerGone, Permit, ReadHalf, Socket, WriteHalf};
pub use crate::gate::Gone;
#[cfg(all(feature = "handover", target_os = "linux"))]
pub use crate::handover::{
    HandoverError, HandoverErrorKind, HandoverSocket, Predecessor, Step as HandoverStep, Upgrade, Upgraded,
};
#[cfg(feature = "metrics")]
pub use crate::lifecycle::Publisher;
pub use crate::lifecycle::{AcceptError, Exhausted, Handle, Ready, ServeError, StartError, Stopped};
pub use crate::observe::{
    Accepting, Blame, Blamed, Cost, DeadOnArrival, Deaths, Distribution, Doing, LaneSnapshot,
    ListenerSnapshot, Part, Phase, Readiness, Refused, Report, Served, Snapshot, Stall, StallCause, Thread,
    Unready,
};
pub use crate::server::{Incoming, IncomingBuilder, Lane, Server, ServerBuilder, ServiceFn, service_fn};
#[cfg(feature = "signals")]
pub use crate::signals::Signals;
