//! One server that runs, and what is measured of it.
//!
//! Owns: what is read around each load.
//! Never: the order, or the sums.

use crate::{args::Load, in_turn, round::Slice};
use anteroom_load::{
    client::{ClosedLoop, OpenLoop, Schedule, Until},
    measure::{Usage, busy_cores},
    peer::{Peer, Protection},
    process::ServerProcess,
    stats::Spread,
};
use std::{
    io,
    time::{Duration, Instant},
};

/// Connections before anything is measured: threads have started, memory is there.
const WARM_UP: u64 = 2_000;

/// Connections at a time, for how long, and how often, when a server's peak is looked for.
const PEAK: (usize, Duration, usize) = (256, Duration::from_millis(300), 5);

/// A server, and the rates of its open loops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entrant {
    pub(crate) peer: Peer,
    pub(crate) rate: u32,
    /// A share of its own peak, if that is asked for.
    pub(crate) loaded: Option<u32>,
}

impl Entrant {
    pub(crate) fn at_rate(peer: Peer, load: &Load) -> Self {
        Self { peer, rate: load.rate, loaded: None }
    }

    /// All of them, each with the share of its own peak that is asked for: the median of several peaks, for which the
    /// servers take turns.
    pub(crate) fn all(peers: &[Peer], load: &Load) -> io::Result<Vec<Self>> {
        let mut entrants: Vec<_> = peers.iter().map(|peer| Self::at_rate(*peer, load)).collect();
        if load.load <= 0.0 {
            return Ok(entrants);
        }
        let (connections, length, times) = PEAK;
        let mut running = Vec::new();
        for entrant in &entrants {
            let mut one = Running::start(*entrant, load, &[])?;
            one.closed.connections = connections;
            running.push((one, Vec::new()));
        }
        let order: Vec<_> = (0..running.len()).collect();
        for turn in 0..times {
            for index in in_turn(&order, turn) {
                if let Some((one, peaks)) = running.get_mut(index) {
                    peaks.push(one.closed.run(Until::Elapsed(length))?.rate());
                }
            }
        }
        for (entrant, (_, peaks)) in entrants.iter_mut().zip(running) {
            let peak = Spread::of(peaks).map_or(0.0, |peaks| peaks.median);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate of thousands"
            )]
            let rate = (load.load * peak) as u32;
            entrant.loaded = Some(rate);
        }
        Ok(entrants)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Running {
    peer: Peer,
    server: ServerProcess,
    closed: ClosedLoop,
    open: OpenLoop,
    loaded: Option<OpenLoop>,
}

impl Running {
    /// With these protections switched.
    pub(crate) fn start(entrant: Entrant, load: &Load, switched: &[Protection]) -> io::Result<Self> {
        let Entrant { peer, rate, loaded } = entrant;
        let server = ServerProcess::start(load.serve(peer, switched))?;
        let (target, exchange) = (server.address(), peer.protocol().exchange());
        let closed = ClosedLoop { target, exchange: exchange.clone(), connections: load.connections };
        let open = |rate| {
            let schedule = Schedule::new(rate, load.slice());
            OpenLoop { target, exchange: exchange.clone(), schedule }
        };
        closed.run(Until::Ended(WARM_UP))?;
        Ok(Self { peer, server, closed, open: open(rate), loaded: loaded.map(open) })
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

    /// All loads, one after the other.
    pub(crate) fn slice(&mut self, load: &Load) -> io::Result<Slice> {
        let (begun, busy) = (Instant::now(), busy_cores()?);
        let (server_0, client_0) = self.usage()?;
        let closed = self.closed.run(Until::Elapsed(load.slice()))?;
        let (server_1, client_1) = self.usage()?;
        let open = self.open.run()?;
        let (server_2, _) = self.usage()?;
        let loaded = self.loaded.as_ref().map(OpenLoop::run).transpose()?;
        let (server_3, client_3) = self.usage()?;
        let ours = (server_3 - server_0).cpu + (client_3 - client_0).cpu;
        Ok(Slice {
            closed,
            closed_server: server_1 - server_0,
            closed_client: client_1 - client_0,
            open: (open, server_2 - server_1),
            loaded: loaded.map(|loaded| (loaded, server_3 - server_2)),
            others: busy_cores()?.saturating_sub(busy).saturating_sub(ours),
            wall: begun.elapsed(),
        })
    }

    /// Of the server, and of its clients.
    fn usage(&self) -> io::Result<(Usage, Usage)> {
        Ok((Usage::of(self.server.pid())?, Usage::of_this_thread()?))
    }
}
