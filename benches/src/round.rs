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
    let mut figures = Figures::new(peers)?;
    let entrants = Entrant::all(peers, load)?;
    for round in 0..rounds {
        for (peer, measured) in measure(&in_turn(&entrants, round.into()), load)? {
            say(&format!("round {} of {rounds}: {peer:18}  {measured}\n", round + 1))?;
            figures.add(peer, measured)?;
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
    /// At the rate that is the same for all.
    pub(crate) open: (OpenRun, Usage),
    /// At a share of its own peak.
    pub(crate) loaded: Option<(OpenRun, Usage)>,
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
    answered: u64,
    failed: u64,
    elapsed: Duration,
    server: Usage,
    client: Usage,
    open: OpenSums,
    loaded: OpenSums,
    others: Duration,
    wall: Duration,
    repeats: u32,
}

/// Of one open loop.
#[derive(Debug)]
struct OpenSums {
    answered: u64,
    failed: u64,
    elapsed: Duration,
    server: Usage,
    latencies: Latencies,
    lag: Latencies,
}

impl OpenSums {
    fn new() -> io::Result<Self> {
        Ok(Self {
            answered: 0,
            failed: 0,
            elapsed: Duration::ZERO,
            server: Usage::default(),
            latencies: Latencies::new()?,
            lag: Latencies::new()?,
        })
    }

    fn add(&mut self, (run, server): &(OpenRun, Usage)) -> io::Result<()> {
        self.answered += run.answered;
        self.failed += run.failed;
        self.elapsed += run.elapsed;
        self.server += *server;
        self.latencies.absorb(&run.latencies)?;
        self.lag.absorb(&run.lag)
    }

    /// `None` where nobody came.
    fn measured(self) -> Option<Open> {
        (self.answered > 0).then(|| Open {
            per_second: self.answered as f64 / self.elapsed.as_secs_f64(),
            server_micros: self.server.cpu_micros_per(self.answered),
            switches: self.server.switches_per(self.answered),
            lag_p99: self.lag.percentile(99.0),
            latencies: self.latencies,
        })
    }
}

impl Sums {
    fn new() -> io::Result<Self> {
        Ok(Self {
            answered: 0,
            failed: 0,
            elapsed: Duration::ZERO,
            server: Usage::default(),
            client: Usage::default(),
            open: OpenSums::new()?,
            loaded: OpenSums::new()?,
            others: Duration::ZERO,
            wall: Duration::ZERO,
            repeats: 0,
        })
    }

    fn add(&mut self, slice: &Slice) -> io::Result<()> {
        self.answered += slice.closed.answered;
        self.failed += slice.closed.failed;
        self.elapsed += slice.closed.elapsed;
        self.server += slice.closed_server;
        self.client += slice.closed_client;
        self.open.add(&slice.open)?;
        if let Some(loaded) = &slice.loaded {
            self.loaded.add(loaded)?;
        }
        self.others += slice.others;
        self.wall += slice.wall;
        Ok(())
    }

    fn measured(self) -> Measured {
        Measured {
            closed: Closed {
                per_second: self.answered as f64 / self.elapsed.as_secs_f64(),
                server_micros: self.server.cpu_micros_per(self.answered),
                client_micros: self.client.cpu_micros_per(self.answered),
                switches: self.server.switches_per(self.answered),
            },
            failed: self.failed + self.open.failed + self.loaded.failed,
            open: self.open.measured(),
            loaded: self.loaded.measured(),
            others: share(self.others, self.wall),
            repeats: self.repeats,
        }
    }
}

fn share(part: Duration, whole: Duration) -> f64 {
    part.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// What one round says of one server.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) closed: Closed,
    pub(crate) open: Option<Open>,
    pub(crate) loaded: Option<Open>,
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

/// At a fixed rate.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) per_second: f64,
    pub(crate) server_micros: f64,
    pub(crate) switches: f64,
    pub(crate) latencies: Latencies,
    pub(crate) lag_p99: Duration,
}

impl Open {
    /// The latency under which `percent` lie, in µs.
    pub(crate) fn micros(&self, percent: f64) -> f64 {
        self.latencies.percentile(percent).as_secs_f64() * 1e6
    }
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|percent| self.micros(percent));
        write!(
            f,
            "{:>6.0}/s {:>5.1} µs CPU, p50 {p50:>4.0} p99 {p99:>5.0} p99.9 {p999:>5.0} µs",
            self.per_second, self.server_micros
        )
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "closed {:>6.0}/s {:>5.1} µs CPU", self.closed.per_second, self.closed.server_micros)?;
        for open in self.open.iter().chain(&self.loaded) {
            write!(f, " · {open}")?;
        }
        write!(f, " · others on {:.2} cores, {} repeated", self.others, self.repeats)?;
        if self.failed > 0 { write!(f, ", {} failed", self.failed) } else { Ok(()) }
    }
}
