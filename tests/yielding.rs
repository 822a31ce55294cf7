//! A loop that always has something to do lets others run: on a runtime of one thread nobody else
//! could make an end of it.

#![allow(clippy::expect_used, reason = "a test that cannot go on says so")]
#![expect(clippy::disallowed_methods, reason = "a program's own tasks start where it likes")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anteroom::{Connection, Incoming, Listener, Server};
use anteroom_tests::clients::{connect, read_to_end};
use anteroom_tests::waiting::{PATIENCE, until};
use tokio::sync::Notify;
use tower_service::Service;

const CONNECTIONS: usize = 1000;

/// Nobody is to be refused because the machine is slow.
const LONG: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "current_thread")]
async fn a_loop_that_accepts_lets_other_tasks_run_before_all_are_accepted() {
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    let mut incoming = Incoming::builder().max_wait(LONG).listen(listener).start().expect("it starts");
    let handle = incoming.handle();
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| connect(&address)).collect();
    // This blocks the runtime's only thread; the acceptor has its own.
    until("all wait", || handle.snapshot().waiting == CONNECTIONS);
    let ran = Arc::new(AtomicBool::new(false));
    let runs = Arc::clone(&ran);
    let other = tokio::spawn(async move { runs.store(true, Ordering::Release) });
    let mut accepted = 0;
    while accepted < CONNECTIONS && !ran.load(Ordering::Acquire) {
        incoming.accept().await.expect("the listener is well").expect("somebody waits");
        accepted += 1;
    }
    assert!(accepted < CONNECTIONS, "nobody else ran before the last was accepted");
    other.await.expect("it ran");
    drop(clients);
}

/// Wakes itself and is not ready, until a task of the same runtime makes it ready.
struct Impatient {
    asked: Arc<Notify>,
    ready: Arc<AtomicBool>,
    since: Option<Instant>,
    gave_up: Arc<AtomicBool>,
}

/// After this time nobody else has run, and the test is to fail instead of to hang.
const GIVE_UP: Duration = Duration::from_secs(20);

impl Service<Connection> for Impatient {
    type Response = ();
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<()>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.asked.notify_one();
        if self.ready.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        if self.since.get_or_insert_with(Instant::now).elapsed() > GIVE_UP {
            self.gave_up.store(true, Ordering::Release);
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, _: Connection) -> Self::Future {
        std::future::ready(Ok(()))
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_service_that_wakes_itself_and_is_not_ready_does_not_keep_the_worker() {
    let (asked, ready, gave_up) = (Arc::new(Notify::new()), Arc::default(), Arc::default());
    let impatient = Impatient {
        asked: Arc::clone(&asked),
        ready: Arc::clone(&ready),
        since: None,
        gave_up: Arc::clone(&gave_up),
    };
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    let server = Server::builder().max_wait(LONG).serve(listener, impatient).start().expect("it starts");
    let makes_it_ready = tokio::spawn(async move {
        asked.notified().await;
        ready.store(true, Ordering::Release);
    });
    let client = tokio::task::spawn_blocking(move || read_to_end(&connect(&address)));
    let told = tokio::time::timeout(PATIENCE, client).await.expect("in time").expect("it ends");
    assert_eq!(told.expect("it is served"), "");
    assert!(!gave_up.load(Ordering::Acquire), "the task that makes it ready did not run");
    makes_it_ready.await.expect("it ran");
    let report = server.handle().drain(PATIENCE).await.expect("a drain is no error");
    assert_eq!(report.served.done, 1, "{report}");
}
