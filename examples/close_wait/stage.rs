//! The play: all servers at the same time, the same clients for each.
//!
//! Owns: the order of events, the looking, and the end.
//! Never: judges.

use crate::{
    clients::{self, CrowdTimes, Target},
    outcome::{Live, Outcome},
    plan::{self, ASKS_BEFORE_END, PATIENCE, STALL, WORKERS},
    screen::Screen,
    servers::{Guards, Report, Server},
    verdict::Verdict,
};
use anteroom_load::{client::CrowdTally, measure::TcpTable, process::ServerProcess};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    io::{self, Write},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// How long after the stall the last answers and calls may come.
const AFTERMATH: Duration = Duration::from_secs(12);

/// How long nothing may have changed before it counts as over.
const QUIET: Duration = Duration::from_millis(500);

struct Actor {
    process: ServerProcess,
    target: Target,
    outcome: Outcome,
}

/// Plays it, and shows it.
pub(crate) fn play() -> io::Result<Verdict> {
    allow_descriptors()?;
    let mut actors = Vec::new();
    for server in Server::ALL {
        let process = ServerProcess::start(["serve", server.name()])?;
        let target = Target::new(process.address(), server.speaks());
        actors.push(Actor { process, target, outcome: Outcome::new(*server) });
    }
    look(&mut actors)?;
    let plain = actors.iter().filter(|actor| actor.outcome.server.guards() == Guards::Nothing);
    let longest = plain.filter_map(|actor| actor.outcome.queue.limit).max().unwrap_or(0);
    let clients = plan::clients(u32::try_from(longest).unwrap_or(u32::MAX));
    announce(clients)?;
    let mut blockers = Vec::new();
    for actor in &mut actors {
        blockers.push(clients::block(&mut actor.process, &actor.target)?);
    }
    let crowd = act(&mut actors, clients)?;
    let outcomes: Vec<_> = actors.iter().map(|actor| actor.outcome).collect();
    let verdict = Verdict::of(&outcomes, crowd);
    writeln!(io::stdout(), "\n{verdict}")?;
    Ok(verdict)
}

fn announce(clients: u32) -> io::Result<()> {
    writeln!(
        io::stdout(),
        "All {WORKERS} workers of each server are blocked by handlers for {STALL:?}. Meanwhile {clients} clients connect to\n\
         each, wait {PATIENCE:?} and give up: a third closes without a byte, a third resets, a third has sent a request\n\
         and closes. Then the block ends, and living clients ask.\n"
    )
}

/// From the first client to the last call.
fn act(actors: &mut [Actor], clients: u32) -> io::Result<CrowdTimes> {
    let targets: Vec<_> = actors.iter().map(|actor| actor.target.clone()).collect();
    look(actors)?;
    let stall = u64::try_from(STALL.as_nanos()).unwrap_or(u64::MAX);
    let ends: Vec<_> = actors.iter().map(|actor| actor.outcome.counts.stall_began + stall).collect();
    let before = u64::try_from(ASKS_BEFORE_END.as_nanos()).unwrap_or(u64::MAX);
    let tallies = Mutex::new(vec![CrowdTally::default(); actors.len()]);
    let lives = Mutex::new(vec![(Live::Asks, Live::Asks); actors.len()]);
    thread::scope(|scope| {
        let crowd = scope.spawn(|| clients::give_up(&targets, clients, &tallies));
        for (index, (target, end)) in targets.iter().zip(ends).enumerate() {
            let lives = &lives;
            scope.spawn(move || {
                let answered = clients::live(target, end.saturating_sub(before));
                with(lives, index, |(waited, _)| *waited = answered);
            });
            scope.spawn(move || {
                let answered = clients::live(target, end);
                with(lives, index, |(_, came_after)| *came_after = answered);
            });
        }
        watch(actors, &tallies, &lives)?;
        crowd.join().map_err(|_| io::Error::other("the crowd panicked"))?
    })
}

/// Looks and shows until nothing happens any more.
fn watch(
    actors: &mut [Actor],
    tallies: &Mutex<Vec<CrowdTally>>,
    lives: &Mutex<Vec<(Live, Live)>>,
) -> io::Result<()> {
    let begun = Instant::now();
    let mut screen = Screen::new(actors.len());
    let mut changed = (Instant::now(), Vec::new());
    loop {
        look(actors)?;
        let tallies = tallies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lives = lives.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for ((actor, tally), (waited, came_after)) in actors.iter_mut().zip(tallies).zip(lives) {
            actor.outcome.tally = tally;
            (actor.outcome.waited, actor.outcome.came_after) = (waited, came_after);
        }
        let outcomes: Vec<_> = actors.iter().map(|actor| actor.outcome).collect();
        let now = moment(begun.elapsed(), &outcomes);
        let counts: Vec<_> = outcomes.iter().map(|outcome| outcome.counts).collect();
        if changed.1 != counts {
            changed = (Instant::now(), counts);
        }
        let settled = outcomes.iter().all(Outcome::is_settled) && changed.0.elapsed() > QUIET;
        if settled || begun.elapsed() > STALL + AFTERMATH {
            return screen.close(&now, &outcomes);
        }
        screen.show(&now, &outcomes)?;
        thread::sleep(LOOK);
    }
}

fn moment(elapsed: Duration, outcomes: &[Outcome]) -> String {
    let blocked = outcomes.iter().filter(|outcome| outcome.counts.stall_ended == 0).count();
    let now = if blocked > 0 { "all workers blocked" } else { "workers free again" };
    format!("{:4.1} s  {now}", elapsed.as_secs_f64())
}

fn look(actors: &mut [Actor]) -> io::Result<()> {
    let table = TcpTable::read()?;
    for actor in actors {
        let report = Report::from_line(&actor.process.ask("report")?)?;
        actor.outcome.look(report, table.port(actor.process.address().port()));
    }
    Ok(())
}

fn with<T>(all: &Mutex<Vec<T>>, index: usize, change: impl FnOnce(&mut T)) {
    if let Some(one) = all.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
        change(one);
    }
}

/// Many clients at a time need more descriptors than the usual soft limit; the servers inherit it.
fn allow_descriptors() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}
