//! What it costs that many are there: new connections, memory, start and end with 10, 1,000 and 15,000 open.
//!
//! Owns: the levels, the order, and the words.
//! Never: two servers under load at a time; a ratio of two rounds.

use crate::{in_turn, say};
use anteroom_load::{
    client::{ClosedLoop, Until},
    measure::{Machine, Usage},
    peer::Peer,
    process::ServerProcess,
    scale::{Idle, StartUp, drain, private_bytes, raise_descriptor_limit},
    stats::Spread,
};
use clap::Args;
use std::{
    io, thread,
    time::{Duration, Instant},
};

const LISTENERS: [usize; 3] = [1, 64, 512];

/// Connections before anything is measured.
const WARM_UP: u64 = 2_000;

/// From the last connection to rest.
const SETTLED: Duration = Duration::from_secs(2);

/// One measurement of it.
const REST: Duration = Duration::from_secs(1);

/// What else a client process has open.
const SPARE: usize = 200;

#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// The servers, one after the other (comma-separated); only those of the raw protocol.
    #[arg(long, value_delimiter = ',', default_values = ["tokio", "anteroom", "anteroom-sharded"])]
    servers: Vec<Peer>,
    /// How often each level is measured.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(3..))]
    rounds: u32,
    /// How long each measurement of a level takes, in seconds.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Open connections of each level (comma-separated); the others are compared with the first.
    #[arg(long, value_delimiter = ',', default_values = ["10", "1000", "15000"])]
    levels: Vec<usize>,
    /// New connections at a time.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// How often starts and drains are measured.
    #[arg(long, default_value_t = 5)]
    ends: u32,
}

impl Scale {
    fn slice(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::from_secs(1))
    }
}

pub(crate) fn run(scale: &Scale) -> io::Result<()> {
    let needed = scale.levels.iter().sum::<usize>() + scale.connections + SPARE;
    if raise_descriptor_limit()?.is_some_and(|limit| limit < needed as u64) {
        return Err(io::Error::other(format!("the clients need {needed} descriptors, raise the hard limit")));
    }
    say(&format!("{}; {} rounds of {:.1} s\n", Machine::here(), scale.rounds, scale.slice().as_secs_f64()))?;
    for peer in &scale.servers {
        say(&format!("\n{peer}: {}\n", peer.description()))?;
        levels(*peer, scale)?;
        if !peer.name().starts_with("tokio") {
            drains(*peer, scale)?;
        }
    }
    start_ups(scale)
}

/// A server with its idle clients.
struct Level {
    idle: Idle,
    server: ServerProcess,
    load: ClosedLoop,
    micros: Vec<f64>,
    resting: Vec<f64>,
}

impl Level {
    /// Without clients.
    fn start(peer: Peer, scale: &Scale) -> io::Result<Self> {
        let server = ServerProcess::start(["keep-serving", peer.name()])?;
        let (target, exchange) = (server.address(), peer.protocol().exchange());
        let load = ClosedLoop { target, exchange, connections: scale.connections };
        load.run(Until::Ended(WARM_UP))?;
        Ok(Self { idle: Idle::new(target), server, load, micros: Vec::new(), resting: Vec::new() })
    }

    /// New connections; the CPU time of the server for each.
    fn admit(&mut self, length: Duration) -> io::Result<()> {
        let before = Usage::of(self.server.pid())?;
        let run = self.load.run(Until::Elapsed(length))?;
        if let Some(error) = run.last_failure {
            return Err(error);
        }
        self.micros.push((Usage::of(self.server.pid())? - before).cpu_micros_per(run.answered));
        Ok(())
    }
}

fn levels(peer: Peer, scale: &Scale) -> io::Result<()> {
    let fewest = scale.levels.first().copied().unwrap_or(1);
    let mut all = Vec::new();
    for count in &scale.levels {
        let mut level = Level::start(peer, scale)?;
        level.idle.fill(fewest)?;
        let before = private_bytes(level.server.pid())?;
        let begun = Instant::now();
        level.idle.fill(*count)?;
        if *count > fewest {
            let grown = private_bytes(level.server.pid())?.saturating_sub(before);
            say(&format!(
                "  {count} open within {:.1} s; user memory for each: {:.0} bytes\n",
                begun.elapsed().as_secs_f64(),
                grown as f64 / (*count - fewest) as f64
            ))?;
        }
        all.push(level);
    }
    let order: Vec<usize> = (0..all.len()).collect();
    for round in 0..scale.rounds {
        for index in in_turn(&order, usize::try_from(round).unwrap_or(0)) {
            if let Some(level) = all.get_mut(index) {
                level.admit(scale.slice())?;
            }
        }
    }
    // What is looked after for a while once connections have come is over then.
    thread::sleep(SETTLED);
    for _ in 0..scale.ends {
        rest(&mut all)?;
    }
    let Some((first, others)) = all.split_first() else { return Ok(()) };
    tell(first, None)?;
    for level in others {
        tell(level, Some(first))?;
    }
    all.iter_mut().try_for_each(|level| match level.idle.answered() {
        answered if answered == level.idle.len() => Ok(()),
        answered => Err(io::Error::other(format!("{answered} of {} are still served", level.idle.len()))),
    })
}

/// Nobody comes: what each server spends on its ticks and on those who are there.
fn rest(all: &mut [Level]) -> io::Result<()> {
    let begun = Instant::now();
    let before = all.iter().map(|level| Usage::of(level.server.pid())).collect::<io::Result<Vec<_>>>()?;
    thread::sleep(REST);
    for (level, before) in all.iter_mut().zip(before) {
        let used = (Usage::of(level.server.pid())? - before).cpu;
        level.resting.push(used.as_secs_f64() * 1e6 / begun.elapsed().as_secs_f64());
    }
    Ok(())
}

fn tell(level: &Level, first: Option<&Level>) -> io::Result<()> {
    let spread =
        |values: &[f64]| Spread::of(values.iter().copied()).map_or("-".into(), |spread| spread.to_string());
    say(&format!(
        "  {:>6} open: server CPU {} µs per new connection, {} µs per second of rest",
        level.idle.len(),
        spread(&level.micros),
        spread(&level.resting),
    ))?;
    let ratio = |first: &Level| Some((first.idle.len(), Spread::of_ratios(&level.micros, &first.micros)?));
    if let Some((others, ratio)) = first.and_then(ratio) {
        let interval = ratio.interval.map_or_else(String::new, |interval| format!(" {interval:.2}"));
        say(&format!("; to {others}: {:.2}{interval}", ratio.median))?;
    }
    say("\n")
}

/// Everybody is cut.
fn drains(peer: Peer, scale: &Scale) -> io::Result<()> {
    for count in &scale.levels {
        let mut took = Vec::new();
        for _ in 0..scale.ends {
            let mut level = Level::start(peer, scale)?;
            level.idle.fill(*count)?;
            let drained = drain(&mut level.server)?;
            if drained.cut != *count as u64 || !drained.is_balanced {
                return Err(io::Error::other(format!("{count} were open: {drained:?}")));
            }
            took.push(drained.took.as_secs_f64() * 1e3);
        }
        let each: Vec<_> = took.iter().map(|millis| millis * 1e3 / *count as f64).collect();
        if let (Some(took), Some(each)) = (Spread::of(took), Spread::of(each)) {
            say(&format!("  drain that cuts {count}: {took:.2} ms, {each:.1} µs for each\n"))?;
        }
    }
    Ok(())
}

/// With nobody else on the machine, and with as many as the last level has: whether handshakes are under way is asked
/// of the kernel, which walks over the connections of all.
fn start_ups(scale: &Scale) -> io::Result<()> {
    let others = scale.levels.last().copied().unwrap_or(0);
    let mut elsewhere = Level::start(Peer::PLAIN, scale)?;
    for others in [0, others] {
        elsewhere.idle.fill(others)?;
        say(&format!("\nstart and end of a server without connections, ms; {others} open on the machine\n"))?;
        for listeners in LISTENERS {
            let all = (0..scale.ends).map(|_| StartUp::measure(listeners)).collect::<io::Result<Vec<_>>>()?;
            let spread = |read: fn(&StartUp) -> Duration| {
                Spread::of(all.iter().map(|one| read(one).as_secs_f64() * 1e3))
                    .map_or("-".into(), |spread| format!("{spread:.2}"))
            };
            say(&format!(
                "  {listeners:>4} listeners: bind {}, start {}, answer on the last one {}, drain {}\n",
                spread(|one| one.bind),
                spread(|one| one.start),
                spread(|one| one.answer),
                spread(|one| one.drain),
            ))?;
        }
    }
    Ok(())
}
