//! Listening sockets that tell what the kernel knows about them.
//!
//! Owns the sockets and the kernel facts: binding and adopting listeners, the backlog that was really granted, the
//! accept queue (depth, limit, drops), the state of a peer that was just accepted, the classes of accept errors, and
//! what an accept loop sleeps on, how many descriptors the process may have. It never decides who is served, never waits for a peer, never starts a thread and
//! needs no runtime; it logs nothing.
//!
//! Linux is the first-class platform. Elsewhere on Unix the same API compiles and serves, and a fact that the platform
//! does not tell is `None`, never zero. `--cfg anteroom_portable` chooses that portable half on Linux too.
//!
//! # Examples
//!
//! ```
//! use anteroom_listener::{AcceptErrorClass, Listener};
//!
//! let listener = Listener::builder().backlog(64).bind("127.0.0.1:0")?;
//! assert_eq!(listener.backlog().requested, Some(64));
//!
//! let port = listener.local_addr().tcp().unwrap();
//! let client = std::net::TcpStream::connect(port)?;
//! let accepted = listener.accept()?;
//! assert_eq!(accepted.peer.tcp(), Some(client.local_addr()?));
//!
//! let nobody = listener.accept().unwrap_err();
//! assert_eq!(AcceptErrorClass::of(&nobody), AcceptErrorClass::Empty);
//! # Ok::<(), std::io::Error>(())
//! ```

#[cfg(not(unix))]
compile_error!("anteroom-listener needs a Unix: its facts are facts about Unix sockets");

mod activated;
mod activation_error;
mod address;
mod adopt;
mod batch;
mod builder;
mod clock;
mod descriptors;
mod diag;
mod errno;
mod error;
mod fence;
mod group;
mod handshakes;
mod listener;
mod listeners;
mod options;
mod peer;
mod poller;
mod queue;
mod sharing;
mod socket_file;
mod stream;
#[expect(unsafe_code, reason = "the one place that calls the kernel itself")]
mod sys;

pub use activated::{activated, inherited_socket};
pub use activation_error::{ActivationError, ActivationErrorKind};
pub use address::{Address, AddressError, UnixAddress};
pub use adopt::{AdoptError, AdoptErrorKind};
pub use batch::{Accepted, Batch, BatchEnd, Classified, Classify};
pub use builder::Builder;
pub use clock::monotonic_nanos;
pub use descriptors::Descriptors;
pub use errno::AcceptErrorClass;
pub use error::{BindError, BindErrorKind};
pub use fence::Fence;
pub use group::migrates_queued;
pub use handshakes::Handshakes;
pub use listener::Listener;
pub use listeners::Listeners;
pub use options::KeepAlive;
pub use peer::{PeerAddr, PeerState, Unread};
pub use poller::{Event, Events, HungUp, Poller, Waker};
pub use queue::{Backlog, Census, Queue};
pub use stream::{
    Stream, discard_now, half_close, last_sent, read_now, reset_on_close, shut_down, write_now,
};
