//! What a connection takes of a server that no disturbance changes: system calls and user instructions.
//!
//! Owns: how many connections are counted, and the difference of two runs.
//! Never: time.

use crate::{
    args::Load,
    running::{Entrant, Running},
};
use anteroom_load::{
    client::{ClosedLoop, Until},
    measure::{Instructions, Syscalls, count_instructions, count_syscalls},
    peer::{Peer, Protection},
};
use std::{fmt::Write, io};

/// Connections of a traced server.
const TRACED: u64 = 2_000;

/// How often everything is counted. The middle one is taken: how often a server sleeps depends on what else runs.
const TIMES: usize = 3;

/// Connections of the two runs whose instructions are subtracted, so that start and end are not counted.
const RUNS: [u64; 2] = [3_200, 16_000];

/// What the stall watch's and the metrics' threads run, as often in a second whoever comes.
const LOOKOUTS: [&str; 2] = ["stall::pulse::Pulse::run", "observe::watch::Watch::run"];

/// The calls of the most frequent that are shown.
const CALLS_SHOWN: usize = 8;

/// Per connection; `None` where the tool that counts is not there, or may not look.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    syscalls: Option<Syscalls>,
    instructions: Option<PerConnection>,
}

/// Instructions per connection.
#[derive(Clone, Copy, Debug)]
struct PerConnection {
    serving: f64,
    looking: f64,
}

impl Counted {
    /// Of a server with these protections switched.
    pub(crate) fn of(peer: Peer, switched: &[Protection], load: &Load) -> io::Result<Self> {
        let syscalls = syscalls(peer, switched, load)?;
        Ok(Self { syscalls, instructions: instructions(peer, switched, load)? })
    }

    /// System calls alone, which are counted sooner.
    pub(crate) fn syscalls_of(peer: Peer, load: &Load) -> io::Result<Self> {
        Ok(Self { syscalls: syscalls(peer, &[], load)?, instructions: None })
    }

    /// Instructions of threads that serve.
    pub(crate) fn serving(&self) -> Option<f64> {
        self.instructions.map(|instructions| instructions.serving)
    }

    /// Instructions of threads that look in intervals.
    pub(crate) fn looking(&self) -> Option<f64> {
        self.instructions.map(|instructions| instructions.looking)
    }

    /// All system calls.
    pub(crate) fn syscalls(&self) -> Option<f64> {
        self.syscalls.as_ref().map(|syscalls| per_traced(syscalls.total()))
    }

    /// The most frequent, in words.
    pub(crate) fn most_frequent(&self) -> String {
        let mut text = String::new();
        let calls = self.syscalls.as_ref().map(Syscalls::by_count).unwrap_or_default();
        for (place, (name, count)) in calls.into_iter().take(CALLS_SHOWN).enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            // Writing to a string does not fail.
            let _ = write!(text, "{comma}{name} {:.2}", per_traced(count));
        }
        text
    }
}

fn syscalls(peer: Peer, switched: &[Protection], load: &Load) -> io::Result<Option<Syscalls>> {
    let mut traces = Vec::new();
    for _ in 0..TIMES {
        let running = Running::start(Entrant::at_rate(peer, load), load, switched)?;
        let Some(syscalls) = count_syscalls(running.pid(), || running.serve(TRACED))? else {
            return Ok(None);
        };
        traces.push(syscalls);
    }
    traces.sort_by_key(Syscalls::total);
    Ok(traces.into_iter().nth(TIMES / 2))
}

fn instructions(peer: Peer, switched: &[Protection], load: &Load) -> io::Result<Option<PerConnection>> {
    let serve = load.serve(peer, switched);
    let count = |connections: u64| {
        count_instructions(&serve, &LOOKOUTS, |target| {
            let exchange = peer.protocol().exchange();
            let load = ClosedLoop { target, exchange, connections: load.connections };
            load.run(Until::Ended(connections))?.all_answered()
        })
    };
    let [few, many] = RUNS;
    let mut counted = Vec::new();
    for _ in 0..TIMES {
        let (Some(less), Some(more)) = (count(few)?, count(many)?) else { return Ok(None) };
        let difference =
            |of: fn(Instructions) -> u64| of(more).saturating_sub(of(less)) as f64 / (many - few) as f64;
        counted.push(PerConnection {
            serving: difference(|of| of.serving),
            looking: difference(|of| of.looking),
        });
    }
    counted.sort_by(|one, other| one.serving.total_cmp(&other.serving));
    Ok(counted.into_iter().nth(TIMES / 2))
}

fn per_traced(calls: u64) -> f64 {
    calls as f64 / TRACED as f64
}
