//! The server that tests start as a process of its own, to stop, starve and trace it.
//!
//! Its argument is a setup in JSON, its first line tells where it listens, and it answers each line of
//! its input with a line of JSON until the input ends:
//!
//! - `snapshot`: depth, limit, drops, accepting and why not, open, waiting, silent, farewells, sources,
//!   errors of accept, the report so far, waits in microseconds
//! - `calls`: how often handlers were called, by kind, and how many block their worker now
//! - `events [TARGET]`: what was spoken so far
//! - `pause`, `resume`
//! - `reconfigure CONFIG`: changes the settings that the JSON object names; answers `error`
//! - `hoard FILES`: holds that many files open, or as many as it gets; answers how many
//! - `grab THREADS`: that many threads take every descriptor that becomes free, until the next `hoard`
//! - `reloading`, `reloaded`, `store`: as the methods of `Notifier`; answers `error`
//! - `drain MILLIS`: drains, and gives the report, `error` in it when the server failed
//!
//! With `"admin"` in the setup there is a second lane, which speaks as the first; its keys are those of
//! [`Lane`]: `max_connections`, `max_waiting`, `set_aside`. The first line tells its address, too.
//! With `"name"` the first listener is called so. With `"notify": true` a `Notifier` informs the manager
//! that the environment names. With `"filter_blocks": MILLIS` the filter takes so long for each client.
//! With `"events": "unheard"` in the setup nobody listens to the events: kept, they are the most of its memory.
//! With `"signals": true` it stops as signals tell it, and speaks an event `hangup` at SIGHUP.
//! With `"log": true` in the setup the events go to stdout, as text, and the answers to stderr.
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

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::time::Duration;

use anteroom::systemd::Notifier;
use anteroom::{
    Connection, Deaths, Distribution, Handle, Lane, Listener, Report, Server, Signals, Verdict, service_fn,
};
use anteroom_tests::events::Collected;
use anteroom_tests::hoard::Hoard;
use anteroom_tests::lines::{Calls, greet, speak};
use anteroom_tests::setup;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tracing_subscriber::layer::SubscriberExt;

fn main() {
    let setup = setup::of_this_program();
    let events = Collected::default();
    let logs = setup["log"].as_bool().unwrap_or(false);
    let text = logs.then(|| tracing_subscriber::fmt::layer().with_writer(io::stdout));
    if setup["events"] != json!("unheard") {
        let subscriber = tracing_subscriber::registry().with(events.clone()).with(text);
        tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
    }
    let say = if logs { say_aside } else { setup::say };

    let workers = setup["workers"].as_u64().unwrap_or(2);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(usize::try_from(workers).expect("a number of workers"))
        .enable_all()
        .build()
        .expect("a runtime");
    let calls = Arc::new(Calls::default());
    let (server, started) = start(&setup, &runtime, &calls);
    let handle = server.handle();
    let signals = || {
        let hangup = |_: &Handle| tracing::info!(target: "hangup", "SIGHUP");
        Signals::install_with(&handle, hangup).expect("signals can be heard")
    };
    let _signals = setup["signals"].as_bool().unwrap_or(false).then(signals);
    // Whoever reads this may send a signal at once.
    say(&started);
    let mut hoard = Hoard::default();
    let notifier = setup["notify"].as_bool().unwrap_or(false).then(|| {
        let _inside = runtime.enter();
        Notifier::start(&handle).expect("the manager can be reached").expect("there is a manager")
    });
    let notifier = notifier.as_ref();

    for command in io::stdin().lock().lines() {
        let command = command.expect("a command");
        let words = setup::words(&command);
        if let Some(answer) = setup::obey(words, &handle, &events, &mut hoard) {
            say(&answer);
            continue;
        }
        let answer = match words {
            ("snapshot", _) => snapshot(&handle),
            ("calls", _) => calls.to_json(),
            ("reconfigure", settings) => reconfigure(&handle, settings),
            ("grab", threads) => {
                json!({ "threads": hoard.grab(threads.parse().expect("a number of threads")) })
            }
            ("reloading", _) => done(notifier.map(Notifier::reloading)),
            ("reloaded", _) => done(notifier.map(Notifier::reloaded)),
            ("store", _) => done(notifier.map(|notifier| notifier.store().map(drop))),
            ("drain", millis) => drain(&runtime, &handle, millis),
            _ => panic!("no such command: {command}"),
        };
        say(&answer);
    }
    drop(server);
    // Handlers that block their worker are not waited for.
    runtime.shutdown_background();
}

fn say_aside(answer: &Value) {
    writeln!(io::stderr().lock(), "{answer}").expect("somebody reads");
}

fn done(told: Option<io::Result<()>>) -> Value {
    let told = told.expect("it was set up to notify");
    json!({ "error": told.err().map(|error| error.to_string()) })
}

fn start(setup: &Value, runtime: &Runtime, calls: &Arc<Calls>) -> (Server, Value) {
    let (listener, started) = setup::listener(setup);
    let config = setup::config(setup);
    let speaks_first = setup["speaks_first"].as_bool().unwrap_or(false);
    let (calls, in_filter) = (Arc::clone(calls), Arc::clone(calls));
    let service = service_fn(move |connection: Connection| {
        calls.count();
        let calls = Arc::clone(&calls);
        async move {
            match speaks_first {
                true => greet(connection, &calls).await,
                false => speak(connection, &calls).await,
            }
        }
    });
    let _inside = runtime.enter();
    let mut builder = Server::builder().config(config);
    if let Some(millis) = setup["filter_blocks"].as_u64() {
        builder = builder.filter(move |_| {
            in_filter.block(Duration::from_millis(millis));
            Verdict::Admit
        });
    }
    let admin = setup.get("admin").map(admin_lane);
    match admin {
        None => (builder.serve(listener, service).start().expect("it starts"), started),
        Some((lane, address)) => {
            let mut started = started;
            started["admin"] = address.into();
            let builder = builder.serve(listener, service.clone()).serve(lane, service);
            (builder.start().expect("it starts"), started)
        }
    }
}

/// A lane with what the setup says, and where it listens.
fn admin_lane(setup: &Value) -> (Lane, String) {
    let listener = Listener::builder().name("admin").bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().to_string();
    let number =
        |key: &str| setup[key].as_u64().map(|number| usize::try_from(number).expect("a number of sockets"));
    let mut lane = Lane::new(listener);
    if let Some(places) = number("max_connections") {
        lane = lane.max_connections(places);
    }
    if let Some(waiting) = number("max_waiting") {
        lane = lane.max_waiting(waiting);
    }
    if let Some(sockets) = number("set_aside") {
        lane = lane.set_aside(sockets);
    }
    (lane, address)
}

/// The other settings stay what they are.
fn reconfigure(handle: &Handle, settings: &str) -> Value {
    let settings: Value = serde_json::from_str(settings).expect("settings");
    let changed = handle.reconfigure(|config| {
        let mut all = serde_json::to_value(&*config).expect("settings can be written");
        for (key, value) in settings.as_object().expect("an object of settings") {
            all[key] = value.clone();
        }
        *config = serde_json::from_value(all).expect("settings");
    });
    json!({ "error": changed.err().map(|error| error.to_string()) })
}

fn snapshot(handle: &Handle) -> Value {
    let snapshot = handle.snapshot();
    let listener = snapshot.listeners.first().expect("there is one listener");
    json!({
        "phase": snapshot.phase.label(),
        "depth": listener.queue.and_then(|queue| queue.depth),
        "limit": listener.queue.and_then(|queue| queue.limit),
        "drops": listener.queue.and_then(|queue| queue.drops),
        "open": snapshot.open,
        "waiting": snapshot.waiting,
        "silent": snapshot.silent,
        "farewells": snapshot.farewells,
        "sources": snapshot.sources,
        "accepting": format!("{:?}", listener.accepting),
        "events_lost": snapshot.events_lost,
        "accept_errors": listener.accept_errors.iter().map(|(_, count)| count).sum::<u64>(),
        "kernel_wait": distribution(listener.kernel_wait),
        "room_wait": distribution(listener.room_wait),
        "report": report(&snapshot.report),
    })
}

fn drain(runtime: &Runtime, handle: &Handle, millis: &str) -> Value {
    let within = Duration::from_millis(millis.parse().expect("a number of milliseconds"));
    match runtime.block_on(handle.drain(within)) {
        Ok(ended) => report(&ended),
        Err(error) => {
            let mut ended = report(error.report());
            ended["error"] = error.to_string().into();
            ended
        }
    }
}

fn report(report: &Report) -> Value {
    let Report { served, refused, dead_on_arrival, .. } = report;
    json!({
        "accepted": report.accepted,
        "balanced": report.is_balanced(),
        "served": {
            "total": served.total(),
            "done": served.done,
            "failed": served.failed,
            "panicked": served.panicked,
            "cut": served.cut,
        },
        "refused": {
            "total": refused.total(),
            "full": refused.full,
            "too_old": refused.too_old,
            "probably_left": refused.probably_left,
            "denied": refused.denied,
            "closed": refused.closed,
            "resources": refused.resources,
            "hopeless": refused.hopeless,
            "share": refused.share,
            "rate": refused.rate,
            "early": refused.early,
            "silent": refused.silent,
            "user": refused.user,
        },
        "dead": {
            "total": dead_on_arrival.total(),
            "in_queue": deaths(&dead_on_arrival.in_queue),
            "in_room": deaths(&dead_on_arrival.in_room),
        },
    })
}

fn deaths(deaths: &Deaths) -> Value {
    json!({ "silent": deaths.silent, "gone": deaths.gone, "reset": deaths.reset })
}

fn distribution(of: Distribution) -> Value {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    json!({
        "count": of.count,
        "p50": micros(of.p50),
        "p99": micros(of.p99),
        "max": micros(of.max),
    })
}
