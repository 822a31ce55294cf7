//! The server that this process takes over from, until a server here succeeds it.
//!
//! Owns the offer, and the listeners that nobody has asked for yet. Never says that anything is ready.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use anteroom_listener::{Listener, inherited_socket};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::{
    HandoverError, HandoverErrorKind,
    channel::Channel,
    credentials,
    message::{Message, Offered},
    steps::{Side, Step},
    succession::{Identity, Succession},
    take::{WITHIN, Will},
};

/// By this variable the new program finds the descriptor that it was started with: `<number>:<inode>`.
pub(super) const VARIABLE: &str = "ANTEROOM_PREDECESSOR";

/// The most listeners that are taken over from one predecessor.
const MAX_LISTENERS: usize = 4096;

/// The server that this process takes over from, and what it offers.
///
/// [Take](Self::take) its listeners by their names instead of binding them, give them to a server, and tell that
/// server whom it succeeds. It accepts as soon as the predecessor says so, and then the predecessor drains. A listener
/// that is neither taken and served nor [left](Self::leave) on purpose makes the handover fail, and the predecessor
/// serves on; so does dropping this.
#[derive(Debug)]
pub struct Predecessor {
    // In this order: the other side learns by the end of the channel that the listeners are closed.
    waiting: Vec<Listener>,
    names: Vec<String>,
    will: Will,
    channel: Channel,
    succession: Succession,
}

impl Predecessor {
    /// The one that started this process to be its successor. `None`: nobody did. Waits until it has said what it
    /// offers, which it does at once, for 60 s at most.
    ///
    /// Only the first call finds it.
    ///
    /// # Errors
    /// The predecessor has given up, or what it sent cannot be read.
    pub fn inherited() -> Result<Option<Self>, HandoverError> {
        let socket = inherited_socket(VARIABLE)
            .map_err(|error| system("find the channel to the predecessor").because(error))?;
        let Some(socket) = socket else { return Ok(None) };
        let identity = Identity::of(&socket, None);
        Self::listen_to(Channel::new(socket, Side::New, WITHIN), identity).map(Some)
    }

    /// The one that listens for successors at `path`. Waits until it has said what it offers.
    ///
    /// # Errors
    /// Nobody listens there; it belongs to another user, who is not root; it refused; it did not answer within that
    /// time.
    pub fn connect(path: impl AsRef<Path>, within: Duration) -> Result<Self, HandoverError> {
        let path = path.as_ref();
        let socket = connect(path, within)
            .map_err(|error| HandoverError::of(Side::New, HandoverErrorKind::Path).because(error))?;
        credentials::check(&socket, Side::New)?;
        let identity = Identity::of(&socket, Some(path));
        let mut channel = Channel::new(socket, Side::New, within);
        match channel.send(&Message::Hello {}, &[]) {
            // Whoever does not want to hear has said why, perhaps.
            Err(error) if !matches!(error.kind(), HandoverErrorKind::Vanished { .. }) => Err(error),
            _ => Self::listen_to(channel, identity),
        }
    }

    /// The names of the listeners that it offers, taken ones too.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The listener of this name, named so, for the server that succeeds. Once each; `None`: there is none.
    pub fn take(&mut self, name: &str) -> Option<Listener> {
        let place = self.waiting.iter().position(|listener| listener.name() == name)?;
        self.will.taken.push(name.to_owned());
        Some(self.waiting.remove(place))
    }

    /// Says that the listener of this name is not continued, on purpose: the predecessor empties its queue and closes
    /// it.
    pub fn leave(&mut self, name: &str) {
        if let Some(place) = self.waiting.iter().position(|listener| listener.name() == name) {
            self.will.left.push(name.to_owned());
            drop(self.waiting.remove(place));
        }
    }

    /// What the exchange needs; listeners that nobody has asked for are closed.
    pub(super) fn into_parts(self) -> (Channel, Will, Succession) {
        (self.channel, self.will, self.succession)
    }

    pub(super) fn listen_to(mut channel: Channel, identity: Identity) -> Result<Self, HandoverError> {
        let mut will = Will::default();
        let waiting = match read_offer(&mut channel, &mut will) {
            Ok(listeners) => listeners,
            Err(error) => {
                channel.say(&Message::Failed { reason: error.reason() });
                return Err(error);
            }
        };
        channel.reached(Step::GotOffer);
        let names = waiting.iter().map(|listener| listener.name().to_owned()).collect();
        let succession = Succession::begin(identity);
        Ok(Self { waiting, names, will, channel, succession })
    }
}

fn read_offer(channel: &mut Channel, will: &mut Will) -> Result<Vec<Listener>, HandoverError> {
    let mut offered: Vec<Listener> = Vec::new();
    loop {
        let (listeners, more, descriptors) = match channel.receive()? {
            (Message::Offer { listeners, more }, descriptors) => (listeners, more, descriptors),
            (got, _) => return Err(channel.unexpected(got, "offer")),
        };
        if listeners.is_empty() && more {
            return Err(channel.malformed("an empty part of an offer says that more follow"));
        }
        if offered.len() + listeners.len() > MAX_LISTENERS {
            return Err(channel.malformed(format!("it offers more than {MAX_LISTENERS} listeners")));
        }
        for (Offered { name, exclusive, .. }, descriptor) in listeners.into_iter().zip(descriptors) {
            if offered.iter().any(|listener| listener.name() == name) {
                return Err(channel.malformed(format!("it offers the listener {name:?} twice")));
            }
            will.exclusive.extend(exclusive.then(|| name.clone()));
            offered.push(adopt(channel, name, descriptor)?);
        }
        if !more {
            return Ok(offered);
        }
    }
}

fn adopt(channel: &Channel, name: String, descriptor: OwnedFd) -> Result<Listener, HandoverError> {
    match Listener::adopt(descriptor) {
        Ok(listener) => Ok(listener.with_name(name)),
        Err(error) => Err(channel
            .error(HandoverErrorKind::Descriptor { listener: name })
            .because(io::Error::from(error))),
    }
}

/// A connection that waits no longer than `within` for a place in the queue of who listens.
fn connect(path: &Path, within: Duration) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Zero would be for ever (socket(7), SO_SNDTIMEO).
    let patience = within.clamp(Duration::from_millis(1), WITHIN);
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))?;
    loop {
        match rustix::net::connect(&socket, &address) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result?,
        }
    }
    Ok(OwnedFd::from(UnixStream::from(socket)))
}

fn system(what: &'static str) -> HandoverError {
    HandoverError::of(Side::New, HandoverErrorKind::System { what })
}
