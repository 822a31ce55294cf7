//! A thread of this process as the kernel sees it: its id, its clocks, what it is doing at this moment.
//!
//! Owns the reading of `/proc/self/task/TID` (proc_pid_stat(5), proc_pid_syscall(5), proc_pid_wchan(5)).
//! Never stops a thread, never blames anybody.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{call, proc};
use crate::observe::Doing;

/// The kernel's id of this thread, as in `/proc/self/task`. Asked for once per thread, through a link: it
/// takes no descriptor, so that it is known even where none is left.
pub(super) fn own_id() -> Option<u32> {
    thread_local! {
        static ID: OnceCell<Option<u32>> = const { OnceCell::new() };
    }
    ID.with(|id| *id.get_or_init(ask_own_id))
}

fn ask_own_id() -> Option<u32> {
    if cfg!(any(not(target_os = "linux"), anteroom_portable)) {
        return None;
    }
    id_in(&fs::read_link("/proc/thread-self").ok()?)
}

/// The thread's id in `PID/task/TID`.
fn id_in(link: &Path) -> Option<u32> {
    link.file_name()?.to_str()?.parse().ok()
}

/// What the scheduler has counted of a thread since it was started. Both move on when the thread leaves or
/// enters a processor, and at the scheduler's tick: one that has been waiting for a processor without
/// interruption shows that in `runnable` only once it has got one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clocks {
    /// On a processor.
    pub(super) cpu: Duration,
    /// Ready to run, and waiting for a processor.
    pub(super) runnable: Duration,
}

impl Clocks {
    /// What has been added since.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            runnable: self.runnable.saturating_sub(before.runnable),
        }
    }
}

/// The thread's clocks. `None` when it has ended, when no descriptor is left to ask with, and where the
/// kernel does not count.
pub(super) fn clocks(thread: u32) -> Option<Clocks> {
    clocks_in(&proc::told_plainly(file_of(thread, "schedstat"))?)
}

/// `schedstat` says: nanoseconds on a processor, nanoseconds ready to run, times it ran. A kernel that does
/// not count says three zeros (`proc_pid_schedstat` in `fs/proc/base.c`), and so does a thread that has never
/// run: neither is known.
fn clocks_in(schedstat: &str) -> Option<Clocks> {
    let mut fields = schedstat.split_ascii_whitespace().map(str::parse::<u64>);
    let (cpu, runnable, times) = (fields.next()?.ok()?, fields.next()?.ok()?, fields.next()?.ok()?);
    (times > 0).then(|| Clocks { cpu: Duration::from_nanos(cpu), runnable: Duration::from_nanos(runnable) })
}

/// What a thread is doing at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// On a processor, or waiting for one.
    Running,
    /// Waiting in the kernel.
    InKernel {
        /// The system call, by name. `None` for one that is not in the table, where the thread waits outside
        /// of any (for a page), and where the file may not be read: in a process that may not be dumped
        /// (PR_SET_DUMPABLE(2const)) it belongs to root.
        call: Option<&'static str>,
        /// The kernel's own place for it.
        place: Option<String>,
    },
    /// Stopped by a signal or a debugger.
    Stopped,
    /// It has ended, is not of this process, or the platform does not tell.
    Unknown,
}

/// Looks at a thread of this process. Three files one after the other, and the thread moves on meanwhile: of
/// one that is held the three agree.
pub(super) fn moment(thread: u32) -> Moment {
    match proc::told(file_of(thread, "stat")).as_deref().and_then(state_in) {
        Some("R") => Moment::Running,
        Some("S" | "D") => {
            let place = proc::told_plainly(file_of(thread, "wchan"));
            let call = proc::told_plainly(file_of(thread, "syscall"));
            waiting(call.as_deref().map_or(At::Unknown, at), place.as_deref().and_then(place_in))
        }
        Some("T" | "t") => Moment::Stopped,
        _ => Moment::Unknown,
    }
}

fn waiting(at: At, place: Option<&str>) -> Moment {
    let call = match at {
        At::Running => return Moment::Running,
        At::Call(number) => match call::name(number) {
            Some("restart_syscall") => Some(restarted(place)),
            name => name,
        },
        At::Unknown => None,
    };
    Moment::InKernel { call, place: place.map(str::to_owned) }
}

/// Which call goes on after the process was stopped and continued. Those that wait for a time do so as
/// `restart_syscall` (restart_syscall(2)): a futex, poll, and the sleeps. The first two are known by their
/// place; measured on 6.18 the sleeps are left with the place of the system call's entry.
fn restarted(place: Option<&str>) -> &'static str {
    match place {
        Some(place) if place.contains("futex") => "futex",
        Some(place) if place.contains("poll") => "poll",
        Some(_) => "clock_nanosleep",
        None => "restart_syscall",
    }
}

fn file_of(thread: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/task/{thread}/{file}"))
}

fn state_in(stat: &[u8]) -> Option<&str> {
    proc::after_name(stat)?.next()
}

/// What `syscall` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// `running`.
    Running,
    /// The number of the call.
    Call(u64),
    /// `-1`: it waits outside of a call; or nothing that can be understood.
    Unknown,
}

fn at(syscall: &str) -> At {
    // A whole line ends with nine words or with the one; a number that is cut would be another call.
    let mut words = syscall.split_ascii_whitespace();
    match (words.next(), words.next()) {
        (Some("running"), _) => At::Running,
        (Some(number), Some(_)) => number.parse().map_or(At::Unknown, At::Call),
        _ => At::Unknown,
    }
}

/// A symbol's name; `0` where the thread does not wait or the kernel hides it, an address where it knows no
/// names.
fn place_in(wchan: &str) -> Option<&str> {
    let wchan = wchan.trim();
    wchan.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_').then_some(wchan)
}

/// What a thread that is held is doing, given the processor time that it has used since it was first seen.
pub(super) fn doing(moment: Moment, cpu_meanwhile: Duration) -> Doing {
    match moment {
        Moment::Running => Doing::Burning { cpu: cpu_meanwhile },
        Moment::InKernel { call: Some("nanosleep" | "clock_nanosleep"), .. } => Doing::Sleeping,
        // Where the call may not be read, its place may.
        Moment::InKernel { call: None, place: Some(place) } if place.contains("nanosleep") => Doing::Sleeping,
        Moment::InKernel { call, place } => Doing::Waiting { call: call.map(str::to_owned), place },
        Moment::Stopped | Moment::Unknown => Doing::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_the_last_part_of_the_link() {
        for (link, id) in [
            ("7/task/8", Some(8)),
            ("8", Some(8)),
            ("7/task/", None),
            ("", None),
            ("/", None),
            ("7/task/-1", None),
        ] {
            assert_eq!(id_in(Path::new(link)), id, "{link}");
        }
    }

    #[test]
    fn clocks_that_do_not_run_are_unknown() {
        let clocks = Clocks { cpu: Duration::from_nanos(781_295), runnable: Duration::from_nanos(9) };
        assert_eq!(clocks_in("781295 9 1\n"), Some(clocks));
        for unknown in ["0 0 0\n", "", "781295", "781295 9", "-1 9 1", "a b c", "99999999999999999999 0 1"] {
            assert_eq!(clocks_in(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn the_state_follows_the_name_whatever_the_name_is() {
        assert_eq!(state_in(b"7 (web) R 1 (x) D 1 2 3\n"), Some("D"));
        assert_eq!(state_in(b"7 (web) R 1"), Some("R"));
        assert_eq!(state_in(b"7 (web R 1"), None);
        assert_eq!(state_in(b"7 (web)"), None);
    }

    #[test]
    fn a_call_is_known_by_its_number_alone() {
        let table = [
            ("230 0x1 0x0 0x7f 0x7f 0x0 0x0 0x7f 0x7f\n", At::Call(230)),
            ("0 0x3 0x7f\n", At::Call(0)),
            ("running\n", At::Running),
            ("-1 0x7f 0x7f\n", At::Unknown),
            ("23", At::Unknown),
            ("", At::Unknown),
            ("0x7f 0x7f", At::Unknown),
        ];
        for (line, expected) in table {
            assert_eq!(at(line), expected, "{line}");
        }
    }

    #[test]
    fn a_place_that_is_hidden_is_none() {
        for (wchan, place) in [
            ("hrtimer_nanosleep", Some("hrtimer_nanosleep")),
            ("__futex_wait\n", Some("__futex_wait")),
            ("0", None),
            ("", None),
            ("\n", None),
            ("18446744071580", None),
        ] {
            assert_eq!(place_in(wchan), place, "{wchan}");
        }
    }

    #[test]
    fn what_is_held_is_told_from_the_moment() {
        let cpu = Duration::from_millis(300);
        let within = |call, place: Option<&str>| Moment::InKernel { call, place: place.map(str::to_owned) };
        let waits = |call: Option<&str>, place: Option<&str>| Doing::Waiting {
            call: call.map(str::to_owned),
            place: place.map(str::to_owned),
        };
        let table = [
            (Moment::Running, Doing::Burning { cpu }),
            (within(Some("nanosleep"), None), Doing::Sleeping),
            (within(Some("clock_nanosleep"), Some("do_syscall_64")), Doing::Sleeping),
            (within(None, Some("hrtimer_nanosleep")), Doing::Sleeping),
            (within(Some("futex"), Some("futex_do_wait")), waits(Some("futex"), Some("futex_do_wait"))),
            (within(None, None), waits(None, None)),
            (Moment::Stopped, Doing::Unknown),
            (Moment::Unknown, Doing::Unknown),
        ];
        for (moment, expected) in table {
            assert_eq!(doing(moment.clone(), cpu), expected, "{moment:?}");
        }
    }

    #[test]
    fn a_call_that_goes_on_after_a_stop_keeps_its_name() {
        for (place, call) in [
            (Some("futex_do_wait"), "futex"),
            (Some("poll_schedule_timeout.constprop.0"), "poll"),
            (Some("do_syscall_64"), "clock_nanosleep"),
            (Some("hrtimer_nanosleep"), "clock_nanosleep"),
            (None, "restart_syscall"),
        ] {
            assert_eq!(restarted(place), call, "{place:?}");
        }
    }

    #[test]
    fn a_thread_that_went_on_between_two_files_is_running() {
        assert_eq!(waiting(At::Running, Some("futex_do_wait")), Moment::Running);
        assert_eq!(waiting(At::Unknown, None), Moment::InKernel { call: None, place: None });
    }

    #[test]
    #[cfg(any(not(target_os = "linux"), anteroom_portable))]
    fn elsewhere_nothing_is_known() {
        assert_eq!((own_id(), clocks(1), moment(1)), (None, None, Moment::Unknown));
    }
}
