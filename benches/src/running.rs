//! One server that runs, and what is measured of it.
//!
//! Owns: what is read around each load.
//! Never: the order, or the sums.

use crate::{args::Load, round::Slice};
use anteroom_load::{
    client::{ClosedLoop, OpenLoop, Schedule, Until},
    measure::{Usage, busy_cores},
    peer::{Peer, Protection},
    process::ServerProcess,
};
use std::{
    io,
    time::{Duration, Instant},
};

/// Connections before anything is measured: threads have started, memory is there.
const WARM_UP: u64 = 2_000;

/// Connections at a time, and for how long, when a server's peak is looked for.
const PEAK: (usize, Duration) = (256, Duration::from_secs(1));

/// A server, and the rate of its open loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entrant {
    pub(crate) peer: Peer,
    pub(crate) rate: u32,
}

impl Entrant {
    /// With the rate that is asked for, or that share of the peak.
    pub(crate) fn new(peer: Peer, load: &Load) -> io::Result<Self> {
        let Some(share) = load.load else { return Ok(Self { peer, rate: load.rate }) };
        let mut running = Running::start(Self { peer, rate: load.rate }, load, &[])?;
        let (connections, length) = PEAK;
        running.closed.connections = connections;
        let peak = running.closed.run(Until::Elapsed(length))?.rate();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of thousands")]
        Ok(Self { peer, rate: (share * peak) as u32 })
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Running {
    peer: Peer,
    server: ServerProcess,
    closed: ClosedLoop,
    open: OpenLoop,
}

impl Running {
    /// With these protections switched.
    pub(crate) fn start(entrant: Entrant, load: &Load, switched: &[Protection]) -> io::Result<Self> {
        let Entrant { peer, rate } = entrant;
        let server = ServerProcess::start(load.serve(peer, switched))?;
        let (target, exchange) = (server.address(), peer.protocol().exchange());
        let closed = ClosedLoop { target, exchange: exchange.clone(), connections: load.connections };
        let open = OpenLoop { target, exchange, schedule: Schedule::new(rate, load.slice()) };
        closed.run(Until::Ended(WARM_UP))?;
        Ok(Self { peer, server, closed, open })
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// So many connections, all of which have to be answered.
    pub(crate) fn serve(&self, connections: u64) -> io::Result<()> {
        self.closed.run(Until::Ended(connections))?.all_answered()
    }

    /// Both loads, one after the other.
    pub(crate) fn slice(&mut self, load: &Load) -> io::Result<Slice> {
        let (begun, busy) = (Instant::now(), busy_cores()?);
        let (server_0, client_0) = (Usage::of(self.server.pid())?, Usage::of_this_thread()?);
        let closed = self.closed.run(Until::Elapsed(load.slice()))?;
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
