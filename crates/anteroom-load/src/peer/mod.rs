//! The servers that are compared, all with the same handler for each protocol.
//!
//! Owns: each server's accept path and nothing else, so that what differs is the accept path.
//! Never: settings that favour one: default backlog, default options, the runtime's default workers.

mod http;
mod raw;

use crate::client::Exchange;
use anteroom::{AcceptOn, Config};
use std::{fmt, io, str::FromStr};

/// A server to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// The plain loop over `tokio::net::TcpListener` that everybody writes, on the multi-thread runtime.
    Tokio,
    /// The same on the current-thread runtime.
    TokioCurrent,
    /// [`anteroom::Server`] with its defaults.
    Anteroom,
    /// The plain loop with [`anteroom::Incoming`] in the listener's place.
    AnteroomIncoming,
    /// [`anteroom::Server`] that accepts in a task of the runtime instead of on a thread of its own.
    AnteroomTask,
    /// [`anteroom::Server`] without its stall watch: what that costs.
    AnteroomUnwatched,
    /// `axum::serve` on a plain `tokio::net::TcpListener`.
    Axum,
    /// `axum::serve` on [`anteroom_http::bind`]: the drop-in.
    AnteroomAxum,
    /// [`anteroom::Server`] with [`anteroom_http::Http`].
    AnteroomHttp,
}

/// What a server and its clients speak. Only servers with the same one are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// One byte there, the same byte back.
    Raw,
    /// One HTTP/1.1 request, a small answer.
    Http,
}

impl Protocol {
    /// What a client says.
    #[must_use]
    pub fn exchange(self) -> Exchange {
        match self {
            Self::Raw => Exchange::one_byte(),
            Self::Http => Exchange::http_get(),
        }
    }

    /// The server that the others of this protocol are measured against.
    #[must_use]
    pub fn baseline(self) -> Peer {
        match self {
            Self::Raw => Peer::Tokio,
            Self::Http => Peer::Axum,
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
    pub const ALL: &[Self] = &[
        Self::Tokio,
        Self::TokioCurrent,
        Self::Anteroom,
        Self::AnteroomIncoming,
        Self::AnteroomTask,
        Self::AnteroomUnwatched,
        Self::Axum,
        Self::AnteroomAxum,
        Self::AnteroomHttp,
    ];

    /// What it speaks.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Tokio
            | Self::TokioCurrent
            | Self::Anteroom
            | Self::AnteroomIncoming
            | Self::AnteroomTask
            | Self::AnteroomUnwatched => Protocol::Raw,
            Self::Axum | Self::AnteroomAxum | Self::AnteroomHttp => Protocol::Http,
        }
    }

    /// Its name in commands and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::TokioCurrent => "tokio-current",
            Self::Anteroom => "anteroom",
            Self::AnteroomIncoming => "anteroom-incoming",
            Self::AnteroomTask => "anteroom-task",
            Self::AnteroomUnwatched => "anteroom-unwatched",
            Self::Axum => "axum",
            Self::AnteroomAxum => "anteroom-axum",
            Self::AnteroomHttp => "anteroom-http",
        }
    }

    /// What it is, in a few words.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Tokio => "plain `tokio::net::TcpListener` loop, multi-thread runtime",
            Self::TokioCurrent => "the same loop, current-thread runtime",
            Self::Anteroom => "`anteroom::Server`, all defaults, multi-thread runtime",
            Self::AnteroomIncoming => "the plain loop over `anteroom::Incoming`, all defaults",
            Self::AnteroomTask => "`anteroom::Server` that accepts in a task of the runtime",
            Self::AnteroomUnwatched => "`anteroom::Server` without its stall watch",
            Self::Axum => "`axum::serve` on a plain `tokio::net::TcpListener`",
            Self::AnteroomAxum => "`axum::serve` on `anteroom_http::bind`, the drop-in",
            Self::AnteroomHttp => {
                "`anteroom::Server` with `anteroom_http::Http` and the same router: deadlines, HTTP/2, draining"
            }
        }
    }

    /// Serves on a port of the kernel's choice, tells the parent the address, and ends with the parent.
    ///
    /// # Errors
    ///
    /// The server cannot start, or its accept path ended.
    pub fn serve(self) -> io::Result<()> {
        match self {
            Self::Tokio => raw::tokio_loop(&multi_thread()?),
            Self::TokioCurrent => raw::tokio_loop(&current_thread()?),
            Self::Anteroom => raw::anteroom_server(&multi_thread()?, Config::default()),
            Self::AnteroomIncoming => raw::anteroom_incoming(&multi_thread()?),
            Self::AnteroomTask => {
                let mut config = Config::default();
                config.accept_on = AcceptOn::Task;
                raw::anteroom_server(&multi_thread()?, config)
            }
            Self::AnteroomUnwatched => {
                let mut config = Config::default();
                config.stall_watch = None;
                raw::anteroom_server(&multi_thread()?, config)
            }
            Self::Axum => http::axum_plain(&multi_thread()?),
            Self::AnteroomAxum => http::anteroom_axum(&multi_thread()?),
            Self::AnteroomHttp => http::anteroom_http(&multi_thread()?),
        }
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
        Self::ALL.iter().copied().find(|peer| peer.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|peer| peer.name()).collect();
            format!("no server of that name; there are {}", names.join(", "))
        })
    }
}

fn multi_thread() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Anteroom's addresses can be other than TCP.
fn tcp(address: &anteroom::Address) -> io::Result<std::net::SocketAddr> {
    address.tcp().ok_or_else(|| io::Error::other("not a TCP address"))
}

fn current_thread() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_is_found_by_its_name() {
        for peer in Peer::ALL {
            assert_eq!(peer.name().parse(), Ok(*peer));
        }
        assert!("nobody".parse::<Peer>().unwrap_err().contains("tokio-current"));
    }

    #[test]
    fn a_baseline_speaks_what_it_is_compared_in() {
        for protocol in [Protocol::Raw, Protocol::Http] {
            assert_eq!(protocol.baseline().protocol(), protocol);
        }
    }
}
