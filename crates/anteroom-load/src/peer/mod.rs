//! The servers that are compared, all with the same handler for each protocol.
//!
//! Owns: each server's accept path and nothing else, so that what differs is the accept path.
//! Never: settings that favour one: the backlog and the workers that each has by itself.

mod actix;
mod bare;
mod http;
mod protection;
mod raw;
mod serving;
mod table;

use crate::client::Exchange;
use std::{fmt, io, str::FromStr};

pub use protection::Protection;
pub use serving::Serving;

/// A server to measure: a row of the table.
#[derive(Clone, Copy)]
pub struct Peer(&'static table::Row);

/// What a server and its clients speak. Only servers with the same one are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// One byte there, the same byte back.
    Raw,
    /// One HTTP/1.1 request, a small answer.
    Http,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Raw, Self::Http];

    /// What a client says.
    #[must_use]
    pub fn exchange(self) -> Exchange {
        match self {
            Self::Raw => Exchange::one_byte(),
            Self::Http => Exchange::http_get(),
        }
    }

    /// The server that the others of this protocol are measured against: what the kernel and the protocol
    /// cost without any accept path to speak of.
    #[must_use]
    pub fn baseline(self) -> Peer {
        Peer(match self {
            Self::Raw => &table::BARE,
            Self::Http => &table::BARE_HTTP,
        })
    }

    /// The servers that this is about: they are held against every other one.
    #[must_use]
    pub fn subjects(self) -> &'static [Peer] {
        match self {
            Self::Raw => const { &[Peer(&table::ANTEROOM), Peer(&table::ANTEROOM_SHARDED)] },
            Self::Http => const { &[Peer(&table::ANTEROOM_AXUM), Peer(&table::ANTEROOM_HTTP)] },
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Http => "http",
        })
    }
}

impl Peer {
    /// Every server.
    pub fn all() -> impl Iterator<Item = Self> {
        table::ALL.iter().map(|row| Self(row))
    }

    /// [`anteroom::Server`] as it is when nothing is set.
    pub const ANTEROOM: Self = Self(&table::ANTEROOM);

    /// The loop that everybody writes, on the runtime that everybody has.
    pub const PLAIN: Self = Self(&table::TOKIO);

    /// What it speaks.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        self.0.protocol
    }

    /// Its name in commands and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// What it is, in a few words.
    #[must_use]
    pub fn description(self) -> &'static str {
        self.0.description
    }

    /// Serves on a port of the kernel's choice, tells the parent the address, and ends with the parent.
    ///
    /// # Errors
    ///
    /// The server cannot start, or its accept path ended.
    pub fn serve(self, serving: &Serving) -> io::Result<()> {
        (self.0.serve)(serving)
    }
}

impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Peer {}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::all().find(|peer| peer.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::all().map(Self::name).collect();
            format!("no server of that name; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_is_found_by_its_name() {
        for peer in Peer::all() {
            assert_eq!(peer.name().parse(), Ok(peer));
        }
        assert!("nobody".parse::<Peer>().unwrap_err().contains("tokio-current"));
    }

    #[test]
    fn what_is_compared_speaks_the_same() {
        for protocol in Protocol::ALL {
            assert_eq!(protocol.baseline().protocol(), protocol);
            assert!(protocol.subjects().iter().all(|subject| subject.protocol() == protocol));
        }
    }
}
