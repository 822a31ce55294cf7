//! A server in a process of its own, which can be stopped, looked at and asked.
//!
//! Owns the process: it ends when this is dropped, and by itself when this process ends.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anteroom::Address;
use anteroom_testkit::{BOUND, eventually, eventually_gives};
use serde_json::Value;

use crate::machine::threads_named;

/// The process, and a conversation with it: a command a line, an answer a line.
///
/// The setup is one JSON object, every key of which may be left out: `listen` (an address, default
/// `127.0.0.1:0`), `backlog`, `config` (`anteroom::Config`), `workers` (default 2), `speaks_first`,
/// `events` (`unheard`: nobody listens), `admin` (a second lane), `signals`, and `log`: its events go to stdout as text then, and the conversation is held over stderr.
/// `src/server.rs` lists the commands.
pub struct ServerProcess {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<Box<dyn Read>>,
    log: Option<ChildStdout>,
    started: Value,
}

impl ServerProcess {
    /// Starts `program`, which is the test's `env!("CARGO_BIN_EXE_anteroom-test-server")`, and waits
    /// until it listens.
    #[must_use]
    pub fn start(program: &str, setup: &Value) -> Self {
        Self::start_under(&[], program, setup)
    }

    /// The same, by a program that starts programs, such as `prlimit` or `strace`.
    #[must_use]
    pub fn start_under(starter: &[&str], program: &str, setup: &Value) -> Self {
        let setup_text = setup.to_string();
        let mut words = starter.iter().copied().chain([program, &setup_text]);
        let mut command = Command::new(words.next().expect("at least the program"));
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let logs = setup["log"].as_bool().unwrap_or(false);
        if logs {
            command.stderr(Stdio::piped());
        }
        let mut process = command.spawn().expect("the server's program starts");
        let commands = process.stdin.take().expect("piped");
        let stdout = process.stdout.take().expect("piped");
        let (answers, log): (Box<dyn Read>, _) = match logs {
            true => (Box::new(process.stderr.take().expect("piped")), Some(stdout)),
            false => (Box::new(stdout), None),
        };
        let mut server =
            Self { process, commands, answers: BufReader::new(answers), log, started: Value::Null };
        server.started = server.answer();
        server
    }

    /// The pipe to which it writes its events, which nobody reads.
    #[must_use]
    pub fn log(&self) -> &ChildStdout {
        self.log.as_ref().expect("it was set up to log")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Address {
        let address = self.started["address"].as_str().expect("it tells its address");
        address.parse().expect("it can be read")
    }

    /// Where its admin lane listens.
    #[must_use]
    pub fn admin(&self) -> Address {
        let address = self.started["admin"].as_str().expect("it was set up with an admin lane");
        address.parse().expect("it can be read")
    }

    /// The backlog that the kernel granted.
    #[must_use]
    pub fn effective_backlog(&self) -> u64 {
        self.started["effective"].as_u64().expect("the platform tells")
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Gives a command and reads its answer.
    pub fn ask(&mut self, command: &str) -> Value {
        writeln!(self.commands, "{command}").expect("the server reads commands");
        self.answer()
    }

    /// `Handle::snapshot()`, as far as the tests need it.
    pub fn snapshot(&mut self) -> Value {
        self.ask("snapshot")
    }

    /// How often handlers were called, and by whom.
    pub fn calls(&mut self) -> Value {
        self.ask("calls")
    }

    /// The events of one target so far.
    pub fn events(&mut self, target: &str) -> Vec<Value> {
        let events = self.ask(&format!("events {target}"));
        events.as_array().expect("a list").clone()
    }

    /// All events so far.
    pub fn all_events(&mut self) -> Vec<Value> {
        self.ask("events").as_array().expect("a list").clone()
    }

    /// Changes these settings while it runs.
    ///
    /// # Panics
    /// When they cannot be meant.
    pub fn reconfigure(&mut self, settings: &Value) {
        let answer = self.ask(&format!("reconfigure {settings}"));
        assert_eq!(answer["error"], Value::Null, "{settings}");
    }

    /// Drains it, and gives the report.
    pub fn drain(&mut self, within: Duration) -> Value {
        self.ask(&format!("drain {}", within.as_millis()))
    }

    /// How many descriptors it has open.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("its descriptors").count()
    }

    /// Memory that it has in use, in KiB (proc_pid_status(5)).
    #[must_use]
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        kib.expect("its resident set")
    }

    /// Waits until the snapshot is as wanted, and gives it.
    pub fn eventually(&mut self, what: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        eventually(what, BOUND, || {
            last = self.snapshot();
            is_so(&last)
        });
        last
    }

    /// SIGSTOP, and waits until every thread of it has stopped.
    pub fn stop(&self) {
        self.signal("-STOP");
        eventually("every thread of the server has stopped", BOUND, || {
            self.thread_states().iter().all(|state| *state == 'T')
        });
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    /// Waits until it has ended; says whether a signal ended it.
    pub fn ends(&mut self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        eventually_gives("the server ends", BOUND, || self.process.try_wait().ok()?).signal().is_some()
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success(), "kill {signal}");
    }

    /// proc_pid_stat(5): the state stands behind the name, which may hold anything but the last `)`.
    fn thread_states(&self) -> Vec<char> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("its threads");
        let stats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
        stats.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next()).collect()
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the server answers");
        assert!(!line.is_empty(), "the server has ended: {:?}", self.process.try_wait());
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

/// The acceptor's thread in a process, as a directory of `/proc`. Waits until it has its name.
#[must_use]
pub fn acceptor_of(process: u32) -> PathBuf {
    let process = process.to_string();
    eventually_gives("the acceptor has its name", BOUND, || {
        let thread = *threads_named(&process, "anteroom-accept").first()?;
        Some(PathBuf::from(format!("/proc/{process}/task/{thread}")))
    })
}

/// How long a thread has been ready to run while others had the processors: the second number of
/// `schedstat` (sched-stats of the kernel's documentation), in nanoseconds. Nothing where it is not told.
#[must_use]
pub fn waited_for_a_processor(thread: &Path) -> Duration {
    let told = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    let nanos = told.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

impl fmt::Debug for ServerProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerProcess").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Stopped or not: SIGKILL ends it, and it may have ended by itself.
        let _ended_already = self.process.kill();
        let _reaped = self.process.wait();
    }
}
