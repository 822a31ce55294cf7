//! One generation of a server that hands over to the next: tests start the first one, and stop, kill
//! and replace any of them.
//!
//! Its argument is a setup in JSON; what it has to say is a line of JSON each, with its `pid` and the
//! `event`, in the one pipe that all generations write to as stdout. It ends when nobody reads that.
//!
//! - `listen`: `[{"name", "address", "places"}]`, a lane each; the addresses are bound by the first
//!   generation and taken over by all others
//! - `handover`: the path at which it offers itself to successors; with `connect` it takes over there
//! - `config`: `anteroom::Config`; `within`: milliseconds for a handover
//! - `successors`: what is to be changed in the setup of the successor that the first SIGHUP starts, the
//!   second, and so on; afterwards nothing is. `program`: another program with its arguments
//! - `patience`: milliseconds that it waits for a predecessor that has told it to go
//! - `fault`: `exit` (at once), `idle` (never ready), `leave_out` (all but the first listener), `leave`
//!   (the same, on purpose)
//! - `die`: `{"step", "how"}`: it ends at that step of its part of a handover, by SIGKILL (`kill`), or
//!   stops itself there, so that the test can look at it and kill it, or let it go on (`stop`)
//!
//! A client sends a byte and is answered with the process id, four bytes. After `h` it keeps its place
//! until it leaves, also through a drain; after any other the server closes.
//!
//! Signals: SIGHUP starts a successor, SIGUSR1 tells a snapshot, SIGUSR2 pauses or resumes, SIGTERM
//! shuts down.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is test code: a server that fails fails the test"
)]
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anteroom::steps::{Side, Step, on_step, set_patience};
use anteroom::{
    Accepting, Connection, Handle, HandoverSocket, Lane, Listener, Phase, Predecessor, Report, Server,
    Signals, service_fn,
};
use anteroom_tests::lineage::sockets_of;
use anteroom_tests::waiting::{becomes, until};
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;

/// For the hook, which may be called before the server is started.
static HANDLE: OnceLock<Handle> = OnceLock::new();

static UPGRADES: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// It was stopped, and SIGCONT came.
static GOES_ON: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    thread::spawn(end_with_the_reader);
    let argument = std::env::args().nth(1).expect("a setup");
    let setup: Value = serde_json::from_str(&argument).unwrap_or_else(|error| panic!("{error}: {argument}"));
    if setup["fault"] == "exit" {
        return ExitCode::from(3);
    }
    let subscriber = tracing_subscriber::registry().with(Spoken);
    tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
    arm(&setup["die"]);
    if let Some(millis) = setup["patience"].as_u64() {
        set_patience(Duration::from_millis(millis));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.expect("a runtime").block_on(serve(&setup)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say("not_started", &json!({ "error": told(&*error) }));
            ExitCode::FAILURE
        }
    }
}

/// One write for a line: generations do not interrupt each other (pipe(7), PIPE_BUF).
fn say(event: &str, more: &Value) {
    let mut line = json!({ "pid": std::process::id(), "event": event });
    for (key, value) in more.as_object().into_iter().flatten() {
        line[key] = value.clone();
    }
    let line = format!("{line}\n");
    assert!(line.len() <= 4096, "too long for one write: {line}");
    if rustix::io::write(io::stdout(), line.as_bytes()) != Ok(line.len()) {
        end_now();
    }
}

fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

/// The test may be killed, and this process is often not its child.
fn end_with_the_reader() {
    let stdout = io::stdout();
    // Asked for nothing, it tells of nothing but the end of whoever reads.
    let mut pipe = [PollFd::new(&stdout, PollFlags::empty())];
    while !matches!(rustix::event::poll(&mut pipe, None), Ok(1..)) {}
    end_now();
}

fn end_now() {
    kill_process(rustix::process::getpid(), Signal::KILL).expect("a process may end itself");
}

// ---------------------------------------------------------------- serving

async fn serve(setup: &Value) -> Result<(), Box<dyn std::error::Error>> {
    let mut goes_on = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
    let note = async move {
        goes_on.recv().await;
        GOES_ON.store(true, Ordering::Release);
    };
    #[expect(clippy::disallowed_methods, reason = "a program of its own, not the library")]
    let _task = tokio::spawn(note);
    let within = Duration::from_millis(setup["within"].as_u64().unwrap_or(30_000));
    let path = setup["handover"].as_str().map(Path::new);
    let mut predecessor = match (setup["connect"] == true, path) {
        (true, Some(path)) => Some(Predecessor::connect(path, within)?),
        _ => Predecessor::inherited()?,
    };
    if setup["fault"] == "idle" {
        say("idle", &Value::Null);
        loop {
            thread::park();
        }
    }
    let mut builder = Server::builder();
    if let Some(config) = setup.get("config") {
        builder = builder.config(serde_json::from_value(config.clone())?);
    }
    let (mut addresses, mut inodes) = (BTreeMap::new(), BTreeMap::new());
    for (index, listen) in setup["listen"].as_array().expect("listeners").iter().enumerate() {
        let name = listen["name"].as_str().expect("a name");
        if let (1.., Some(fault)) = (index, setup["fault"].as_str()) {
            if let ("leave", Some(predecessor)) = (fault, &mut predecessor) {
                predecessor.leave(name);
            }
            continue;
        }
        let listener = match &mut predecessor {
            Some(predecessor) => predecessor.take(name).ok_or(format!("no listener {name} is offered"))?,
            None => Listener::builder().name(name).bind(listen["address"].as_str().expect("an address"))?,
        };
        addresses.insert(name.to_owned(), listener.local_addr().to_string());
        inodes.insert(name.to_owned(), rustix::fs::fstat(listener.as_fd())?.st_ino);
        let mut lane = Lane::new(listener);
        if let Some(places) = listen["places"].as_u64() {
            lane = lane.max_connections(usize::try_from(places)?);
        }
        builder = builder.serve(lane, service_fn(answer));
    }
    let has_predecessor = predecessor.is_some();
    if let Some(predecessor) = predecessor {
        builder = builder.succeed(predecessor);
    }
    let server = builder.start()?;
    let handle = HANDLE.get_or_init(|| server.handle()).clone();
    let offer = path.map(|path| handle.hand_over_on(path, within)).transpose()?;
    let _signals = obey(&handle, setup.clone(), within)?;
    say("started", &json!({ "succeeds": has_predecessor }));
    tokio::select! {
        () = becomes("it serves", || handle.phase() != Phase::Starting) => {}
        _ = handle.stopped() => {}
    }
    if handle.phase() < Phase::Draining {
        say("serving", &json!({ "addresses": addresses, "inodes": inodes }));
    }
    end(server, offer).await;
    Ok(())
}

async fn end(server: Server, offer: Option<HandoverSocket>) {
    let (report, error) = match server.await {
        Ok(report) => (report, Value::Null),
        Err(error) => (error.report().clone(), told(&error).into()),
    };
    let wait = move || {
        drop(offer);
        for upgrade in UPGRADES.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            upgrade.join().expect("it tells how it went");
        }
    };
    tokio::task::spawn_blocking(wait).await.expect("it does not panic");
    say("stopped", &json!({ "report": account(&report), "error": error }));
}

async fn answer(mut connection: Connection) -> io::Result<()> {
    let request = connection.read_u8().await?;
    connection.write_all(&std::process::id().to_le_bytes()).await?;
    if request == b'h' {
        // Until the client's end, or its reset.
        let _left = connection.read(&mut [0]).await;
    }
    Ok(())
}

fn account(report: &Report) -> Value {
    json!({
        "accepted": report.accepted,
        "served": report.served.total(),
        "done": report.served.done,
        "refused": report.refused.total(),
        "dead": report.dead_on_arrival.total(),
        "handed_over": report.handed_over,
        "balanced": report.is_balanced(),
    })
}

fn snapshot(handle: &Handle) -> Value {
    let snapshot = handle.snapshot();
    let listeners = snapshot.listeners.iter().map(|listener| {
        let told = json!({
            "waiting": listener.waiting,
            "open": listener.open,
            "depth": listener.queue.and_then(|queue| queue.depth),
            "accepting": format!("{:?}", listener.accepting),
            "room_wait_count": listener.room_wait.count,
            "room_wait_max": u64::try_from(listener.room_wait.max.as_micros()).unwrap_or(u64::MAX),
        });
        (listener.name.clone(), told)
    });
    json!({
        "phase": snapshot.phase.label(),
        "report": account(&snapshot.report),
        "listeners": listeners.collect::<serde_json::Map<_, _>>(),
    })
}

// ---------------------------------------------------------------- signals

fn obey(handle: &Handle, mut setup: Value, within: Duration) -> io::Result<Signals> {
    let (mut usr1, mut usr2) = (signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?);
    let asked = handle.clone();
    let tell = async move {
        while usr1.recv().await.is_some() {
            say("snapshot", &snapshot(&asked));
        }
    };
    let paused = handle.clone();
    let pause = async move {
        let mut is_paused = false;
        while usr2.recv().await.is_some() {
            is_paused = !is_paused;
            if is_paused { paused.pause() } else { paused.resume() }
        }
    };
    #[expect(clippy::disallowed_methods, reason = "a program of its own, not the library")]
    let _tasks = (tokio::spawn(tell), tokio::spawn(pause));
    Signals::install_with(handle, move |handle| {
        let command = successor(&mut setup);
        let upgrade = handle.upgrade(command, within);
        // The next signal is not to wait, but this process's end is.
        let telling = thread::spawn(move || match upgrade.wait() {
            Ok(upgraded) => say(
                "upgraded",
                &json!({
                    "successor": upgraded.pid(),
                    "took": upgraded.handed_over(),
                    "kept": upgraded.kept().map(|error| told(error)),
                }),
            ),
            Err(error) => say("upgrade_failed", &json!({ "error": told(&error) })),
        });
        UPGRADES.lock().unwrap_or_else(PoisonError::into_inner).push(telling);
    })
}

/// The same program with the same argument, but for what the setup says of this successor.
fn successor(setup: &mut Value) -> Command {
    let mut next = setup.clone();
    let object = next.as_object_mut().expect("a setup");
    for key in ["successors", "fault", "die", "patience", "connect"] {
        object.remove(key);
    }
    let changes = setup["successors"].as_array_mut().filter(|list| !list.is_empty());
    if let Some(Value::Object(changes)) = changes.map(|list| list.remove(0)) {
        object.extend(changes);
    }
    let mut command = match next["program"].as_array() {
        Some(words) => {
            let mut words = words.iter().map(|word| word.as_str().expect("a word"));
            let mut command = Command::new(words.next().expect("a program"));
            command.args(words);
            command
        }
        None => {
            let mut command = Command::new(std::env::current_exe().expect("its own path"));
            command.arg(next.to_string());
            command
        }
    };
    command.stdin(Stdio::null());
    command
}

// ---------------------------------------------------------------- ends

/// Ends this process at one step, or stops it there the first time.
fn arm(die: &Value) {
    let Some(step) = die["step"].as_str() else { return };
    let wanted = Step::ALL.iter().copied().find(|known| known.name() == step);
    let wanted = wanted.unwrap_or_else(|| panic!("there is no step {step}"));
    let how = die["how"].as_str().expect("how to end").to_owned();
    let is_first = AtomicBool::new(true);
    on_step(move |side: Side, step: Step| {
        if step == wanted && side == wanted.side() && is_first.swap(false, Ordering::AcqRel) {
            die_at(step, &how);
        }
    });
}

fn die_at(step: Step, how: &str) {
    let this = rustix::process::getpid();
    if how == "stop" {
        say("at", &json!({ "step": step.name() }));
        kill_process(this, Signal::STOP).expect("a process may stop itself");
        return until("it is let go on", || GOES_ON.load(Ordering::Acquire));
    }
    // Whom it has accepted dies with it: the acceptor goes no further, so that this can be told.
    if step != Step::GotOffer {
        stop_accepting();
    }
    let accepted: Vec<u16> = sockets_of(pid(this)).iter().map(|client| client.port()).collect();
    say("at", &json!({ "step": step.name(), "accepted": accepted }));
    end_now();
}

fn pid(of: Pid) -> u32 {
    u32::try_from(of.as_raw_nonzero().get()).expect("process ids are positive")
}

/// When this returns, the acceptor is between two turns, and accepts nobody in those that follow.
fn stop_accepting() {
    until("the server is started", || HANDLE.get().is_some());
    let handle = HANDLE.get().expect("it is started");
    handle.pause();
    until("nobody is accepted any more", || {
        handle.snapshot().listeners.iter().all(|listener| listener.accepting != Accepting::Yes)
    });
}

/// Every event of a handover, as it is spoken.
struct Spoken;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Spoken {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let target = event.metadata().target();
        if target.starts_with("anteroom::hand") || target.starts_with("anteroom::fence") {
            let mut text = Text(String::new());
            event.record(&mut text);
            text.0.truncate(2_000);
            say("told", &json!({ "target": target, "text": text.0 }));
        }
    }
}

struct Text(String);

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write as _;
        write!(self.0, "{field}={value:?} ").expect("memory is enough");
    }
}
