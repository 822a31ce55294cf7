//! What one thread of this process is doing, as the kernel tells it in `/proc/self/task`.
//!
//! Owns the reading of the files. What is not there is unknown, never 0.

use std::fs;
use std::time::Duration;

use crate::observe::Doing;

/// The kernel's id of the calling thread (`gettid(2)`), by way of the link `/proc/thread-self`: to be asked once
/// per thread.
pub(super) fn own_id() -> Option<u32> {
    if !IS_TOLD {
        return None;
    }
    let link = fs::read_link("/proc/thread-self").ok()?;
    link.file_name()?.to_str()?.parse().ok()
}

/// What the scheduler has counted of a thread so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clocks {
    /// On a processor.
    pub(super) cpu: Duration,
    /// Ready to run, and waiting for a processor.
    pub(super) runnable: Duration,
}

impl Clocks {
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            runnable: self.runnable.saturating_sub(before.runnable),
        }
    }
}

/// `None` where the kernel does not count, and for a thread that has ended.
pub(super) fn clocks(thread: u32) -> Option<Clocks> {
    schedstat(&file(thread, "schedstat")?)
}

/// What a thread is doing at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// On a processor, or waiting for one.
    Running,
    /// Inside a system call, or another place of the kernel.
    InKernel {
        /// The number of the call.
        call: Option<usize>,
        place: Option<String>,
    },
    /// By a signal, or a debugger.
    Stopped,
    Unknown,
}

pub(super) fn moment(thread: u32) -> Moment {
    let state = file(thread, "stat").as_deref().and_then(state);
    match state {
        Some('R') => Moment::Running,
        Some('T' | 't') => Moment::Stopped,
        Some(_) => Moment::InKernel {
            call: file(thread, "syscall").as_deref().and_then(call),
            place: file(thread, "wchan").as_deref().and_then(place),
        },
        None => Moment::Unknown,
    }
}

/// In words for people, with the processor time that the thread has used meanwhile.
pub(super) fn doing(moment: Moment, cpu: Duration) -> Doing {
    match moment {
        Moment::Running => Doing::Burning { cpu },
        Moment::InKernel { call, place } => {
            let call = call.and_then(name).map(str::to_owned);
            let sleeps = matches!(call.as_deref(), Some("nanosleep" | "clock_nanosleep"))
                || (call.is_none() && place.as_deref() == Some("hrtimer_nanosleep"));
            if sleeps { Doing::Sleeping } else { Doing::Waiting { call, place } }
        }
        Moment::Stopped | Moment::Unknown => Doing::Unknown,
    }
}

const IS_TOLD: bool = cfg!(all(target_os = "linux", not(anteroom_portable)));

fn file(thread: u32, name: &str) -> Option<String> {
    if !IS_TOLD {
        return None;
    }
    fs::read_to_string(format!("/proc/self/task/{thread}/{name}")).ok()
}

#[cfg(target_os = "linux")]
fn name(call: usize) -> Option<&'static str> {
    syscalls::Sysno::new(call).map(|call| call.name())
}

#[cfg(not(target_os = "linux"))]
fn name(_: usize) -> Option<&'static str> {
    None
}

/// `cpu runnable timeslices`, the times in nanoseconds.
fn schedstat(file: &str) -> Option<Clocks> {
    let mut fields = file.split_whitespace().map(str::parse::<u64>);
    let (cpu, runnable) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(Clocks { cpu: Duration::from_nanos(cpu), runnable: Duration::from_nanos(runnable) })
}

/// The letter behind a name in parentheses, which may hold anything.
fn state(stat: &str) -> Option<char> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.trim_start().chars().next()
}

/// `number arguments.. sp pc`; `-1 ..` for one that waits elsewhere; `running`.
fn call(file: &str) -> Option<usize> {
    file.split_whitespace().next()?.parse().ok()
}

/// The name of a function of the kernel; `0` where it is hidden or there is none.
fn place(file: &str) -> Option<String> {
    let place = file.trim();
    (!place.is_empty() && place != "0").then(|| place.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_files_are_unknown() {
        assert_eq!(schedstat("399556 12 3\n").map(|clocks| clocks.runnable), Some(Duration::from_nanos(12)));
        for broken in ["", "1", "x 2 3", "-1 2 3"] {
            assert_eq!(schedstat(broken), None, "{broken}");
        }
        for name in ["(a)", "((S) R)", "(a (b) c))"] {
            assert_eq!(state(&format!("17 {name} D 1 2")), Some('D'), "{name}");
        }
        assert_eq!((state("17 (cut"), state("17 (cut)")), (None, None));
        assert_eq!(call("230 0x1 0x0 0x7ffd 0x0 0x0 0x0 0x7ffd 0x7f\n"), Some(230));
        for none in ["running\n", "-1 0x7ffd 0x7f", ""] {
            assert_eq!(call(none), None, "{none}");
        }
        assert_eq!(place("hrtimer_nanosleep"), Some("hrtimer_nanosleep".to_owned()));
        assert_eq!((place("0"), place("")), (None, None));
    }

    /// The facts themselves, on real threads.
    #[cfg(all(target_os = "linux", not(anteroom_portable)))]
    mod kernel {
        use std::io::Read;
        use std::os::unix::net::UnixStream;
        use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
        use std::sync::{Arc, Mutex, mpsc};
        use std::time::Instant;

        use super::*;

        /// Runs `act` on a thread and waits until that is seen doing what `is` expects.
        fn seen(act: impl FnOnce() + Send + 'static, is: impl Fn(&Doing) -> bool) {
            let (tell, told) = mpsc::sync_channel(1);
            let _waits_for_ever = std::thread::spawn(move || {
                tell.send(own_id().expect("/proc is mounted")).expect("somebody listens");
                act();
            });
            let id = told.recv().expect("it runs");
            let start = Instant::now();
            loop {
                let doing = doing(moment(id), Duration::ZERO);
                if is(&doing) {
                    return;
                }
                assert!(start.elapsed() < Duration::from_secs(30), "{doing:?}");
                std::thread::yield_now();
            }
        }

        fn waits_in(doing: &Doing, wanted: &[&str]) -> bool {
            matches!(doing, Doing::Waiting { call: Some(call), .. } if wanted.contains(&call.as_str()))
        }

        #[test]
        fn a_thread_that_sleeps_is_seen_to() {
            seen(|| std::thread::sleep(Duration::from_secs(60)), |doing| *doing == Doing::Sleeping);
        }

        #[test]
        fn one_that_waits_for_a_lock_is_in_futex() {
            let lock = Arc::new(Mutex::new(()));
            let held = lock.lock().unwrap();
            let wanted = Arc::clone(&lock);
            seen(move || drop(wanted.lock()), |doing| waits_in(doing, &["futex"]));
            drop(held);
        }

        #[test]
        fn one_that_reads_a_blocking_socket_is_in_its_call() {
            let (mut reader, writer) = UnixStream::pair().unwrap();
            seen(move || drop(reader.read(&mut [0])), |doing| waits_in(doing, &["read", "recvfrom"]));
            drop(writer);
        }

        #[test]
        fn one_that_computes_runs_and_its_clock_goes_on() {
            let over = Arc::new(AtomicBool::new(false));
            let until = Arc::clone(&over);
            let (tell, told) = mpsc::sync_channel(1);
            let thread = std::thread::spawn(move || {
                tell.send(own_id().unwrap()).unwrap();
                while !until.load(Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let id = told.recv().unwrap();
            let (before, start) = (clocks(id).unwrap(), Instant::now());
            while clocks(id).unwrap().since(&before).cpu < Duration::from_millis(50) {
                assert!(start.elapsed() < Duration::from_secs(60), "it computes");
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(moment(id), Moment::Running);
            over.store(true, Relaxed);
            thread.join().unwrap();
            assert_eq!((clocks(id), moment(id)), (None, Moment::Unknown), "it has ended");
        }
    }
}
