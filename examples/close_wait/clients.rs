//! The clients of all servers.
//!
//! Owns: blocking the workers, the crowd that gives up, and the two living clients of each server.
//! Never: reads a server's figures, except to know that its workers are blocked.

use crate::{
    calls::{Counts, monotonic_nanos},
    outcome::Live,
    plan::{ARRIVALS, Kind, PATIENCE, WORKERS},
    servers::{Report, Speaks},
};
use anteroom_load::{
    client::{Crowd, CrowdTally, Exchange, Leaver, Schedule, ask, connect_from},
    process::ServerProcess,
};
use std::{
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that happens at once on a machine that is not broken.
const BOUND: Duration = Duration::from_secs(10);

/// A server as its clients know it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    address: SocketAddr,
    request: Arc<[u8]>,
}

impl Target {
    pub(crate) fn new(address: SocketAddr, speaks: Speaks) -> Self {
        let exchange = match speaks {
            Speaks::Raw => Exchange::one_byte(),
            Speaks::Http => Exchange::http_get(),
        };
        Self { address, request: Arc::from(exchange.request()) }
    }
}

/// Blocks all workers of a server; the connections of the blocking requests, to be kept.
pub(crate) fn block(process: &mut ServerProcess, target: &Target) -> io::Result<Vec<TcpStream>> {
    let mut blockers = Vec::new();
    for _ in 0..WORKERS {
        blockers.push(connect_from(Kind::Blocker.source(), target.address, BOUND)?);
    }
    let all = blockers.len() as u64;
    // All are with their handlers before one of them blocks the worker that would bring the others.
    until(process, |counts| counts.present_of(Kind::Blocker) == all)?;
    for blocker in &mut blockers {
        blocker.write_all(&target.request)?;
    }
    until(process, |counts| counts.blocked == all && counts.stall_began > 0)?;
    Ok(blockers)
}

fn until(process: &mut ServerProcess, reached: impl Fn(Counts) -> bool) -> io::Result<()> {
    let end = Instant::now() + BOUND;
    while Instant::now() < end {
        if reached(Report::from_line(&process.ask("kick")?)?.counts) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the workers of a server could not be blocked"))
}

/// When the crowd came and went, in ns of the machine's monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CrowdTimes {
    pub(crate) first_arrival: u64,
    pub(crate) last_arrival: u64,
    pub(crate) last_departure: u64,
}

/// Sends every server `clients` that give up, the kinds in turn, and writes down what became of them.
pub(crate) fn give_up(
    targets: &[Target],
    clients: u32,
    tallies: &Mutex<Vec<CrowdTally>>,
) -> io::Result<CrowdTimes> {
    let per_second = f64::from(clients) / ARRIVALS.as_secs_f64();
    // A rate is whole; the schedule is as long as it takes for all.
    let rate = clients.saturating_mul(1_000) / u32::try_from(ARRIVALS.as_millis()).unwrap_or(u32::MAX).max(1);
    let schedule = Schedule::new(rate, Duration::from_secs_f64(f64::from(clients) / per_second));
    let mut crowds: Vec<_> = targets.iter().map(|_| Crowd::new()).collect();
    let mut times = CrowdTimes { first_arrival: monotonic_nanos(), ..CrowdTimes::default() };
    let begun = Instant::now();
    let mut arrived = 0;
    loop {
        while arrived < schedule.due(begun.elapsed()) {
            arrive(arrived, targets, &mut crowds)?;
            arrived += 1;
            times.last_arrival = monotonic_nanos();
        }
        let now = Instant::now();
        crowds.iter_mut().for_each(|crowd| crowd.leave_due(now));
        *tallies.lock().unwrap_or_else(PoisonError::into_inner) = crowds.iter().map(Crowd::tally).collect();
        let next_arrival = (arrived < schedule.count()).then(|| begun + schedule.intended(arrived));
        let next_departure = crowds.iter().filter_map(Crowd::next_departure).min();
        let Some(next) = next_arrival.into_iter().chain(next_departure).min() else { break };
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    times.last_departure = monotonic_nanos();
    Ok(times)
}

fn arrive(number: u64, targets: &[Target], crowds: &mut [Crowd]) -> io::Result<()> {
    let kinds = Kind::LEAVE.len() as u64;
    let kind = usize::try_from(number % kinds).ok().and_then(|index| Kind::LEAVE.get(index));
    let Some((kind, leaving)) = kind.and_then(|kind| Some((kind, kind.leaving()?))) else { return Ok(()) };
    for (target, crowd) in targets.iter().zip(crowds) {
        crowd.arrive(Leaver {
            target: target.address,
            source: Some(kind.source()),
            request: target.request.clone(),
            leaving,
            patience: PATIENCE,
        })?;
    }
    Ok(())
}

/// Asks at the moment `when`, in ns of the monotonic clock.
pub(crate) fn live(target: &Target, when: u64) -> Live {
    thread::sleep(Duration::from_nanos(when.saturating_sub(monotonic_nanos())));
    let asked = monotonic_nanos();
    match ask(Kind::Live.source(), target.address, &target.request, BOUND) {
        Ok(()) => Live::Answered { asked, answered: monotonic_nanos() },
        Err(_) => Live::Failed,
    }
}
