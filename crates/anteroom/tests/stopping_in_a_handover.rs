//! A stop that is told while a handover is under way, on either side, in one process.

#![cfg(all(feature = "handover", feature = "test-util", target_os = "linux"))]
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test that cannot go on says so")]

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anteroom::steps::{Step, on_step};
use anteroom::{Config, Handle, HandoverSocket, Incoming, Listener, Order, Phase, Predecessor, Rate, Report};

const LONG: Duration = Duration::from_secs(20);

/// The hook is the process's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Old {
    incoming: Incoming,
    path: PathBuf,
    _socket: HandoverSocket,
    _alone: MutexGuard<'static, ()>,
}

impl Old {
    /// Takes until nobody comes any more; gives how many there were.
    fn takes_the_rest(&mut self) -> u64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut taken = 0;
            loop {
                let next = tokio::time::timeout(LONG, self.incoming.accept()).await.expect("in time");
                if next.expect("nothing failed").is_none() {
                    return taken;
                }
                taken += 1;
            }
        })
    }

    fn start(within: Duration) -> Self {
        Self::with(within, Config::default())
    }

    fn with(within: Duration, config: Config) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        on_step(|_, _| {});
        let name =
            format!("anteroom-stopping-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let listener = Listener::builder().name("public").bind("127.0.0.1:0").expect("it binds");
        let incoming = Incoming::builder().config(config).listen(listener).start().expect("it starts");
        let socket = incoming.handle().hand_over_on(&path, within).expect("it listens");
        Self { incoming, path, _socket: socket, _alone: alone }
    }

    fn handle(&self) -> Handle {
        self.incoming.handle()
    }

    fn succeeded_by(&self) -> Incoming {
        let mut predecessor = Predecessor::connect(&self.path, LONG).expect("it offers");
        let listener = predecessor.take("public").expect("it is offered");
        Incoming::builder().listen(listener).succeed(predecessor).start().expect("it starts")
    }

    fn waiting(&self, count: usize) -> Vec<TcpStream> {
        let address = self.incoming.local_addr().tcp().expect("it is TCP");
        let clients: Vec<_> = (0..count).map(|_| TcpStream::connect(address).expect("it connects")).collect();
        eventually(|| self.handle().snapshot().waiting == count);
        clients
    }
}

fn eventually(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "it does not come about");
        std::thread::yield_now();
    }
}

#[expect(clippy::result_large_err, reason = "it is the server's own")]
fn stopped(handle: &Handle) -> Result<Report, anteroom::ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(LONG, handle.stopped()).await.expect("it stops") })
}

/// Has the exchange wait at a step, until the answer is dropped; says when it is there.
fn hold_at(at: Step) -> (mpsc::Receiver<()>, mpsc::SyncSender<()>) {
    let (here, is_here) = mpsc::sync_channel(1);
    let (go_on, may_go_on) = mpsc::sync_channel::<()>(1);
    let may_go_on = Mutex::new(may_go_on);
    on_step(move |_, step| {
        if step == at {
            let _nobody_asks = here.send(());
            let _dropped = may_go_on.lock().unwrap_or_else(PoisonError::into_inner).recv();
        }
    });
    (is_here, go_on)
}

#[test]
fn nobody_hands_over_to_a_successor_that_stops_before_it_serves() {
    let old = Old::start(LONG);
    let (is_here, go_on) = hold_at(Step::Started);
    let new = old.succeeded_by();
    is_here.recv_timeout(LONG).expect("it comes there");
    drop(new.handle().drain(LONG));
    drop(go_on);
    let _failed = stopped(&new.handle());
    assert_eq!(old.handle().phase(), Phase::Serving);
}

#[test]
fn nobody_is_given_to_a_successor_that_has_stopped() {
    let old = Old::start(LONG);
    let _clients = old.waiting(3);
    let (is_here, go_on) = hold_at(Step::SentServing);
    let new = old.succeeded_by();
    is_here.recv_timeout(LONG).expect("it comes there");
    drop(new.handle().drain(Duration::from_millis(100)));
    let _report = stopped(&new.handle());
    drop(go_on);
    // One exchange at a time: the first is over when another may begin.
    eventually(|| old.handle().phase() > Phase::Serving || Predecessor::connect(&old.path, LONG).is_ok());
    // Who comes back is let in by the acceptor's next turn.
    eventually(|| old.handle().snapshot().waiting == 3);
    assert_eq!(old.handle().snapshot().report.handed_over, 0);
}

#[test]
fn a_drain_that_ends_before_the_successor_has_answered_has_a_balanced_report() {
    let old = Old::start(LONG);
    let _clients = old.waiting(3);
    let (is_here, go_on) = hold_at(Step::GotConnections);
    let _new = old.succeeded_by();
    is_here.recv_timeout(LONG).expect("it comes there");
    drop(old.handle().drain(Duration::from_millis(100)));
    let report = stopped(&old.handle()).expect("nothing failed");
    drop(go_on);
    assert!(report.is_balanced(), "{report:?}");
}

/// By the drain's deadline at the latest, and served here: there is time.
#[test]
fn who_comes_back_from_a_successor_during_a_drain_is_handed_out() {
    let mut old = Old::start(LONG);
    let _clients = old.waiting(3);
    let (is_here, go_on) = hold_at(Step::GotConnections);
    let new = old.succeeded_by();
    is_here.recv_timeout(LONG).expect("it comes there");
    drop(old.handle().drain(LONG));
    drop(new.handle().stop_now());
    drop(go_on);
    let handed_out = old.takes_the_rest();
    let report = stopped(&old.handle()).expect("nothing failed");
    assert_eq!(handed_out + report.handed_over, 3, "{report:?}");
}

/// The successor never became ready, and had the socket all the while.
#[test]
fn a_drain_during_a_handover_that_fails_leaves_nobody_to_be_reset() {
    let mut config = Config::default();
    // Nobody takes for a while: that is no overload.
    config.order = Order::Fifo;
    let mut old = Old::with(LONG, config);
    let address = old.incoming.local_addr().tcp().expect("it is TCP");
    let predecessor = Predecessor::connect(&old.path, LONG).expect("it offers");
    let handle = old.handle();
    drop(handle.drain(LONG));
    let client = TcpStream::connect(address).expect("it listens: the successor may still take over");
    eventually(|| handle.snapshot().waiting == 1);
    drop(predecessor);
    let handed_out = old.takes_the_rest();
    assert_eq!(handed_out, 1);
    let read = (&client).read(&mut [0]);
    assert!(read.is_ok(), "it was connected, and {read:?}");
    assert!(stopped(&handle).is_ok_and(|report| report.is_balanced() && report.accepted == 1));
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

/// As if nothing had been: a source's rate is for those who come, not for those who come back.
#[test]
fn who_comes_back_from_a_successor_is_not_refused_for_having_been_here() {
    let mut config = Config::default();
    config.share.per_second = Some(Rate::per_second(1).burst(3));
    let old = Old::with(LONG, config);
    let _clients = old.waiting(3);
    let (is_here, go_on) = hold_at(Step::GotConnections);
    let new = old.succeeded_by();
    is_here.recv_timeout(LONG).expect("it comes there");
    drop(new.handle().stop_now());
    drop(go_on);
    let snapshot = || old.handle().snapshot();
    eventually(|| snapshot().waiting > 0 || snapshot().report.refused.total() > 0);
    let snapshot = snapshot();
    assert_eq!((snapshot.report.refused.rate, snapshot.waiting), (0, 3));
}

/// The kernel does not tell how long a Unix client has waited, and then it counts from its acceptance.
#[test]
fn who_waited_on_a_unix_socket_goes_along_with_its_age() {
    let mut config = Config::default();
    config.max_wait = Duration::from_secs(3600);
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    on_step(|_, _| {});
    let base = std::env::temp_dir().join(format!("anteroom-ages-{}", std::process::id()));
    let listener = Listener::builder().name("public");
    let listener = listener.bind(format!("unix:{}.s", base.display())).expect("it binds");
    let old = Incoming::builder().config(config.clone()).listen(listener).start().expect("it starts");
    let _socket = old.handle().hand_over_on(&base, LONG).expect("it listens");
    let _client = UnixStream::connect(base.with_extension("s")).expect("it connects");
    let age = Duration::from_millis(300);
    eventually(|| old.handle().snapshot().oldest_wait.is_some_and(|wait| wait >= age));
    let mut predecessor = Predecessor::connect(&base, LONG).expect("it offers");
    let listener = predecessor.take("public").expect("it is offered");
    let new = Incoming::builder().config(config).listen(listener).succeed(predecessor).start().expect("well");
    stopped(&old.handle()).expect("nothing failed");
    eventually(|| new.handle().snapshot().waiting == 1);
    let waited = new.handle().snapshot().oldest_wait;
    assert!(waited.is_some_and(|wait| wait >= age), "{waited:?}");
    drop(alone);
}
