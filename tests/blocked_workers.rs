//! Every worker of the runtime blocked by a handler: the accept queue is being emptied all the same.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails; not every helper of a test counts as one"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anteroom::{Config, Connection, Handle, Listener, Order, Server, service_fn};
use anteroom_testkit::{BOUND, eventually, ss_tcp_queue};
use anteroom_tests::child::{acceptor_of, waited_for_a_processor};
use anteroom_tests::clients::{connect, next_line, send};
use anteroom_tests::lines::{Calls, answer, speak};

const WORKERS: usize = 2;

/// The promise's own numbers.
const BLOCKED_FOR: Duration = Duration::from_secs(10);
const CLIENTS: u32 = 1000;
const PERIOD: Duration = Duration::from_millis(5);
const DEPTH: u32 = 16;
const KERNEL_WAIT: Duration = Duration::from_millis(50);

/// A client that is late follows the one before it by no less: the clients' own stall is no flood.
const NO_CLOSER: Duration = Duration::from_millis(2);

/// What is published may be this old.
const SAMPLE_AGE: Duration = Duration::from_secs(1);

/// How often the kernel is asked through `ss`, beside the server's own view: it costs a process.
const SS_EVERY: u32 = 50;

/// The worst that a thread outside the runtime saw while it looked.
#[derive(Debug, Default)]
struct Seen {
    samples: u32,
    depth: u32,
    drops: u64,
    ss_samples: u32,
    ss_depth: u32,
    longest_look: Duration,
    /// For how long at once the acceptor was ready to run while others had the processors; on a
    /// machine that does nothing else, next to nothing.
    kept_from_running: Duration,
}

impl Seen {
    /// What may have come in while the acceptor was kept from running, beyond the promise.
    fn allowed_depth(&self) -> u32 {
        let came = self.kept_from_running.as_micros() / NO_CLOSER.as_micros();
        DEPTH + u32::try_from(came).expect("not that many")
    }
}

/// A scope waits for its threads, also for one that looks until it is told, and whoever was to tell it panics.
struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn look_until(over: &AtomicBool, handle: &Handle, port: u16) -> Seen {
    let mut seen = Seen::default();
    let acceptor = acceptor_of(std::process::id());
    let mut waited = waited_for_a_processor(&acceptor);
    while !over.load(Ordering::Acquire) {
        let start = Instant::now();
        let snapshot = handle.snapshot();
        seen.longest_look = seen.longest_look.max(start.elapsed());
        let queue = snapshot.listeners[0].queue.expect("it listens");
        let before = std::mem::replace(&mut waited, waited_for_a_processor(&acceptor));
        seen.kept_from_running = seen.kept_from_running.max(waited.saturating_sub(before));
        seen.samples += 1;
        seen.depth = seen.depth.max(queue.depth.expect("the platform tells"));
        seen.drops = seen.drops.max(queue.drops.expect("the platform tells"));
        if seen.samples % SS_EVERY == 0
            && let Some((depth, _)) = ss_tcp_queue(port)
        {
            seen.ss_samples += 1;
            seen.ss_depth = seen.ss_depth.max(depth);
        }
        thread::sleep(Duration::from_millis(1));
    }
    seen
}

#[test]
fn with_every_worker_blocked_the_queue_is_emptied_and_everybody_is_served_afterwards() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    let port = address.tcp().expect("it is TCP").port();
    let calls = Arc::new(Calls::default());
    let service = {
        let calls = Arc::clone(&calls);
        service_fn(move |connection: Connection| {
            calls.count();
            let calls = Arc::clone(&calls);
            async move { speak(connection, &calls).await }
        })
    };
    let server = {
        let _inside = runtime.enter();
        // Nobody is refused for having waited through the block, nor is anybody hopeless.
        let mut config = Config::default();
        config.max_wait = Duration::from_secs(300);
        config.order = Order::Fifo;
        Server::builder().config(config).serve(listener, service).start()
    };
    let server = server.expect("it starts");
    let handle = server.handle();

    let blockers: Vec<_> = (0..WORKERS).map(|_| connect(&address)).collect();
    let block = format!("block {}", BLOCKED_FOR.as_millis());
    for blocker in &blockers {
        send(blocker, &block);
    }
    eventually("every worker is blocked", BLOCKED_FOR / 2, || calls.blocked() == WORKERS);

    let over = AtomicBool::new(false);
    let (clients, seen) = thread::scope(|scope| {
        let looking = scope.spawn(|| look_until(&over, &handle, port));
        let looked_enough = SetWhenDropped(&over);
        let start = Instant::now();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let due = (start + PERIOD * number).saturating_duration_since(Instant::now());
                thread::sleep(due.max(NO_CLOSER));
                let client = connect(&address);
                send(&client, &format!("live {number}"));
                client
            })
            .collect();
        let connected = Instant::now();
        let everybody = u64::from(CLIENTS) + WORKERS as u64;
        eventually("everybody has been accepted", BOUND, || handle.snapshot().report.accepted == everybody);
        let told_after = connected.elapsed();
        assert_eq!(calls.blocked(), WORKERS, "the block must outlast the clients, or nothing is shown");
        assert!(told_after <= SAMPLE_AGE, "the last arrival was told only after {told_after:?}");
        assert_eq!(handle.snapshot().waiting, CLIENTS as usize);
        drop(looked_enough);
        (clients, looking.join().expect("it looked"))
    });

    let allowed = seen.allowed_depth();
    assert!(seen.depth <= allowed && seen.ss_depth <= allowed, "{seen:?}");
    assert_eq!(seen.drops, 0, "{seen:?}");
    assert!(seen.longest_look <= SAMPLE_AGE, "{seen:?}");

    let left_standing = handle.snapshot().listeners[0].left_standing;
    assert!(left_standing >= u64::from(CLIENTS), "nobody else could accept: {left_standing}");
    let wait = handle.snapshot().listeners[0].kernel_wait;
    assert_eq!(wait.count, u64::from(CLIENTS) + WORKERS as u64, "{wait:?}");
    assert!(wait.p99 <= KERNEL_WAIT + seen.kept_from_running, "{wait:?} {seen:?}");

    for blocker in &blockers {
        assert_eq!(next_line(blocker).expect("it ends"), answer(&block));
    }
    for (number, client) in clients.iter().enumerate() {
        assert_eq!(next_line(client).expect("it is served"), answer(&format!("live {number}")));
    }
    drop((clients, blockers));
    let report = runtime.block_on(handle.drain(BOUND)).expect("nothing failed");
    assert_eq!(report.served.done, u64::from(CLIENTS) + WORKERS as u64, "{report}");
    assert!(report.is_balanced(), "{report}");
}
