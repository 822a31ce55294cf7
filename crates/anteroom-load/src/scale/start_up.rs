//! How long a server of many listeners takes to begin, and to end.
//!
//! Owns: a server in this process, for as long as that takes.
//! Never: a connection but the one that shows that the last listener is served.

use super::server::tcp;
use crate::client::ask;
use anteroom::{Connection, Listener, Server, service_fn};
use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};
use tokio::{io::AsyncWriteExt, runtime::Builder};

const BOUND: Duration = Duration::from_secs(30);

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct StartUp {
    /// Binding every listener.
    pub bind: Duration,
    /// `start()`.
    pub start: Duration,
    /// From there to the answer on the last listener.
    pub answer: Duration,
    /// A drain with nobody open, from the call to the report.
    pub drain: Duration,
}

impl StartUp {
    /// Starts and drains a server of so many listeners, each on a port of its own.
    ///
    /// # Errors
    ///
    /// Ports or descriptors are missing, or it does not answer.
    pub fn measure(listeners: usize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        let _inside = runtime.enter();
        let begun = Instant::now();
        let bound: Vec<_> =
            (0..listeners).map(|_| Listener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let bind = begun.elapsed();
        let last = bound.last().ok_or_else(|| io::Error::other("no listener"))?;
        let last = tcp(last.local_addr())?;
        let service = service_fn(async |mut connection: Connection| connection.write_all(b"x").await);
        let builder = Server::builder().serve(bound, service);
        let begun = Instant::now();
        let server = builder.start()?;
        let start = begun.elapsed();
        ask(IpAddr::V4(Ipv4Addr::LOCALHOST), last, b"x", BOUND)?;
        let answer = begun.elapsed() - start;
        let begun = Instant::now();
        runtime.block_on(server.handle().drain(BOUND))?;
        Ok(Self { bind, start, answer, drain: begun.elapsed() })
    }
}
