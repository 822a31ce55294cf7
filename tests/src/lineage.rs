//! A server and its successors, as processes: started, told, stopped and killed by a test.
//!
//! Owns every process of the line, also those that another one of it has started: they end when this is
//! dropped. Never signals a process that has not said on its pipe that it belongs here, or was started
//! here.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anteroom_testkit::tcp_sockets;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, waitpid};
use serde_json::Value;

use crate::waiting::{PATIENCE, found, until};

/// Far more lines than a test lets stand unread.
const LINES: usize = 100_000;

/// The processes, and what they say.
#[derive(Debug)]
pub struct Lineage {
    program: &'static str,
    pipe: PipeWriter,
    told: Receiver<Value>,
    /// Said, and not asked for yet.
    kept: Vec<Value>,
    children: BTreeMap<u32, Child>,
    /// All that have ever spoken, or were started here, and may still run.
    processes: BTreeSet<u32>,
}

impl Lineage {
    /// Nobody yet. `program` is the test's `env!("CARGO_BIN_EXE_anteroom-test-generation")`.
    ///
    /// # Panics
    /// When there is no pipe or thread to be had.
    #[must_use]
    pub fn of(program: &'static str) -> Self {
        // Who was started by one that has ended becomes our child, whose end we can see.
        set_child_subreaper(Some(rustix::process::getpid())).expect("children of children are ours");
        let (reader, pipe) = std::io::pipe().expect("a pipe");
        let (say, told) = sync_channel(LINES);
        thread::spawn(move || hear(reader, &say));
        let (children, processes) = (BTreeMap::new(), BTreeSet::new());
        Self { program, pipe, told, kept: Vec::new(), children, processes }
    }

    /// Starts a process that is nobody's successor by birth; gives its id.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&mut self, setup: &Value) -> u32 {
        let out = self.pipe.try_clone().expect("a descriptor");
        let mut command = Command::new(self.program);
        command.arg(setup.to_string()).stdin(Stdio::null()).stdout(out);
        let child = command.spawn().expect("the program starts");
        let process = child.id();
        self.children.insert(process, child);
        self.processes.insert(process);
        process
    }

    /// The next line that `is_it`; others are kept.
    ///
    /// # Panics
    /// When it does not come.
    pub fn hears(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let since = Instant::now();
        if let Some(place) = self.kept.iter().position(&is_it) {
            return self.kept.remove(place);
        }
        loop {
            let left = PATIENCE.saturating_sub(since.elapsed());
            match self.told.recv_timeout(left) {
                Ok(line) => {
                    self.note(&line);
                    if is_it(&line) {
                        return line;
                    }
                    self.kept.push(line);
                }
                Err(RecvTimeoutError::Timeout) => panic!("waited in vain for {what}; heard {:#?}", self.kept),
                Err(RecvTimeoutError::Disconnected) => panic!("nobody is left to hear; {what}"),
            }
        }
    }

    /// The next line in which `process` tells this event.
    pub fn tells(&mut self, process: u32, event: &str) -> Value {
        self.hears(&format!("{event} by {process}"), |line| line["pid"] == process && line["event"] == event)
    }

    /// What was said so far and not asked for.
    pub fn unasked(&mut self) -> &[Value] {
        while let Ok(line) = self.told.try_recv() {
            self.note(&line);
            self.kept.push(line);
        }
        &self.kept
    }

    fn note(&mut self, line: &Value) {
        if let Some(process) = line["pid"].as_u64().and_then(|process| u32::try_from(process).ok()) {
            self.processes.insert(process);
        }
    }

    /// What a process says of itself now.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn snapshot(&mut self, process: u32) -> Value {
        self.signal(process, Signal::USR1);
        self.tells(process, "snapshot")
    }

    /// Waits until the snapshot is as wanted, and gives it.
    ///
    /// # Panics
    /// When it never is.
    pub fn becomes(&mut self, process: u32, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        found(what, || Some(self.snapshot(process)).filter(|snapshot| is_so(snapshot)))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is not of this line, or has ended.
    pub fn signal(&self, process: u32, signal: Signal) {
        assert!(self.processes.contains(&process), "{process} is a stranger");
        kill_process(pid(process), signal).unwrap_or_else(|error| panic!("{signal:?} to {process}: {error}"));
    }

    /// Waits until each of its threads has stopped.
    ///
    /// # Panics
    /// When they never do.
    pub fn has_stopped(&self, process: u32) {
        until("every thread has stopped", || thread_states(process).iter().all(|state| *state == 'T'));
    }

    /// SIGTERM, and the report of its end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn shut_down(&mut self, process: u32) -> Value {
        self.signal(process, Signal::TERM);
        let stopped = self.tells(process, "stopped");
        self.is_gone(process);
        stopped["report"].clone()
    }

    /// Waits until no such process exists, and lets nothing of it remain.
    ///
    /// # Panics
    /// When it stays.
    pub fn is_gone(&mut self, process: u32) {
        until("the process is gone", || self.try_reap(process));
        self.processes.remove(&process);
    }

    /// Whether it has ended and nothing of it remains.
    fn try_reap(&mut self, process: u32) -> bool {
        let reaped = match self.children.get_mut(&process) {
            Some(child) => child.try_wait().is_ok_and(|status| status.is_some()),
            None => matches!(waitpid(Some(pid(process)), WaitOptions::NOHANG), Ok(Some(_))),
        };
        if reaped {
            self.children.remove(&process);
        }
        reaped || !fs::exists(format!("/proc/{process}")).unwrap_or(true)
    }
}

impl Drop for Lineage {
    fn drop(&mut self) {
        self.unasked();
        let mut left = std::mem::take(&mut self.processes);
        let since = Instant::now();
        while !left.is_empty() && since.elapsed() < Duration::from_secs(5) {
            left.retain(|process| {
                // It may have ended meanwhile; stopped ones end by this, too.
                let _ended = kill_process(pid(*process), Signal::KILL);
                !self.try_reap(*process)
            });
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn hear(pipe: PipeReader, say: &SyncSender<Value>) {
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        let line = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if say.send(line).is_err() {
            return;
        }
    }
}

/// Asks whoever accepts there, and gives the process that answers.
///
/// # Panics
/// When nobody does.
#[must_use]
pub fn answered_by(listener: SocketAddr) -> u32 {
    let mut client = TcpStream::connect(listener).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
    client.write_all(b"x").expect("the byte is sent");
    let mut answer = [0; 4];
    client.read_exact(&mut answer).expect("it is answered");
    u32::from_le_bytes(answer)
}

/// The clients whose connections `process` holds, by their own addresses.
///
/// # Panics
/// When its descriptors cannot be read.
#[must_use]
pub fn sockets_of(process: u32) -> HashSet<SocketAddr> {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).expect("its descriptors");
    let inode = |link: std::path::PathBuf| {
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
    };
    let links = descriptors.filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok());
    let inodes: HashSet<u64> = links.filter_map(inode).collect();
    let here = tcp_sockets().into_iter().filter(|socket| inodes.contains(&socket.inode));
    here.map(|socket| socket.peer).collect()
}

/// The processes that `process` has started and not reaped.
///
/// # Panics
/// Without `/proc`.
#[must_use]
pub fn children_of(process: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("/proc");
    let parent = |child: u32| {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        // The state and the parent stand behind the name, which may hold anything but the last `)`.
        stat.rsplit_once(") ")?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let all = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|child| parent(*child) == Some(process)).collect()
}

/// The process that listens on the Unix socket at this path, if any.
///
/// # Panics
/// When the kernel does not tell.
#[must_use]
pub fn who_listens_at(path: &Path) -> Option<u32> {
    let probe = UnixStream::connect(path).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&probe).expect("SO_PEERCRED");
    u32::try_from(peer.pid.as_raw_nonzero().get()).ok()
}

/// proc_pid_stat(5): the state stands behind the name, which may hold anything but the last `)`.
fn thread_states(process: u32) -> Vec<char> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    stats.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next()).collect()
}

fn pid(process: u32) -> Pid {
    i32::try_from(process).ok().and_then(Pid::from_raw).expect("a process id")
}
