//! CPU time and context switches of a process.
//!
//! Owns: the sums over its threads.
//! Never: threads that have ended; the servers measured here keep theirs.

use std::{
    fs, io,
    ops::{AddAssign, Sub},
    path::Path,
    time::Duration,
};

/// What a process has used since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on a CPU, user and system together. To the nanosecond from `schedstat` where the kernel has it; else
    /// to the clock tick (10 ms) from `stat`. Both are the scheduler's own clock on Linux, not samples.
    pub cpu: Duration,
    /// Switches because a thread had nothing to do.
    pub voluntary: u64,
    /// Switches because somebody else's turn had come.
    pub involuntary: u64,
}

impl Usage {
    /// Of the process `pid`.
    ///
    /// # Errors
    ///
    /// It is gone, or not ours to look at.
    ///
    /// # Platform
    ///
    /// Linux.
    pub fn of(pid: u32) -> io::Result<Self> {
        let process = Path::new("/proc").join(pid.to_string());
        let mut usage = Self::default();
        let mut schedstat = None;
        for thread in fs::read_dir(process.join("task"))? {
            let thread = thread?.path();
            // A thread may end between the listing and the reading.
            let Ok(status) = fs::read_to_string(thread.join("status")) else { continue };
            usage.voluntary += status_field(&status, "voluntary_ctxt_switches:");
            usage.involuntary += status_field(&status, "nonvoluntary_ctxt_switches:");
            let on_cpu = fs::read_to_string(thread.join("schedstat")).ok().and_then(|line| on_cpu(&line));
            // One that has ended in between takes its time with it; where no kernel counts, nobody's is there.
            schedstat = schedstat.into_iter().chain(on_cpu).reduce(|sum: u64, nanos| sum + nanos);
        }
        usage.cpu = match schedstat {
            Some(nanos) => Duration::from_nanos(nanos),
            None => ticks(&fs::read_to_string(process.join("stat"))?)
                .ok_or_else(|| io::Error::other("cannot read the process's stat"))?,
        };
        Ok(usage)
    }

    /// Of the calling thread.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn of_this_thread() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/thread-self/status")?;
        let line = fs::read_to_string("/proc/thread-self/schedstat")?;
        let nanos = on_cpu(&line).ok_or_else(|| io::Error::other("cannot read schedstat"))?;
        Ok(Self {
            cpu: Duration::from_nanos(nanos),
            voluntary: status_field(&status, "voluntary_ctxt_switches:"),
            involuntary: status_field(&status, "nonvoluntary_ctxt_switches:"),
        })
    }

    /// CPU time per one of `count`, in µs. Not a number for a count of 0.
    #[must_use]
    pub fn cpu_micros_per(&self, count: u64) -> f64 {
        if count == 0 { f64::NAN } else { self.cpu.as_secs_f64() * 1e6 / count as f64 }
    }

    /// Context switches of both kinds per one of `count`. Not a number for a count of 0.
    #[must_use]
    pub fn switches_per(&self, count: u64) -> f64 {
        if count == 0 { f64::NAN } else { (self.voluntary + self.involuntary) as f64 / count as f64 }
    }
}

impl Sub for Usage {
    type Output = Self;

    /// What was used between two readings.
    fn sub(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            involuntary: self.involuntary.saturating_sub(earlier.involuntary),
        }
    }
}

impl AddAssign for Usage {
    /// What was used in two stretches together.
    fn add_assign(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.voluntary += other.voluntary;
        self.involuntary += other.involuntary;
    }
}

fn status_field(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// The first of the three numbers of `schedstat`: nanoseconds on a CPU (`Documentation/scheduler/sched-stats`).
fn on_cpu(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

/// `utime` and `stime`, the fields 14 and 15 of `stat` (proc_pid_stat(5)); the name in field 2 may hold spaces.
fn ticks(stat: &str) -> Option<Duration> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_millis((utime + stime) * 1_000 / per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticks_are_found_behind_a_name_with_spaces_and_parentheses() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 150 0 0 20 0 3 0 12345 1 2";
        let expected = Duration::from_millis(400_000 / rustix::param::clock_ticks_per_second());
        assert_eq!(ticks(stat), Some(expected));
        assert_eq!(ticks("nonsense"), None);
    }

    #[test]
    fn switches_of_the_two_kinds_are_told_apart() {
        let status = "Threads:\t3\nvoluntary_ctxt_switches:\t17\nnonvoluntary_ctxt_switches:\t4\n";
        assert_eq!(status_field(status, "voluntary_ctxt_switches:"), 17);
        assert_eq!(status_field(status, "nonvoluntary_ctxt_switches:"), 4);
    }

    #[test]
    fn work_shows_in_the_own_usage() {
        // A thread of another test that ends meanwhile takes its time with it: then once more.
        let seen = (0..100).any(|_| {
            let before = Usage::of(std::process::id()).unwrap();
            let thread_before = Usage::of_this_thread().unwrap();
            let mut sum = 0_u64;
            while (Usage::of_this_thread().unwrap() - thread_before).cpu < Duration::from_millis(50) {
                sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
            }
            let used = Usage::of(std::process::id()).unwrap() - before;
            // `stat`, the coarser source, may be one tick behind for each of the two readings.
            used.cpu >= Duration::from_millis(30)
        });
        assert!(seen, "50 ms of work do not show");
    }

    #[test]
    fn nothing_served_has_no_cost_per_connection() {
        assert!(Usage::default().cpu_micros_per(0).is_nan());
        let used = Usage { cpu: Duration::from_millis(5), voluntary: 30, involuntary: 20 };
        assert!((used.cpu_micros_per(100) - 50.0).abs() < 1e-9);
        assert!((used.switches_per(100) - 0.5).abs() < 1e-9);
    }
}
