//! `kill -9` of either process at every step of a handover costs nobody whom the other one can serve.
//!
//! Each round has a load of newcomers, two clients that are being served, and some that wait in the room:
//! more than go along in one batch. What may be lost is known client by client: whom the killed process
//! had accepted, and had not passed on. Everybody else is answered.
//!
//! `ANTEROOM_ROUNDS=10` kills so often at each step, in each way; without it once must do.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is test code")]

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anteroom::HandoverStep as Step;
use anteroom::steps::Side;
use anteroom_load::client::Visit;
use anteroom_testkit::{Scratch, TcpState, tcp_sockets};
use anteroom_tests::arrivals::Arrivals;
use anteroom_tests::lineage::{Lineage, sockets_of, who_listens_at};
use anteroom_tests::promise::asked_for;
use anteroom_tests::waiting::{PATIENCE, until};
use rustix::process::Signal;
use serde_json::{Value, json};

const GENERATION: &str = env!("CARGO_BIN_EXE_anteroom-test-generation");

/// Newcomers per second.
const RATE: u32 = 300;

/// Served at a time by the lane in which the others wait.
const PLACES: usize = 2;

/// One message passes on 64 of them.
const WAITING: usize = 70;

/// Those who go along in the first batch at any rate, and those who go in the second: newcomers who wait
/// at that moment, too, may move the line between the two by some.
const FIRST_BATCH: Range<usize> = 0..48;
const SECOND_BATCH: Range<usize> = 66..WAITING;

/// A process that stands still has newcomers queue up in the kernel, if nobody else accepts them: so many
/// are to be there when it is killed, or so long is waited for them.
const QUEUED: u32 = 3;
const QUEUE_WITHIN: Duration = Duration::from_millis(30);

/// What a side waits for the other, in milliseconds, where that is to be in vain.
const SHORT: u64 = 300;

/// How the two find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Inheritance,
    Path,
}

/// How the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// By its own hand, the moment that it is there: the other one is still at work.
    Kill,
    /// It stands still there, the other one goes as far as it can, and then it is killed.
    Stop,
}

#[derive(Clone, Copy, Debug)]
struct Crash {
    by: By,
    step: Step,
    how: How,
}

fn rounds() -> usize {
    asked_for("ANTEROOM_ROUNDS", 1)
}

/// What becomes of the exchange when one side dies at a step.
impl Crash {
    fn victim(self) -> Side {
        self.step.side()
    }

    /// Steps that are reached only when the other side does not answer in time.
    fn needs_silence_of(self) -> Option<&'static str> {
        match self.step {
            Step::GivingUp | Step::EarClosed => Some("Begun"),
            Step::LosingPatience | Step::DeafEar => Some("HeldBack"),
            _ => None,
        }
    }

    /// The successor has not been offered anything, and the predecessor is dead: nobody is left.
    fn leaves_nobody(self) -> bool {
        self.step == Step::Began
    }

    /// Who of those that wait died with the victim, if he died.
    fn may_be_lost(self, client: usize) -> bool {
        let is_in_first = FIRST_BATCH.contains(&client);
        let is_in_second = SECOND_BATCH.contains(&client);
        match self.step {
            // The first batch was said to be the successor's, and died with it.
            Step::SentTaken | Step::Admitted => !is_in_second,
            // All of them were.
            Step::GotDone | Step::SentAlone => true,
            _ if self.victim() == Side::New => false,
            // The first batch has reached the successor.
            Step::SentConnections | Step::GotTaken | Step::LetGo => !is_in_first,
            Step::SentDone | Step::GotAlone | Step::HandedOver => false,
            _ => true,
        }
    }
}

/// The line of processes, those who load it, and those who wait.
struct Scene {
    crash: Crash,
    line: Lineage,
    setup: Value,
    path: PathBuf,
    _scratch: Scratch,
    old: u32,
    main: SocketAddr,
    waiting: Vec<TcpStream>,
    held: Vec<TcpStream>,
    load: Arrivals,
}

impl Scene {
    fn set(crash: Crash) -> Self {
        let scratch = Scratch::new();
        let path = scratch.join("handover");
        let mut setup = json!({
            "listen": [
                { "name": "main", "address": "127.0.0.1:0" },
                { "name": "slow", "address": "127.0.0.1:0", "places": PLACES },
            ],
            "config": { "max_wait": "5m", "order": "fifo", "share": { "exempt": ["127.0.0.1"] } },
        });
        if crash.by == By::Path {
            setup["handover"] = path.to_str().expect("a name").into();
        }
        let mut first = setup.clone();
        match (crash.victim(), crash.needs_silence_of()) {
            (Side::Old, None) => first["die"] = crash.death(),
            (Side::Old, Some(_)) => (first["die"], first["within"]) = (crash.death(), SHORT.into()),
            (_, Some(silent_at)) => first["die"] = json!({ "step": silent_at, "how": "stop" }),
            (_, None) => {}
        }
        first["successors"] = json!([crash.successor()]);
        let mut line = Lineage::of(GENERATION);
        let old = line.start(&first);
        let serving = line.tells(old, "serving");
        let (main, slow) = (address(&serving, "main"), address(&serving, "slow"));
        let held: Vec<_> = (0..PLACES).map(|_| client(slow, b'h')).collect();
        assert!(held.iter().all(|client| answered_by(client) == Some(old)));
        let waiting: Vec<_> = (0..WAITING).map(|_| client(slow, b'x')).collect();
        let all_wait = |told: &Value| told["listeners"]["slow"]["waiting"] == WAITING;
        line.becomes(old, "all of them wait", all_wait);
        let load = Arrivals::begin(main, RATE);
        Self { crash, line, setup, path, _scratch: scratch, old, main, waiting, held, load }
    }

    /// Starts a successor with these changes to the setup, by the means of this round.
    fn succeed(&mut self, changes: &Value) {
        match self.crash.by {
            By::Inheritance => self.line.signal(self.old, Signal::HUP),
            By::Path => {
                let mut successor = self.setup.clone();
                successor["connect"] = true.into();
                for (key, value) in changes.as_object().into_iter().flatten() {
                    successor[key] = value.clone();
                }
                self.line.start(&successor);
            }
        }
    }

    /// One of the two dies at the step; gives whom it had accepted.
    fn crash(&mut self) -> HashSet<u16> {
        self.succeed(&self.crash.successor());
        let step = self.crash.step.name();
        let at = self.line.hears(step, |line| line["event"] == "at" && line["step"] == step);
        let victim = process(&at);
        assert_eq!(victim == self.old, self.crash.victim() == Side::Old);
        match self.crash.how {
            How::Kill => {
                let accepted = at["accepted"].as_array().expect("a list").iter();
                accepted.map(|port| u16::try_from(port.as_u64().expect("a port")).expect("a port")).collect()
            }
            How::Stop => {
                self.line.has_stopped(victim);
                let since = Instant::now();
                while queued(self.main) < QUEUED && since.elapsed() < QUEUE_WITHIN {
                    std::thread::yield_now();
                }
                let accepted = sockets_of(victim).iter().map(SocketAddr::port).collect();
                self.line.signal(victim, Signal::KILL);
                accepted
            }
        }
    }

    /// The one that was silent goes on, now that the other one is dead.
    fn end_the_silence(&mut self) {
        let Some(step) = self.crash.needs_silence_of() else { return };
        let at = self.line.hears(step, |line| line["event"] == "at" && line["step"] == step);
        self.line.has_stopped(process(&at));
        self.line.signal(process(&at), Signal::CONT);
    }

    /// Who is left serves newcomers.
    fn serves(&mut self, process: u32) {
        assert_eq!(answered_by(&client(self.main, b'x')), Some(process), "{:?}", self.crash);
    }

    /// And hands over to the next.
    fn is_succeeded(&mut self) {
        let (by, died) = (self.crash.by, self.crash.victim());
        if (by, died) == (By::Inheritance, Side::New) {
            self.line.tells(self.old, "upgrade_failed");
        }
        if by == By::Path {
            self.wait_for_the_door();
        }
        self.succeed(&Value::Null);
        self.line.hears("the next one's service", |line| line["event"] == "serving");
        assert!(answered_by(&client(self.main, b'x')).is_some(), "{:?}", self.crash);
    }

    /// Until the one that is left can be asked at the path.
    fn wait_for_the_door(&self) {
        until("it can be asked", || who_listens_at(&self.path) == Some(self.old));
    }

    /// Nobody was lost but those who may be.
    fn judge(self, accepted: &HashSet<u16>) {
        let Self { crash, waiting, load, .. } = self;
        for (number, client) in waiting.iter().enumerate() {
            let lost = answered_by(client).is_none();
            assert!(!lost || crash.may_be_lost(number), "{crash:?}: the waiting client {number} was lost");
        }
        let came = load.end();
        let is_excused = |visit: &&Visit| visit.local.is_some_and(|own| accepted.contains(&own.port()));
        let lost: Vec<_> = came.failed().filter(|visit| !is_excused(visit)).collect();
        assert!(lost.is_empty(), "{crash:?}: {came}; lost: {lost:#?}");
    }
}

impl Crash {
    fn death(self) -> Value {
        let how = match self.how {
            How::Kill => "kill",
            How::Stop => "stop",
        };
        json!({ "step": self.step.name(), "how": how })
    }

    /// What is different in the successor that takes part in the crash.
    fn successor(self) -> Value {
        match (self.victim(), self.needs_silence_of()) {
            (Side::Old, None) => json!({}),
            (Side::Old, Some(silent_at)) => json!({ "die": { "step": silent_at, "how": "stop" } }),
            (_, None) => json!({ "die": self.death() }),
            (_, Some(_)) => json!({ "die": self.death(), "patience": SHORT }),
        }
    }
}

/// The successor had said that it was the only one, and the predecessor has believed it: it serves to the
/// end whom it has, and nobody is left for newcomers.
fn the_old_one_ends_well(mut scene: Scene) {
    scene.held.clear();
    let stopped = scene.line.tells(scene.old, "stopped");
    let report = &stopped["report"];
    let [accepted, handed_over, done] = ["accepted", "handed_over", "done"].map(|key| report[key].as_u64());
    // Newcomers who waited at that moment may have gone along.
    assert!(handed_over >= Some(WAITING as u64), "{stopped}");
    assert_eq!(done, accepted.zip(handed_over).map(|(accepted, gone)| accepted - gone), "{stopped}");
    assert_eq!((&report["balanced"], &stopped["error"]), (&json!(true), &Value::Null));
}

fn happens(crash: Crash) {
    let mut scene = Scene::set(crash);
    let accepted = scene.crash();
    if crash.step == Step::SentAlone {
        return the_old_one_ends_well(scene);
    }
    scene.end_the_silence();
    if crash.victim() == Side::New {
        return the_old_one_serves_on(scene, &accepted);
    }
    scene.line.is_gone(scene.old);
    if crash.leaves_nobody() {
        // Whoever was started ends with a clear error; there is nothing else to be had.
        if crash.by == By::Path {
            let told = scene.line.hears("the end of the successor", |line| line["event"] == "not_started");
            assert!(told["error"].as_str().expect("text").contains("went away"), "{told}");
        }
        return;
    }
    let serving = scene.line.hears("the successor's service", |line| line["event"] == "serving");
    let new = process(&serving);
    scene.serves(new);
    // It stands on its own feet: whoever comes next may succeed it.
    scene.old = new;
    scene.is_succeeded();
    scene.judge(&accepted);
}

fn the_old_one_serves_on(mut scene: Scene, accepted: &HashSet<u16>) {
    let failed = |line: &Value| line["target"] == "anteroom::handover_failed";
    let told = scene.line.hears("an event of the failure", failed);
    assert_eq!(process(&told), scene.old);
    scene.serves(scene.old);
    scene.is_succeeded();
    scene.judge(accepted);
}

/// Each step in each way, and who dies there.
fn at_every_step(by: By) {
    for round in 0..rounds() {
        for (index, &step) in Step::ALL.iter().enumerate() {
            let how = if (round + index).is_multiple_of(2) { How::Kill } else { How::Stop };
            happens(Crash { by, step, how });
        }
    }
}

#[test]
fn a_crash_at_any_step_of_an_upgrade_costs_nobody_whom_the_other_one_can_serve() {
    at_every_step(By::Inheritance);
}

#[test]
fn a_crash_at_any_step_of_a_handover_at_a_path_costs_nobody_whom_the_other_one_can_serve() {
    at_every_step(By::Path);
}

fn address(serving: &Value, name: &str) -> SocketAddr {
    serving["addresses"][name].as_str().expect("it listens").parse().expect("an address")
}

fn process(line: &Value) -> u32 {
    u32::try_from(line["pid"].as_u64().expect("a process id")).expect("a process id")
}

/// How many connections stand in the kernel's queue.
fn queued(listener: SocketAddr) -> u32 {
    let listens = |local| local == listener;
    let sockets = tcp_sockets();
    let found = sockets.iter().find(|socket| socket.state == TcpState::Listen && listens(socket.local));
    found.map_or(0, |socket| socket.receive_queue)
}

fn client(to: SocketAddr, request: u8) -> TcpStream {
    let mut client = TcpStream::connect(to).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
    client.write_all(&[request]).expect("the byte is sent");
    client
}

/// The process that answers; `None`: the connection has died.
fn answered_by(mut client: &TcpStream) -> Option<u32> {
    let mut answer = [0; 4];
    match client.read_exact(&mut answer) {
        Ok(()) => Some(u32::from_le_bytes(answer)),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nobody answers at all"),
        Err(_) => None,
    }
}
