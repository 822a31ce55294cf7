//! Putting the parts together and setting them going.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use anteroom_listener::{Descriptors, Poller, migrates_queued};
use tokio::runtime;

use super::driver;
use super::lane::Lane;
use crate::accept::{Acceptor, Desk, Filter, Office, start_task, start_thread};
use crate::admit::LaneRules;
use crate::config::{AcceptOn, Config};
use crate::gate::{Gate, Plan, Policy, Port};
use crate::lifecycle::{Core, Life, Settings, StartError};
use crate::observe::{LONGEST_REST, Note, Notes, Phase, Subject, start_watch};
use crate::stall::{self, Board, Findings, start_pulse};

/// What both builders gather.
#[derive(Debug, Default)]
pub(super) struct Common {
    pub(super) config: Config,
    pub(super) filter: Option<Filter>,
    /// Each lane is served by a core of its own, which is to share no lock with the others.
    pub(super) is_sharded: bool,
    #[cfg(all(feature = "handover", target_os = "linux"))]
    pub(super) predecessor: Option<crate::handover::Predecessor>,
    #[cfg(feature = "test-util")]
    pub(super) faults: Option<FaultSource>,
}

/// Sets the acceptor going, and the watch. The takers may start afterwards: what comes meanwhile
/// waits in the room.
pub(super) fn start(common: Common, lanes: Vec<Lane>) -> Result<(Arc<Core>, Vec<Arc<Desk>>), StartError> {
    let Common { config, mut filter, is_sharded, .. } = common;
    if lanes.is_empty() || lanes.iter().any(|lane| lane.listeners.is_empty()) {
        return Err(StartError::NothingToServe);
    }
    let rules: Vec<_> = lanes.iter().map(|lane| lane.rules).collect();
    let kin: Vec<_> = lanes.iter().enumerate().map(|(number, lane)| lane.kin.lanes(number)).collect();
    config.check_with(&rules)?;
    let runtime = match config.accept_on {
        AcceptOn::Taker | AcceptOn::Thread => None,
        AcceptOn::Task => {
            driver::probe_io()?;
            driver::probe_time()?;
            Some(runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?)
        }
    };
    let poller = Poller::new().map_err(|source| StartError::Resources { what: "the epoll set", source })?;
    let halls = if is_sharded { lanes.len() } else { 1 };
    let core = assemble(config, lanes, rules, halls, poller);
    #[cfg(all(feature = "handover", target_os = "linux"))]
    if common.predecessor.is_some() {
        core.life.hold();
    }
    if let Some(filter) = &mut filter {
        filter.seen_on(core.board.clone());
    }
    #[cfg_attr(not(feature = "test-util"), expect(unused_mut, reason = "faults are for tests"))]
    let mut office = Office::new(Arc::clone(&core), filter);
    #[cfg(feature = "test-util")]
    {
        office.faults = common.faults.map(|faults| std::sync::Mutex::new(faults.0));
    }
    let office = Arc::new(office);
    let desks = desks(&office, kin)
        .map_err(|source| StartError::Resources { what: "the epoll set of a lane", source })?;
    let acceptor = Acceptor::new(office, desks.clone())
        .map_err(|source| StartError::Resources { what: "the acceptor's descriptors", source })?;
    let (watched, lives) = (Arc::clone(&core), Arc::clone(&core));
    #[cfg(feature = "metrics")]
    let timed = Arc::clone(&core);
    start_watch(Subject {
        longest_rest: core.board.is_some().then_some(LONGEST_REST),
        notes: core.gate.shared_notes(),
        ledgers: core.ledgers(),
        #[cfg(feature = "metrics")]
        timings: Box::new(move || timed.timings()),
        phase: Box::new(move || lives.life.phase()),
        snapshot: Box::new(move || watched.snapshot()),
    })
    .map_err(|source| StartError::Resources { what: "the watch's thread", source })?;
    if let Some(board) = &core.board {
        start_pulse(stall::Subject {
            server: Box::new(Arc::clone(&core)),
            gate: Arc::clone(&core.gate),
            board: Arc::clone(board),
            findings: Arc::clone(&core.findings),
        })
        .map_err(|source| StartError::Resources { what: "the pulse's thread", source })?;
    }
    // A start that fails drops the acceptor, which ends what has begun.
    match runtime {
        None => start_thread(acceptor)
            .map_err(|source| StartError::Resources { what: "the acceptor's thread", source })?,
        Some(runtime) => start_task(acceptor, &runtime).map_err(|source| match source.kind() {
            io::ErrorKind::Unsupported => StartError::TaskUnsupported,
            _ => StartError::Resources { what: "the acceptor's task", source },
        })?,
    }
    for (listener, port) in core.gate.ports().iter().enumerate() {
        let note = Note::Listening { address: Arc::clone(&port.address), listener, backlog: port.backlog() };
        core.gate.notes().leave(note);
        let group = port.listener().and_then(|held| held.reuse_port_group());
        if let Some(members) = group.filter(|_| migrates_queued() == Some(false)) {
            core.gate.notes().leave(Note::ReusePort { listener, members });
        }
    }
    if !core.life.is_held() && core.life.enter(Phase::Serving) {
        core.gate.notes().leave(Note::Phase(Phase::Serving));
    }
    #[cfg(all(feature = "handover", target_os = "linux"))]
    if let Some(predecessor) = common.predecessor {
        core.succeed(predecessor);
    }
    Ok((core, desks))
}

/// One for each lane.
fn desks(office: &Arc<Office>, kin: Vec<Range<usize>>) -> io::Result<Vec<Arc<Desk>>> {
    let by_takers = office.core.config().accept_on == AcceptOn::Taker;
    let desk = |(lane, kin)| {
        let set = by_takers.then(Poller::new).transpose()?;
        Ok(Arc::new(Desk::new(Arc::clone(office), lane, kin, set)))
    };
    kin.into_iter().enumerate().map(desk).collect()
}

fn assemble(
    config: Config,
    lanes: Vec<Lane>,
    rules: Vec<LaneRules>,
    halls: usize,
    poller: Poller,
) -> Arc<Core> {
    let numbered = lanes.into_iter().map(|lane| lane.listeners).enumerate();
    let mut ports: Vec<_> = numbered
        .flat_map(|(lane, listeners)| listeners.into_iter().map(move |listener| Port::new(listener, lane)))
        .collect();
    number_equal_names(&mut ports);
    let Descriptors { limit, open, .. } = Descriptors::of_process();
    let sockets = config.descriptors.sockets(limit, open);
    let plan = Plan {
        ports: ports.into_iter().map(Arc::new).collect(),
        lanes: with_shares(rules.clone(), sockets),
        halls,
        rules: config.rules(sockets),
        policy: Policy::of(&config, sockets),
        seed: RandomState::new().hash_one(()),
        notes: Arc::new(Notes::default()),
        accept_on: config.accept_on,
    };
    let gate = Arc::new(Gate::new(plan, poller));
    if let Some(sockets) =
        sockets.filter(|&sockets| config.max_connections.is_some_and(|most| most > sockets))
    {
        gate.notes().leave(Note::FewDescriptors { sockets });
    }
    let board = config.stall_watch.as_ref().map(|watch| Arc::new(Board::new(rules.len(), watch.slow_poll)));
    Arc::new(Core {
        gate,
        life: Arc::new(Life::new()),
        settings: Settings::new(config, rules, sockets),
        board,
        findings: Arc::new(Findings::new()),
        runtime: Mutex::default(),
    })
}

/// Where several lanes share the descriptors, each has some that no other takes.
fn with_shares(mut lanes: Vec<LaneRules>, sockets: Option<usize>) -> Vec<LaneRules> {
    let several = lanes.len() > 1;
    let share = sockets.map_or(0, |sockets| (sockets / 8).min(16));
    for lane in lanes.iter_mut().filter(|_| several) {
        lane.set_aside = lane.set_aside.or(Some(share));
    }
    lanes
}

/// The listeners of one address have one name, unless they were given another: `name`, `name#2`, and
/// so on, so that each has its own counts.
fn number_equal_names(ports: &mut [Port]) {
    let given: HashSet<Arc<str>> = ports.iter().map(|port| Arc::clone(&port.name)).collect();
    let mut taken = HashSet::new();
    for port in ports {
        let mut number = 1;
        let mut name = Arc::clone(&port.name);
        while (number > 1 && given.contains(&name)) || !taken.insert(Arc::clone(&name)) {
            number += 1;
            name = format!("{}#{number}", port.name).into();
        }
        port.name = name;
    }
}

/// Injected faults, with a name to print.
#[cfg(feature = "test-util")]
pub(super) struct FaultSource(pub(super) crate::accept::Faults);

#[cfg(feature = "test-util")]
impl std::fmt::Debug for FaultSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultSource")
    }
}

#[cfg(test)]
mod tests {
    use anteroom_listener::Listener;

    use super::*;

    #[test]
    fn equal_names_are_numbered_and_given_ones_are_kept() {
        let names = ["public", "public", "admin", "public#2", "public"];
        let port = |name: &str| Port::new(Listener::builder().name(name).bind("127.0.0.1:0").unwrap(), 0);
        let mut ports = names.map(port);
        number_equal_names(&mut ports);
        let told: Vec<&str> = ports.iter().map(|port| &*port.name).collect();
        assert_eq!(told, ["public", "public#3", "admin", "public#2", "public#4"]);
    }
}
