//! Clients that were answered once and stay.
//!
//! Owns: their sockets. Dropping ends them with a reset, so that no port is held.
//! Never: more descriptors than the process may have; it says so instead.

use crate::client::{connect_from, loopback_sources};
use rustix::{
    net::sockopt::set_socket_linger,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// So many say their byte before the first answer is awaited: below every accept queue, so that nobody is refused.
const AT_ONCE: usize = 64;

/// Each has ports of its own, and none of them is a port of the other clients.
const SOURCES: u16 = 16;

const BOUND: Duration = Duration::from_secs(30);

/// Open connections that do nothing.
#[derive(Debug)]
pub struct Idle {
    target: SocketAddr,
    clients: Vec<TcpStream>,
}

impl Idle {
    /// Nobody yet.
    #[must_use]
    pub fn new(target: SocketAddr) -> Self {
        Self { target, clients: Vec::new() }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Connects until there are `count`; each has said one byte and heard one, so that it is open at the server.
    ///
    /// # Errors
    ///
    /// What the kernel says, and `UnexpectedEof` when the server closes one.
    pub fn fill(&mut self, count: usize) -> io::Result<()> {
        let sources = loopback_sources(SOURCES);
        let mut sources = sources.iter().cycle();
        while self.clients.len() < count {
            let before = self.clients.len();
            for source in sources.by_ref().take(AT_ONCE.min(count - before)) {
                let mut client = connect_from(*source, self.target, BOUND)?;
                set_socket_linger(&client, Some(Duration::ZERO))?;
                client.write_all(b"x")?;
                self.clients.push(client);
            }
            for client in self.clients.iter_mut().skip(before) {
                client.read_exact(&mut [0])?;
            }
        }
        Ok(())
    }

    /// The last ones leave, until there are `count`.
    pub fn leave(&mut self, count: usize) {
        self.clients.truncate(count);
    }

    /// Each says one byte more and is answered. How many are.
    pub fn answered(&mut self) -> usize {
        let answered =
            |client: &mut TcpStream| client.write_all(b"y").is_ok() && client.read_exact(&mut [0]).is_ok();
        self.clients.iter_mut().map(answered).filter(|answered| *answered).count()
    }
}

/// Sets this process's limit of descriptors as high as it may, and says how high that is. `None`: there is none.
///
/// # Errors
///
/// What the kernel says.
pub fn raise_descriptor_limit() -> io::Result<Option<u64>> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum)
}
