//! Rounds of a server that is drained.
//!
//! Owns the server of each round. A round is in its last seconds, when there is nothing but the endless answer,
//! while the next ones begin.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anteroom::{
    Accepting, Address, Config, Connection, DescriptorBudget, Handle, Listener, Order, Report, Server,
    Snapshot, service_fn,
};
use anteroom_testkit::Scratch;
use anteroom_tests::machine::Lateness;
use anteroom_tests::shutdown::{Crowd, Dialect, Outcome, Part, Tally, Target};
use anteroom_tests::waiting::becomes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{self, Runtime};
use tokio::task::JoinSet;

use crate::{
    IN_FLIGHT, PER_SECOND, QUEUED, SILENT, WAITING, come_in_flight, come_into_queue, come_until_refused,
};

/// The promise's own numbers.
const WITHIN: Duration = Duration::from_secs(10);
const OVER_BY: Duration = Duration::from_millis(10_500);

/// Longer than any client here waits for its first byte.
const DEFERRED_FOR: Duration = Duration::from_secs(10);

const DIALECT: Dialect = Dialect { quick: b"q", in_two: [b"1", b"2"], endless: b"e" };

/// Between two pieces of the endless answer.
const PIECE: Duration = Duration::from_millis(50);

/// The kind of listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    V4,
    DualStack,
    Unix,
    /// With `TCP_DEFER_ACCEPT`.
    Deferred,
}

/// How one round ended.
struct Ended {
    report: Report,
    tally: Tally,
    /// From the call of `drain`.
    after: Duration,
    /// By which the machine was late when it ended.
    late: Duration,
    /// From the call of `drain` until the listener was closed.
    closed_after: Duration,
    /// SYNs that the fence dropped.
    fenced: u64,
}

/// Runs so many and holds each to the promise.
pub(crate) fn rounds_of(kind: Kind, rounds: usize) {
    // The clients have a thread of their own, as the acceptors have.
    let clients = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let servers =
        runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut ground = Ground { kind, files: Scratch::new(), used: HashSet::new(), bound: 0 };
    let ended = clients.block_on(async {
        let mut tails = JoinSet::new();
        for _ in 0..rounds {
            round(&mut ground, &servers, &mut tails).await;
        }
        tails.join_all().await
    });
    servers.shutdown_background();
    tell(kind, &ended);
    let faults: Vec<_> = ended.iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "{kind:?}: {} faults in {rounds} rounds: {faults:#?}", faults.len());
}

fn tell(kind: Kind, ended: &[Ended]) {
    let mut all = Tally::default();
    for round in ended {
        all += &round.tally;
    }
    let longest = |of: fn(&Ended) -> Duration| ended.iter().map(of).max().unwrap_or_default();
    let fenced: u64 = ended.iter().map(|round| round.fenced).sum();
    println!(
        "{kind:?}, {} rounds: {all}; the fence dropped {fenced} SYNs; listeners closed after {:?} at most, drains \
         ended after {:?} at most (late by {:?})",
        ended.len(),
        longest(|round| round.closed_after),
        longest(|round| round.after),
        longest(|round| round.late),
    );
}

/// What the round did not keep of the promise.
fn faults(round: &Ended) -> Vec<String> {
    let Ended { report, tally, after, late, .. } = round;
    let mut faults = tally.lost().to_vec();
    let mut equal = |what: &str, is: u64, should_be: u64| {
        if is != should_be {
            faults.push(format!("{what}: {is}, not {should_be}: {tally}; {report:?}"));
        }
    };
    equal("accepted", report.accepted, tally.connected());
    equal("served", report.served.done, tally.of(Outcome::Answered));
    equal("cut, as the client saw it", tally.of(Outcome::Cut), 1);
    equal("cut", report.served.cut, 1);
    equal("failed", report.served.failed + report.served.panicked, 0);
    equal("refused", report.refused.total(), 0);
    equal("dead", report.dead_on_arrival.total(), 0);
    equal("handed over", report.handed_over, 0);
    equal("with an end", report.ended(), report.accepted);
    if *after > OVER_BY + *late {
        faults.push(format!("it ended after {after:?}, the machine late by {late:?}"));
    }
    if *after < WITHIN {
        faults.push(format!("it ended after {after:?}, before the deadline"));
    }
    faults
}

/// Where listeners are made.
struct Ground {
    kind: Kind,
    files: Scratch,
    /// A client that the fence turned away comes again a second later, and is not to meet another round's server.
    used: HashSet<u16>,
    bound: u32,
}

impl Ground {
    fn listener(&mut self) -> (Listener, Vec<Target>) {
        loop {
            let builder = Listener::builder().name("main");
            let listener = match self.kind {
                Kind::V4 => builder.bind("127.0.0.1:0"),
                Kind::DualStack => builder.dual_stack().bind("[::]:0"),
                Kind::Unix => builder.bind(format!("unix:{}", self.path().display()).as_str()),
                Kind::Deferred => builder.defer_accept(DEFERRED_FOR).bind("127.0.0.1:0"),
            };
            let listener = listener.expect("the address is free");
            let targets = self.targets(listener.local_addr());
            if listener.local_addr().tcp().is_none_or(|address| self.used.insert(address.port())) {
                return (listener, targets);
            }
        }
    }

    fn path(&mut self) -> PathBuf {
        self.bound += 1;
        self.files.join(&self.bound.to_string())
    }

    fn targets(&self, address: &Address) -> Vec<Target> {
        let port = address.tcp().map_or(0, |address| address.port());
        let v4 = Target::Tcp((Ipv4Addr::LOCALHOST, port).into());
        match (self.kind, address.path()) {
            (Kind::DualStack, _) => vec![v4, Target::Tcp((Ipv6Addr::LOCALHOST, port).into())],
            (_, Some(path)) => vec![Target::Unix(path.to_owned())],
            _ => vec![v4],
        }
    }
}

/// Nobody is refused for any reason of its own, and all that happens is what the round brings about.
fn config() -> Config {
    let mut config = Config::default();
    config.max_connections = Some(IN_FLIGHT as usize + 1);
    config.max_wait = Duration::from_secs(60);
    config.order = Order::Fifo;
    config.share.alpha = None;
    config.descriptors = DescriptorBudget::Fixed(5_000);
    config
}

async fn serve(mut connection: Connection) -> io::Result<()> {
    match connection.read_u8().await? {
        b'q' => connection.write_all(b"a").await,
        b'1' => match connection.read_u8().await? {
            b'2' => connection.write_all(b"a").await,
            _ => Err(io::ErrorKind::InvalidData.into()),
        },
        b'e' => loop {
            connection.write_all(b".").await?;
            tokio::time::sleep(PIECE).await;
        },
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Until only the endless answer is left, and clients that are slow; the rest goes to `tails`.
async fn round(ground: &mut Ground, servers: &Runtime, tails: &mut JoinSet<Ended>) {
    let (listener, targets) = ground.listener();
    let server = {
        let _inside = servers.enter();
        let builder = Server::builder().config(config());
        builder.serve(listener, service_fn(serve)).start().expect("it starts")
    };
    let handle = server.handle();
    let mut crowd = Crowd::new(targets, DIALECT, PER_SECOND);

    come_in_flight(&mut crowd);
    shows(&handle, "those in flight are served", |now| now.open == IN_FLIGHT as usize + 1).await;
    for _ in 0..WAITING {
        crowd.come(Part::Quick);
    }
    shows(&handle, "the others wait", |now| now.waiting == WAITING as usize).await;
    handle.pause();
    shows(&handle, "it has paused", |now| now.listeners[0].accepting == Accepting::Paused).await;
    come_into_queue(&mut crowd, QUEUED).await;
    shows(&handle, "the stage is set", |now| {
        (now.open, now.waiting) == (IN_FLIGHT as usize + 1, WAITING as usize) && depth(now) >= QUEUED
    })
    .await;

    let told = Instant::now();
    let stopped = handle.drain(WITHIN);
    crowd.give_cue();
    let (_, closed_after) = tokio::join!(come_until_refused(&mut crowd), closed(&handle, told));
    let fenced = handle.snapshot().listeners[0].fenced.unwrap_or(0);
    let left = 1 + SILENT.len();
    shows(&handle, "the drain has come to those who are slow", |now| now.open + now.waiting <= left).await;

    tails.spawn(async move {
        tokio::time::sleep_until((told + WITHIN).into()).await;
        let lateness = Lateness::measure();
        let report = stopped.await.expect("nothing failed");
        let (after, late) = (told.elapsed(), lateness.worst());
        drop(server);
        Ended { report, tally: crowd.end().await, after, late, closed_after, fenced }
    });
}

async fn closed(handle: &Handle, since: Instant) -> Duration {
    shows(handle, "the listener is closed", |now| now.listeners[0].accepting == Accepting::Closed).await;
    since.elapsed()
}

fn depth(now: &Snapshot) -> u32 {
    now.listeners[0].queue.and_then(|queue| queue.depth).unwrap_or(0)
}

async fn shows(handle: &Handle, what: &str, mut is_so: impl FnMut(&Snapshot) -> bool) {
    becomes(what, || is_so(&handle.snapshot())).await;
}
