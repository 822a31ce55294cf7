//! One server that runs, and what is measured of it.
//!
//! Owns: what is read around each load.
//! Never: the order, or the sums.

use crate::{args::Bench, round::Slice};
use anteroom_load::{
    client::{ClosedLoop, OpenLoop, Schedule, Until},
    measure::{Syscalls, Usage, busy_cores, count_syscalls},
    peer::Peer,
    process::ServerProcess,
};
use std::{io, time::Instant};

/// Connections before anything is measured: threads have started, memory is there.
const WARM_UP: u64 = 2_000;

/// Connections of a traced server.
const TRACED: u64 = 2_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Running {
    peer: Peer,
    server: ServerProcess,
    closed: ClosedLoop,
    open: OpenLoop,
}

impl Running {
    pub(crate) fn start(peer: Peer, bench: &Bench) -> io::Result<Self> {
        let server = ServerProcess::start(["serve", peer.name()])?;
        let (target, exchange) = (server.address(), peer.protocol().exchange());
        let closed = ClosedLoop { target, exchange: exchange.clone(), connections: bench.connections };
        let open = OpenLoop { target, exchange, schedule: Schedule::new(bench.rate, bench.slice()) };
        closed.run(Until::Ended(WARM_UP))?;
        Ok(Self { peer, server, closed, open })
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// Both loads, one after the other.
    pub(crate) fn slice(&mut self, bench: &Bench) -> io::Result<Slice> {
        let (begun, busy) = (Instant::now(), busy_cores()?);
        let (server_0, client_0) = (Usage::of(self.server.pid())?, Usage::of_this_thread()?);
        let closed = self.closed.run(Until::Elapsed(bench.slice()))?;
        let (server_1, client_1) = (Usage::of(self.server.pid())?, Usage::of_this_thread()?);
        let open = self.open.run()?;
        let (server_2, client_2) = (Usage::of(self.server.pid())?, Usage::of_this_thread()?);
        let ours = (server_2 - server_0).cpu + (client_2 - client_0).cpu;
        Ok(Slice {
            closed,
            closed_server: server_1 - server_0,
            closed_client: client_1 - client_0,
            open,
            open_server: server_2 - server_1,
            others: busy_cores()?.saturating_sub(busy).saturating_sub(ours),
            wall: begun.elapsed(),
        })
    }
}

/// The system calls of `TRACED` connections. `Ok(None)`: they cannot be counted here.
pub(crate) fn syscalls(peer: Peer, bench: &Bench) -> io::Result<Option<Syscalls>> {
    let running = Running::start(peer, bench)?;
    count_syscalls(running.server.pid(), || running.closed.run(Until::Ended(TRACED)).map(drop))
}

/// Per connection, with two digits.
pub(crate) fn per_traced(calls: u64) -> String {
    format!("{:.2}", calls as f64 / TRACED as f64)
}
