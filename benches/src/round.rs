//! One round: every server measured, slice by slice in turn.
//!
//! Owns: the order in a round, and the sums of the slices.
//! Never: two servers under load at a time. The others are there, and idle.

use crate::{
    args::Load,
    figures::Figures,
    in_turn,
    running::{Entrant, Running},
    say,
};
use anteroom_load::{
    client::{ClosedRun, Latencies, OpenRun},
    measure::Usage,
    peer::Peer,
};
use std::{fmt, io, time::Duration};

/// So many rounds, told as they end.
pub(crate) fn measure_all(peers: &[Peer], rounds: u16, load: &Load) -> io::Result<Figures> {
    let mut figures = Figures::new(peers);
    let entrants = peers.iter().map(|peer| Entrant::new(*peer, load)).collect::<io::Result<Vec<_>>>()?;
    for round in 0..rounds {
        for (peer, measured) in measure(&in_turn(&entrants, round.into()), load)? {
            say(&format!("round {} of {rounds}: {peer:18}  {measured}\n", round + 1))?;
            figures.add(peer, measured);
        }
    }
    Ok(figures)
}

/// Fresh processes, so that no server profits from an earlier round. Slices are short against what disturbs a
/// machine, so that a disturbance meets all servers alike.
fn measure(entrants: &[Entrant], load: &Load) -> io::Result<Vec<(Peer, Measured)>> {
    let mut all = Vec::new();
    for entrant in entrants {
        all.push((Running::start(*entrant, load, &[])?, Sums::new()?));
    }
    for slice in 0..load.slices {
        let order: Vec<usize> = (0..all.len()).collect();
        for index in in_turn(&order, usize::try_from(slice).unwrap_or(0)) {
            if let Some((running, sums)) = all.get_mut(index) {
                undisturbed(running, sums, load)?;
            }
        }
    }
    Ok(all.into_iter().map(|(running, sums)| (running.peer(), sums.measured())).collect())
}

/// Whether a slice was disturbed is decided by what else ran, never by its own figures.
fn undisturbed(running: &mut Running, sums: &mut Sums, load: &Load) -> io::Result<()> {
    let mut repeats = 0;
    loop {
        let slice = running.slice(load)?;
        if slice.others_on() <= load.others_below || repeats >= load.repeats {
            return sums.add(&slice);
        }
        repeats += 1;
        sums.repeats += 1;
    }
}

/// One slice of one server.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) closed: ClosedRun,
    pub(crate) closed_server: Usage,
    pub(crate) closed_client: Usage,
    pub(crate) open: OpenRun,
    pub(crate) open_server: Usage,
    /// Core time that went to neither server nor client, of `wall`.
    pub(crate) others: Duration,
    pub(crate) wall: Duration,
}

impl Slice {
    /// Cores, on average.
    fn others_on(&self) -> f64 {
        share(self.others, self.wall)
    }
}

#[derive(Debug)]
struct Sums {
    answered: [u64; 2],
    failed: u64,
    elapsed: [Duration; 2],
    server: [Usage; 2],
    client: Usage,
    latencies: Latencies,
    lag: Latencies,
    others: Duration,
    wall: Duration,
    repeats: u32,
}

impl Sums {
    fn new() -> io::Result<Self> {
        Ok(Self {
            answered: [0; 2],
            failed: 0,
            elapsed: [Duration::ZERO; 2],
            server: [Usage::default(); 2],
            client: Usage::default(),
            latencies: Latencies::new()?,
            lag: Latencies::new()?,
            others: Duration::ZERO,
            wall: Duration::ZERO,
            repeats: 0,
        })
    }

    fn add(&mut self, slice: &Slice) -> io::Result<()> {
        let [closed_answered, open_answered] = &mut self.answered;
        *closed_answered += slice.closed.answered;
        *open_answered += slice.open.answered;
        self.failed += slice.closed.failed + slice.open.failed;
        let [closed_elapsed, open_elapsed] = &mut self.elapsed;
        *closed_elapsed += slice.closed.elapsed;
        *open_elapsed += slice.open.elapsed;
        let [closed_server, open_server] = &mut self.server;
        *closed_server += slice.closed_server;
        *open_server += slice.open_server;
        self.client += slice.closed_client;
        self.latencies.absorb(&slice.open.latencies)?;
        self.lag.absorb(&slice.open.lag)?;
        self.others += slice.others;
        self.wall += slice.wall;
        Ok(())
    }

    fn measured(&self) -> Measured {
        let [closed_answered, open_answered] = self.answered;
        let [closed_elapsed, open_elapsed] = self.elapsed;
        let [closed_server, open_server] = self.server;
        Measured {
            closed: Closed {
                per_second: closed_answered as f64 / closed_elapsed.as_secs_f64(),
                server_micros: closed_server.cpu_micros_per(closed_answered),
                client_micros: self.client.cpu_micros_per(closed_answered),
                switches: closed_server.switches_per(closed_answered),
            },
            open: Open {
                per_second: open_answered as f64 / open_elapsed.as_secs_f64(),
                server_micros: open_server.cpu_micros_per(open_answered),
                switches: open_server.switches_per(open_answered),
                p50: self.latencies.percentile(50.0),
                p99: self.latencies.percentile(99.0),
                p999: self.latencies.percentile(99.9),
                lag_p99: self.lag.percentile(99.0),
            },
            failed: self.failed,
            others: share(self.others, self.wall),
            repeats: self.repeats,
        }
    }
}

fn share(part: Duration, whole: Duration) -> f64 {
    part.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// What one round says of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) closed: Closed,
    pub(crate) open: Open,
    /// Connections without an answer.
    pub(crate) failed: u64,
    /// Cores that were busy with neither the server nor the client, on average.
    pub(crate) others: f64,
    /// How many slices were disturbed and taken again.
    pub(crate) repeats: u32,
}

/// As many connections as client and server manage together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) per_second: f64,
    pub(crate) server_micros: f64,
    pub(crate) client_micros: f64,
    pub(crate) switches: f64,
}

/// At the fixed rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) per_second: f64,
    pub(crate) server_micros: f64,
    pub(crate) switches: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) p999: Duration,
    pub(crate) lag_p99: Duration,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "closed {:>6.0}/s, {:>5.1} µs CPU · open {:>5.1} µs CPU, p50 {:>4} p99 {:>5} p99.9 {:>5} µs · others on {:.2} cores, {} repeated",
            self.closed.per_second,
            self.closed.server_micros,
            self.open.server_micros,
            self.open.p50.as_micros(),
            self.open.p99.as_micros(),
            self.open.p999.as_micros(),
            self.others,
            self.repeats,
        )?;
        if self.failed > 0 { write!(f, ", {} failed", self.failed) } else { Ok(()) }
    }
}
