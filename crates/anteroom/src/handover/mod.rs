//! Passing the listeners, and those who wait, from an old process to a new one.
//!
//! Owns the exchange: its messages, its order, its deadlines, and at every step who holds what. It knows a server
//! only by two traits, [`Estate`] (the old one) and [`Heir`] (the new one). Never accepts, never decides who is
//! served, never runs on the application's runtime.
//!
//! # The exchange
//!
//! | old | | new |
//! |---|---|---|
//! | | `Hello` (over a path only) → | connects |
//! | `Offer` + listeners | → | adopts them, starts its server, accepts nobody |
//! | | ← `Ready` | |
//! | `Go` | → | begins to accept, beside the old one |
//! | | ← `Serving` | |
//! | accepts no more, keeps its listeners | | |
//! | `Connections` + sockets | → | |
//! | lets go of them | ← `Taken` | then admits them |
//! | `Done` | → | is the only one |
//! | closes its listeners, drains | ← `Alone` | |
//!
//! The listeners are the same open sockets on both sides: what the kernel has queued belongs to whoever accepts, and
//! neither a death nor a close of one side resets anybody. The old side keeps them until it has read `Alone`, so
//! that until then a successor that dies or fails costs nobody anything but what it had accepted itself. A connection out of
//! the waiting room is held by the old side until it has read `Taken`, and admitted by the new one only after `Taken`
//! was sent.
//!
//! After the offer there are three ways in which the new side's waiting ends: `Done`, it is the only one; `Abort`, the
//! old one serves on and it must not; the end of the channel without a word, the old one has died, and it is the only
//! one too.
//!
//! Giving up is atomic: a side closes its ear first (`SHUT_RD`, after which the other's sends fail), honours what was
//! said before, and only then says that it gives up. Who fails to send looks for that word.

mod channel;
mod credentials;
mod error;
mod give;
mod message;
mod parcel;
mod place;
mod predecessor;
mod socket;
mod steps;
mod succession;
mod take;
#[cfg(test)]
mod tests;
mod upgrade;

use std::{io, os::fd::OwnedFd, time::Duration};

use anteroom_listener::{PeerAddr, Stream};

#[cfg(feature = "test-util")]
pub use self::steps::{Side, on_step, set_patience};
pub use self::{
    error::{HandoverError, HandoverErrorKind},
    predecessor::Predecessor,
    socket::HandoverSocket,
    steps::Step,
    upgrade::{Upgrade, Upgraded},
};
pub(crate) use self::{socket::offer_on, take::succeed, upgrade::upgrade};

/// A connection out of the waiting room, on its way between two processes.
#[derive(Debug)]
pub(crate) struct Exported {
    /// The name of the listener that accepted it.
    pub(crate) listener: String,
    pub(crate) stream: Stream,
    pub(crate) peer: PeerAddr,
    /// Time in the kernel's accept queue, where the platform told.
    pub(crate) kernel_wait: Option<Duration>,
    /// From the handshake's end until now, as near as it is known.
    pub(crate) since_handshake: Duration,
    /// From `accept` until now.
    pub(crate) accepted_ago: Duration,
}

/// A listener that is to be passed on.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) name: String,
    pub(crate) address: String,
    /// Nobody else had the socket until now.
    pub(crate) exclusive: bool,
    /// Another descriptor of the open socket (`Listener::share`).
    pub(crate) descriptor: OwnedFd,
}

/// The old server as the exchange sees it. The calls come from one thread, which is no worker of a runtime.
pub(crate) trait Estate: Send {
    /// Takes the one exchange that may be under way. After `Ok`, [`over`](Self::over) is called exactly once, last.
    /// `Err`: it drains, or another one is under way; nothing else is called then but [`failed`](Self::failed).
    fn may_begin(&self) -> Result<(), &'static str>;
    /// Each open listener.
    fn listeners(&self) -> io::Result<Vec<Passed>>;
    /// This child is to be the successor.
    fn started(&self, _process: u32) {}
    /// The successor accepts: accept no more, but keep the listeners open.
    fn hold_back(&self);
    /// It came to nothing: accept again. Only after [`hold_back`](Self::hold_back).
    fn go_on(&self);
    /// Up to `most` out of the room, none that came by a listener in `left`. Empty: there are no more.
    fn export(&self, most: usize, left: &[String]) -> Vec<Exported>;
    /// The successor did not take them: back into the room.
    fn take_back(&self, connections: Vec<Exported>);
    /// The successor has them: count and drop them.
    fn handed_over(&self, connections: Vec<Exported>);
    /// The successor is the only one: close the listeners, unfenced and without removing a Unix socket's file, and
    /// begin the drain. Those in `left` the successor does not continue: reclaim and drain them.
    fn hand_over(&self, left: &[String]);
    /// For the event. `reclaim`: whoever the listeners were passed on to has let them go (`Listener::reclaim`).
    /// Before [`hand_over`](Self::hand_over) the server serves on as if nothing had been. After it this tells only that
    /// some who wait could not be passed on.
    fn failed(&self, error: &HandoverError, reclaim: bool);
    /// Nothing more will be exported or taken back; another exchange may begin.
    fn over(&self);
}

/// The new server as the exchange sees it. The calls come from one thread, which is no worker of a runtime.
/// The last call is one of [`failed`](Self::failed) and [`over`](Self::over).
pub(crate) trait Heir: Send {
    /// The names of its listeners.
    fn names(&self) -> Vec<String>;
    /// `Err`: it was told to stop, so that nobody is to be given to it.
    fn may_serve(&self) -> Result<(), &'static str> {
        Ok(())
    }
    /// Start to accept.
    fn begin(&self);
    /// Into its room.
    fn receive(&self, connections: Vec<Exported>);
    /// The predecessor serves on. Before [`begin`](Self::begin): end with the error, nobody was accepted. After it:
    /// close the listeners unfenced (they are shared), drain and end with the error. The predecessor takes the
    /// listeners for closed when this has returned.
    fn failed(&self, error: HandoverError);
    /// This server is the only one now, and nobody else has the sockets of these listeners.
    fn over(&self, exclusive: &[String]);
}
