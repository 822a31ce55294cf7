//! The server that tests stall as a process of its own, and ask what it thinks of it.
//!
//! Its argument is a setup in JSON, its first line tells where it listens, and it answers each line of its
//! input with a line of JSON until the input ends:
//!
//! - `stalls`: those of `Handle::snapshot`, as `stall_json.rs` writes them
//! - `readiness`: `ready` and `why` not
//! - `snapshot`: open, waiting, accepted, depth, slow_polls, polls, stalls, readiness
//! - `holding`: which connection's handler, or nobody's, holds which thread, as they themselves know it
//! - `events [TARGET]`: what was spoken so far
//! - `pause`, `resume`
//! - `hoard FILES`: holds that many files open, or as many as it gets; answers how many
//! - `occupy MILLIS`: as many tasks as there are workers, none of them the server's, sleep on their threads
//! - `drop_runtime`: shuts the runtime down under the server
//!
//! The setup: `listen`, `name`, `backlog`, `config`, `workers` (default 2), and `admin`, the address of an admin
//! listener, of which the first line tells where it is. With `"poll_ready": "never"` the
//! service never is. With `"poll_ready": MILLIS`, `"call": MILLIS` or `"filter": MILLIS` that part of it
//! sleeps on its thread when it is entered first. What handlers do their clients say, see `faults.rs`.
//!
//! The commands are read by a thread that is none of the runtime's: blocked workers do not hold them up.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "this is test code: a server that fails fails the test"
)]
#![forbid(unsafe_code)]

use std::future::Future;
use std::io::{self, BufRead};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anteroom::{Connection, Handle, Server, Verdict};
use anteroom_admin::Admin;
use anteroom_tests::events::Collected;
use anteroom_tests::faults::{Faults, obey};
use anteroom_tests::hoard::Hoard;
use anteroom_tests::setup;
use anteroom_tests::stall_json::{readiness, stalls};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower_service::Service;
use tracing_subscriber::layer::SubscriberExt;

/// What the runtime's workers are called.
const WORKER: &str = "app-worker";

fn main() {
    let mut setup = setup::of_this_program();
    if setup["name"].is_null() {
        setup["name"] = "main".into();
    }
    let events = Collected::default();
    let subscriber = tracing_subscriber::registry().with(events.clone());
    tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");

    let workers = usize::try_from(setup["workers"].as_u64().unwrap_or(2)).expect("a number of workers");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name(WORKER)
        .enable_all()
        .build()
        .expect("a runtime");
    let faults = Arc::new(Faults::default());
    let (server, mut started) = start(&setup, &runtime, &faults);
    let handle = server.handle();
    let admin = setup["admin"].as_str().map(|address| Admin::serve(&handle, address).expect("it starts"));
    if let Some(admin) = &admin {
        started["admin"] = admin.local_addr().to_string().into();
    }
    let mut runtime = Some(runtime);
    let mut hoard = Hoard::default();
    setup::say(&started);

    for command in io::stdin().lock().lines() {
        let command = command.expect("a command");
        let words = setup::words(&command);
        if let Some(answer) = setup::obey(words, &handle, &events, &mut hoard) {
            setup::say(&answer);
            continue;
        }
        let answer = match words {
            ("stalls", _) => stalls(&handle.snapshot()),
            ("readiness", _) => readiness(handle.readiness()),
            ("snapshot", _) => snapshot(&handle),
            ("holding", _) => faults.holding(),
            ("occupy", millis) => {
                let runtime = runtime.as_ref().expect("it is there");
                occupy(runtime, workers, time(millis), &faults);
                json!({})
            }
            ("drop_runtime", _) => {
                runtime.take().expect("it is dropped once").shutdown_background();
                json!({})
            }
            _ => panic!("no such command: {command}"),
        };
        setup::say(&answer);
    }
    drop(server);
    // Handlers that hold their worker are not waited for.
    if let Some(runtime) = runtime {
        runtime.shutdown_background();
    }
}

fn time(millis: &str) -> Duration {
    Duration::from_millis(millis.parse().expect("a number of milliseconds"))
}

fn start(setup: &Value, runtime: &Runtime, faults: &Arc<Faults>) -> (Server, Value) {
    let (listener, started) = setup::listener(setup);
    let config = setup::config(setup);
    let millis = |key: &str| setup[key].as_u64().map(Duration::from_millis);
    let service = Faulty {
        never_ready: setup["poll_ready"] == "never",
        poll_ready: millis("poll_ready"),
        call: millis("call"),
        faults: Arc::clone(faults),
    };
    let _inside = runtime.enter();
    let mut builder = Server::builder().config(config);
    if let Some(time) = millis("filter") {
        let (mut time, faults) = (Some(time), Arc::clone(faults));
        builder = builder.filter(move |_| {
            if let Some(time) = time.take() {
                faults.sleep(time, None);
            }
            Verdict::Admit
        });
    }
    (builder.serve(listener, service).start().expect("it starts"), started)
}

/// A service each part of which can go wrong, once.
struct Faulty {
    never_ready: bool,
    poll_ready: Option<Duration>,
    call: Option<Duration>,
    faults: Arc<Faults>,
}

impl Service<Connection> for Faulty {
    type Response = ();
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(time) = self.poll_ready.take() {
            self.faults.sleep(time, None);
        }
        match self.never_ready {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, connection: Connection) -> Self::Future {
        if let Some(time) = self.call.take() {
            self.faults.sleep(time, Some(connection.info().id()));
        }
        let faults = Arc::clone(&self.faults);
        Box::pin(async move { obey(connection, &faults).await })
    }
}

/// None of these is the server's: nobody who can be named holds the runtime.
fn occupy(runtime: &Runtime, workers: usize, time: Duration, faults: &Arc<Faults>) {
    for _ in 0..workers {
        let faults = Arc::clone(faults);
        runtime.spawn(async move { faults.sleep(time, None) });
    }
}

fn snapshot(handle: &Handle) -> Value {
    let snapshot = handle.snapshot();
    let listener = snapshot.listeners.first().expect("there is one listener");
    json!({
        "open": snapshot.open,
        "waiting": snapshot.waiting,
        "accepted": snapshot.report.accepted,
        "depth": listener.queue.and_then(|queue| queue.depth),
        "slow_polls": snapshot.lanes.iter().map(|lane| lane.slow_polls).sum::<u64>(),
        "polls": snapshot.poll_time.count,
        "stalls": stalls(&snapshot),
        "readiness": readiness(snapshot.readiness),
    })
}
