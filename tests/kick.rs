//! The kick: while some workers are blocked, everybody else is served as if they were not, on new connections
//! and on open ones. The plain loop, in the same run, is not.
//!
//! `ANTEROOM_ROUNDS=50` plays as many rounds as the promise says; without it a few must do.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on says so, and tells its figures"
)]

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anteroom::{Address, Config, Connection, Listener, Server, service_fn};
use anteroom_testkit::{BOUND, eventually};
use anteroom_tests::clients::{ask, connect, next_line, send};
use anteroom_tests::faults::{Faults, obey, obey_stream};
use anteroom_tests::machine::Lateness;
use anteroom_tests::promise::asked_for;
use socket2::Socket;
use tokio::runtime::Runtime;

const WORKERS: usize = 4;

/// The promise's own numbers.
const BLOCKED_FOR: Duration = Duration::from_secs(2);
const WITHIN: Duration = Duration::from_millis(20);

/// An answer passes through so many threads at most, each of which a busy machine keeps waiting: the client's,
/// the acceptor or the pulse, a worker.
const THREADS: u32 = 3;

/// After they are blocked the others come: the runtime has had the time to go to sleep.
const AFTER: Duration = Duration::from_millis(100);

/// And before: so has what the last exchange had woken.
const REST: Duration = Duration::from_millis(50);

/// How many new clients come, and how many connections are open already.
const CLIENTS: usize = 8;

/// What the plain loop shows when nobody looks after I/O until a blocked worker is back.
const STUCK: Duration = Duration::from_secs(1);

/// One at a time: a round measures milliseconds.
static ALONE: Mutex<()> = Mutex::new(());

fn rounds() -> usize {
    asked_for("ANTEROOM_ROUNDS", 2)
}

/// Starts one of the two, with so many places. The plain loop has no bound.
type Start = fn(&Runtime, usize, &Arc<Faults>) -> (Address, Option<Server>);

/// The times of one kind in a round.
type Times = fn(&Round) -> &[Duration];

/// A server on a runtime of its own, and its open connections, idle between rounds.
struct Served {
    address: Address,
    open: Vec<Socket>,
    faults: Arc<Faults>,
    _server: Option<Server>,
    runtime: Option<Runtime>,
}

impl Served {
    fn start(max_connections: usize, by: Start) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .enable_all()
            .build()
            .expect("a runtime");
        let faults = Arc::new(Faults::default());
        let (address, server) = by(&runtime, max_connections, &faults);
        let open: Vec<_> = (0..CLIENTS).map(|_| connect(&address)).collect();
        for client in &open {
            assert_eq!(ask(client, "live").expect("it is served"), "live");
        }
        Self { address, open, faults, _server: server, runtime: Some(runtime) }
    }

    fn holding(&self) -> usize {
        self.faults.holding().as_array().map_or(0, Vec::len)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Handlers that hold their worker are not waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn anteroom(runtime: &Runtime, max_connections: usize, faults: &Arc<Faults>) -> (Address, Option<Server>) {
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    let faults = Arc::clone(faults);
    let service = service_fn(move |connection: Connection| {
        let faults = Arc::clone(&faults);
        async move { obey(connection, &faults).await }
    });
    let mut config = Config::default();
    config.max_connections = Some(max_connections);
    // One source has every place.
    config.share.alpha = None;
    let _inside = runtime.enter();
    let server = Server::builder().config(config).serve(listener, service).start().expect("it starts");
    (address, Some(server))
}

/// What everybody writes first.
fn plain(runtime: &Runtime, _: usize, faults: &Arc<Faults>) -> (Address, Option<Server>) {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("its address").to_string().parse().expect("an address");
    let (handle, faults) = (runtime.handle().clone(), Arc::clone(faults));
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("it accepts");
            let faults = Arc::clone(&faults);
            handle.spawn(async move { obey_stream(stream, &faults).await });
        }
    });
    (address, None)
}

/// The times of one round.
#[derive(Debug, Default)]
struct Round {
    /// From connect to answer.
    new: Vec<Duration>,
    /// From question to answer.
    open: Vec<Duration>,
    /// Of those who got a place that was given back: from that to the answer.
    given: Vec<Duration>,
    late: Duration,
}

impl Round {
    fn worst(&self) -> Duration {
        let all = self.new.iter().chain(&self.open).chain(&self.given);
        all.max().copied().unwrap_or_default()
    }
}

/// `blocked` handlers sleep; then the others come. `number` says who comes first: whoever does may have woken
/// the runtime for the others.
fn round(number: usize, served: &Served, blocked: usize, gives_back: bool) -> Round {
    let blockers: Vec<_> = (0..blocked).map(|_| connect(&served.address)).collect();
    for blocker in &blockers {
        is_live(blocker);
    }
    let waiting = gives_back.then(|| connect(&served.address));
    let lateness = Lateness::measure();
    let mut round = Round::default();
    let order = match gives_back {
        true => format!("release-sleep {}", BLOCKED_FOR.as_millis()),
        false => format!("sleep {}", BLOCKED_FOR.as_millis()),
    };
    for (number, blocker) in blockers.iter().enumerate() {
        // So that one worker waits for the driver and the others for work: whoever is blocked is the one that
        // looked after I/O.
        thread::sleep(REST);
        let since = Instant::now();
        send(blocker, &order);
        if let Some(waiting) = waiting.as_ref().filter(|_| number == 0) {
            is_live(waiting);
            round.given.push(since.elapsed());
        }
        eventually("it is blocked", BOUND, || served.holding() > number);
    }
    drop(waiting);
    // The case itself: nothing is waited for here.
    thread::sleep(AFTER);
    for first in [number.is_multiple_of(2), !number.is_multiple_of(2)] {
        match first {
            true => round.open.extend(served.open.iter().map(|client| timed(|| is_live(client)))),
            false => {
                let visit = || timed(|| is_live(&connect(&served.address)));
                round.new.extend((0..CLIENTS).map(|_| visit()));
            }
        }
    }
    round.late = lateness.worst();
    for blocker in &blockers {
        assert_eq!(next_line(blocker).expect("it comes back"), order);
    }
    eventually("nobody is blocked any more", BOUND, || served.holding() == 0);
    round
}

fn is_live(client: &Socket) {
    assert_eq!(ask(client, "live").expect("it is served"), "live");
}

fn timed(act: impl FnOnce()) -> Duration {
    let since = Instant::now();
    act();
    since.elapsed()
}

/// All rounds of one case.
struct Case {
    name: String,
    rounds: Vec<Round>,
}

impl Case {
    fn play(name: &str, served: &Served, blocked: usize, gives_back: bool) -> Self {
        let rounds = (0..rounds()).map(|number| round(number, served, blocked, gives_back)).collect();
        let case = Self { name: format!("{name}, {blocked} of {WORKERS} blocked"), rounds };
        println!("{case}");
        case
    }

    /// No client in any round waited for longer than the promise says, but for what the machine was late by.
    fn is_within_the_promise(&self) {
        for round in &self.rounds {
            assert!(round.worst() <= WITHIN + THREADS * round.late, "{self}: {round:?}");
        }
    }

    fn stuck(&self) -> usize {
        self.rounds.iter().filter(|round| round.worst() > STUCK).count()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.name)?;
        let times: [(&str, Times); 3] =
            [("new", |round| &round.new), ("open", |round| &round.open), ("given", |round| &round.given)];
        for (kind, times) in times {
            let mut times: Vec<_> = self.rounds.iter().flat_map(times).copied().collect();
            times.sort();
            if let (Some(median), Some(max)) = (times.get(times.len() / 2), times.last()) {
                write!(f, " {kind} median {median:.1?} max {max:.1?};")?;
            }
        }
        let late = self.rounds.iter().map(|round| round.late).max().unwrap_or_default();
        let worst: Vec<_> = self.rounds.iter().map(|round| format!("{:.1?}", round.worst())).collect();
        write!(f, " worst of each round {}; the machine was late by {late:.1?}", worst.join(" "))
    }
}

#[test]
fn others_are_served_at_once_while_one_two_or_three_of_four_workers_are_blocked() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cases = [1, 2, 3].map(|blocked| {
        let served = Served::start(1024, anteroom);
        Case::play("anteroom", &served, blocked, false)
    });
    cases.iter().for_each(Case::is_within_the_promise);
}

#[test]
fn the_same_when_the_blocking_handlers_have_just_given_their_permits_back() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cases = [1, 2, 3].map(|blocked| {
        // Whoever comes then needs one of the places that are given back.
        let served = Served::start(CLIENTS + blocked, anteroom);
        Case::play("anteroom, permits given back", &served, blocked, true)
    });
    cases.iter().for_each(Case::is_within_the_promise);
}

#[test]
fn the_plain_loop_waits_for_a_blocked_worker_in_most_rounds() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // With one blocked handler: what others are told to do is not even read then.
    let case = Case::play("plain", &Served::start(0, plain), 1, false);
    let (stuck, played) = (case.stuck(), case.rounds.len());
    println!("plain: {stuck} of {played} rounds took longer than {STUCK:?}");
    assert!(stuck * 2 >= played, "what the kick is compared with does not show: {case}");
}
