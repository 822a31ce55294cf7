//! What the machine says of a process: CPU of a thread, descriptors; and how late the machine itself is.
//!
//! Owns the reading of `/proc`. Never ends, stops or changes a process, except the niceness of the
//! thread that asks for it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A clock tick in `/proc`: `USER_HZ` is 100 on Linux.
const TICK: Duration = Duration::from_millis(10);

/// The threads of `pid` (`"self"` for this process) with this name.
#[must_use]
pub fn threads_named(pid: &str, name: &str) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let ids = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
    let named = |thread: &u32| {
        fs::read_to_string(format!("/proc/{pid}/task/{thread}/comm")).is_ok_and(|comm| comm.trim() == name)
    };
    ids.filter(named).collect()
}

/// CPU that a thread has used, in user and in kernel mode (`proc_pid_stat(5)`).
///
/// # Panics
/// When there is no such thread.
#[must_use]
pub fn thread_cpu(pid: &str, thread: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat"));
    // The name stands in parentheses and may hold anything; utime and stime are fields 14 and 15.
    let ticks = stat.ok().and_then(|stat| {
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(user + system)
    });
    let Some(ticks) = ticks else { panic!("thread {thread} of {pid} has no stat") };
    TICK * ticks
}

/// How often each thread of a process has given its processor up of its own accord, that is to wait, by the
/// thread's number and name (`proc_pid_status(5)`).
#[must_use]
pub fn voluntary_switches(pid: u32) -> BTreeMap<(u32, String), u64> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return BTreeMap::new() };
    let of_thread = |id: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/task/{id}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Some(((id, field("Name:")?.to_owned()), field("voluntary_ctxt_switches:")?.parse().ok()?))
    };
    tasks.filter_map(|task| of_thread(task.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

/// Descriptors that this process has open.
///
/// # Panics
/// Without `/proc`.
#[must_use]
pub fn descriptors() -> usize {
    // The look itself opens one.
    match fs::read_dir("/proc/self/fd") {
        Ok(open) => open.count() - 1,
        Err(error) => panic!("no /proc/self/fd: {error}"),
    }
}

/// How late the machine is: the longest time by which a thread that does nothing but sleep has
/// been woken too late. A bound on how fast a thread reacts can be held on a loaded machine only
/// with this added.
#[derive(Debug)]
pub struct Lateness {
    shared: Arc<Beats>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Beats {
    start: Instant,
    over: AtomicBool,
    /// Microseconds since the start.
    last: AtomicU64,
    /// Microseconds.
    worst: AtomicU64,
}

impl Beats {
    /// Whoever looks sees also that the thread is late at this moment.
    fn look(&self) -> u64 {
        let now = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let since = now.saturating_sub(self.last.load(Ordering::Acquire));
        let step = u64::try_from(Lateness::STEP.as_micros()).unwrap_or(u64::MAX);
        self.worst.fetch_max(since.saturating_sub(step), Ordering::AcqRel);
        now
    }
}

impl Lateness {
    const STEP: Duration = Duration::from_millis(1);

    /// Begins to measure.
    #[must_use]
    pub fn measure() -> Self {
        let shared = Arc::new(Beats {
            start: Instant::now(),
            over: AtomicBool::new(false),
            last: AtomicU64::new(0),
            worst: AtomicU64::new(0),
        });
        let beats = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            while !beats.over.load(Ordering::Acquire) {
                beats.last.store(beats.look(), Ordering::Release);
                std::thread::sleep(Self::STEP);
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// The worst since the beginning, or since this was asked last.
    #[must_use]
    pub fn worst(&self) -> Duration {
        self.shared.look();
        Duration::from_micros(self.shared.worst.swap(0, Ordering::AcqRel))
    }
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It sleeps for a millisecond at most, and cannot have panicked.
            let _ended = thread.join();
        }
    }
}
