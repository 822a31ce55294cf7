//! One of two shards held by a handler: the others serve whoever comes meanwhile, and it comes back with what it had.
//!
//! `ANTEROOM_SECONDS=10` takes as long as the promise says; without it less must do.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test that cannot go on says so")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anteroom::{Config, Connection, Listener, Order, Server, service_fn};
use anteroom_load::client::{Exchange, OpenLoop, OpenRun, Schedule};
use anteroom_testkit::{BOUND, eventually};
use anteroom_tests::machine::Lateness;
use anteroom_tests::promise::asked_for;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime;

const SHARDS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

const RATE: u32 = 200;

/// The promise's own numbers.
const KERNEL_WAIT: Duration = Duration::from_millis(20);
const LONGEST_KERNEL_WAIT: Duration = Duration::from_millis(100);

/// One at a time: they measure milliseconds, and one of them spins.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who has to wait longer than this has waited for the stuck shard.
const LOST: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Sleep,
    Spin,
}

impl Block {
    fn word(self) -> u8 {
        match self {
            Self::Sleep => b's',
            Self::Spin => b'p',
        }
    }

    fn of(word: u8) -> Option<Self> {
        [Self::Sleep, Self::Spin].into_iter().find(|block| block.word() == word)
    }

    fn hold(self, long: Duration) {
        let until = Instant::now() + long;
        while Instant::now() < until {
            match self {
                Self::Sleep => thread::sleep(until.saturating_duration_since(Instant::now())),
                Self::Spin => std::hint::spin_loop(),
            }
        }
    }
}

fn blocked_for() -> Duration {
    // The clients stop a while before it ends.
    Duration::from_secs(asked_for("ANTEROOM_SECONDS", 3).max(2))
}

/// Answers with the byte that it was sent; those that say so hold the thread first, which is told.
async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    begun: SyncSender<()>,
) -> std::io::Result<()> {
    let mut word = [0];
    stream.read_exact(&mut word).await?;
    if let Some(block) = Block::of(word[0]) {
        begun.send(()).expect("the test waits for it");
        block.hold(blocked_for());
    }
    stream.write_all(&word).await
}

/// What everybody who came while a shard was stuck had to wait from connect to answer, and whether whoever held it
/// was answered in the end.
fn clients(address: SocketAddr, block: Block, begun: &Receiver<()>) -> OpenRun {
    let mut blocker = TcpStream::connect(address).expect("it listens");
    blocker.write_all(&[block.word()]).expect("it is connected");
    begun.recv_timeout(BOUND).expect("its handler runs");
    // All of them have come before the block ends.
    let schedule = Schedule::new(RATE, blocked_for() - Duration::from_millis(500));
    let run = OpenLoop { target: address, exchange: Exchange::one_byte(), schedule }.run().expect("clients");
    blocker.set_read_timeout(Some(BOUND)).expect("a socket");
    blocker.read_exact(&mut [0]).expect("it is answered when the shard comes back");
    run
}

fn sharded(block: Block) {
    let lateness = Lateness::measure();
    let listeners = Listener::builder().bind_group("127.0.0.1:0", SHARDS).expect("a free port");
    let address = listeners.first().and_then(|listener| listener.local_addr().tcp()).expect("it is TCP");
    let waits = Arc::new(Mutex::new(Vec::new()));
    let (told, begun) = sync_channel(1);
    let server = Server::builder()
        .serve_sharded(listeners, {
            let waits = Arc::clone(&waits);
            move |_| {
                let (waits, told) = (Arc::clone(&waits), told.clone());
                service_fn(move |connection: Connection| {
                    let wait = connection.info().kernel_wait().expect("the platform tells");
                    waits.lock().expect("nobody panicked").push(wait);
                    answer(connection, told.clone())
                })
            }
        })
        .start()
        .expect("it starts");
    let handle = server.handle();
    let run = clients(address, block, &begun);
    let late = lateness.worst();
    let refused: Vec<_> = handle.snapshot().listeners.into_iter().map(|listener| listener.report).collect();
    let mut waits = std::mem::take(&mut *waits.lock().expect("nobody panicked"));
    waits.sort_unstable();
    let most = waits.get((waits.len() * 999).div_ceil(1000) - 1).copied().expect("somebody came");
    let longest = waits.last().copied().expect("somebody came");
    println!(
        "{block:?}: kernel wait p99.9 {most:?}, at most {longest:?}; {run:?}; the machine {late:?} late"
    );
    assert_eq!(run.failed, 0, "{run:?}, {refused:?}");
    assert!(most <= KERNEL_WAIT + late, "{most:?}, the machine {late:?} late");
    assert!(longest <= LONGEST_KERNEL_WAIT + late, "{longest:?}, the machine {late:?} late");
    assert!(run.latencies.percentile(100.0) <= LOST + late, "{run:?}, the machine {late:?} late");
    let left_standing: u64 = handle.snapshot().listeners.iter().map(|listener| listener.left_standing).sum();
    assert!((1..=run.answered).contains(&left_standing), "{left_standing}: the stuck shard's share");
    let waiting = runtime::Builder::new_current_thread().build().expect("a runtime");
    let report = waiting.block_on(handle.drain(BOUND)).expect("nothing failed");
    assert_eq!(report.served.done, run.answered + 1, "{report}");
    assert!(report.is_balanced(), "{report}");
}

/// One that is stuck may have nobody before it, and looks like one that comes until it is given somebody: they go over
/// to one that comes.
#[test]
fn three_of_four_that_are_stuck_leave_everybody_to_the_fourth() {
    let _alone = alone();
    let lateness = Lateness::measure();
    let shards = SHARDS.saturating_add(2);
    let listeners = Listener::builder().bind_group("127.0.0.1:0", shards).expect("a free port");
    let address = listeners.first().and_then(|listener| listener.local_addr().tcp()).expect("it is TCP");
    let (told, begun) = sync_channel(1);
    // Whoever waits for a stuck shard is to be seen, and not refused.
    let mut config = Config::default();
    config.max_wait = BOUND;
    config.order = Order::Fifo;
    // The last one is left alone.
    let stuck = Arc::new(AtomicUsize::new(0));
    let server = Server::builder()
        .config(config)
        .serve_sharded(listeners, {
            let stuck = Arc::clone(&stuck);
            move |_| {
                let (stuck, told) = (Arc::clone(&stuck), told.clone());
                service_fn(move |mut connection: Connection| {
                    let (stuck, told) = (Arc::clone(&stuck), told.clone());
                    async move {
                        let mut word = [0];
                        connection.read_exact(&mut word).await?;
                        if word == *b"s" && stuck.fetch_add(1, Ordering::AcqRel) < 3 {
                            told.send(()).expect("the test waits for it");
                            Block::Sleep.hold(blocked_for());
                        }
                        connection.write_all(&word).await
                    }
                })
            }
        })
        .start()
        .expect("it starts");
    let mut blockers = Vec::new();
    while stuck.load(Ordering::Acquire) < 3 {
        let mut blocker = TcpStream::connect(address).expect("it listens");
        blocker.write_all(b"s").expect("it is connected");
        // Or it was given to one that is stuck, to see whether it comes.
        let _begun = begun.recv_timeout(Duration::from_millis(200));
        blockers.push(blocker);
    }
    let schedule = Schedule::new(RATE, blocked_for() - Duration::from_millis(1500));
    let run = OpenLoop { target: address, exchange: Exchange::one_byte(), schedule }.run().expect("clients");
    let late = lateness.worst();
    println!("three of four: {run:?}; the machine {late:?} late");
    assert_eq!(run.failed, 0, "{run:?}");
    assert!(run.latencies.percentile(100.0) <= LOST + late, "{run:?}, the machine {late:?} late");
    drop((server, blockers));
}

/// The others serve another address: whoever comes to it is accepted all the same, and waits where they are seen.
#[test]
fn whoever_comes_to_an_address_that_only_a_stuck_shard_serves_is_accepted_meanwhile() {
    let _alone = alone();
    const CLIENTS: u64 = 8;
    let listeners: Vec<_> = (0..2).map(|_| Listener::bind("127.0.0.1:0").expect("a free port")).collect();
    let addresses: Vec<_> = listeners.iter().filter_map(|listener| listener.local_addr().tcp()).collect();
    let (told, begun) = sync_channel(1);
    let (let_go, held) = sync_channel::<()>(1);
    let held = Arc::new(Mutex::new(held));
    let mut config = Config::default();
    config.max_wait = BOUND;
    config.order = Order::Fifo;
    let server = Server::builder()
        .config(config)
        .serve_sharded(listeners, move |_| {
            let (told, held) = (told.clone(), Arc::clone(&held));
            service_fn(move |mut connection: Connection| {
                let (told, held) = (told.clone(), Arc::clone(&held));
                async move {
                    let mut word = [0];
                    connection.read_exact(&mut word).await?;
                    if word == *b"s" {
                        told.send(()).expect("the test waits for it");
                        let _let_go = held.lock().expect("nobody panicked").recv();
                    }
                    connection.write_all(&word).await
                }
            })
        })
        .start()
        .expect("it starts");
    let handle = server.handle();
    let come = |word: &[u8]| {
        let mut client = TcpStream::connect(addresses[0]).expect("it listens");
        client.write_all(word).expect("it is connected");
        client
    };
    let blocker = come(b"s");
    begun.recv_timeout(BOUND).expect("its handler runs");
    let clients: Vec<_> = (0..CLIENTS).map(|_| come(b"?")).collect();
    let accepted = || handle.snapshot().listeners.first().map(|listener| listener.report.accepted);
    eventually("all are accepted, though their shard is stuck", BOUND, || accepted() == Some(CLIENTS + 1));
    // And the other one is not.
    let mut other = TcpStream::connect(addresses[1]).expect("it listens");
    other.write_all(b"?").expect("it is connected");
    other.read_exact(&mut [0]).expect("it is answered");
    let_go.send(()).expect("the handler waits for it");
    for mut client in clients.into_iter().chain([blocker]) {
        client.set_read_timeout(Some(BOUND)).expect("a socket");
        client.read_exact(&mut [0]).expect("it is answered when the shard comes back");
    }
}

/// The same without anybody who looks after the shards.
fn plain(block: Block) {
    let listeners = Listener::builder().bind_group("127.0.0.1:0", SHARDS).expect("a free port");
    let address = listeners.first().and_then(|listener| listener.local_addr().tcp()).expect("it is TCP");
    let (told, begun) = sync_channel(1);
    for listener in listeners {
        let told = told.clone();
        // It ends with the test's process.
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::from(std::os::fd::OwnedFd::from(listener));
                let listener = tokio::net::TcpListener::from_std(listener).expect("a driver");
                loop {
                    let (stream, _) = listener.accept().await.expect("it accepts");
                    #[expect(clippy::disallowed_methods, reason = "the loop that everybody writes")]
                    tokio::spawn(answer(stream, told.clone()));
                }
            });
        });
    }
    let run = clients(address, block, &begun);
    let hit = run.latencies.percentile(75.0);
    println!("{block:?}, plain: {run:?}");
    assert!(hit > LOST, "its share of the clients waits for the stuck shard: {run:?}");
}

#[test]
fn a_shard_that_sleeps_loses_nobody_and_holds_up_nobody() {
    let _alone = alone();
    sharded(Block::Sleep);
    plain(Block::Sleep);
}

#[test]
fn a_shard_that_spins_loses_nobody_and_holds_up_nobody() {
    let _alone = alone();
    sharded(Block::Spin);
    plain(Block::Spin);
}
