//! What the host says of processors: pressure, and the quota of this process's group.
//!
//! Owns the reading of the files. What is not there is `None`, never 0.

use std::fs;
use std::time::Duration;

/// Counters of this process and of the host, to be subtracted from later ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Machine {
    /// Processor time of the whole process (getrusage(2)'s sum, from `/proc/self/schedstat` of all threads is not to
    /// be had in one read: `/proc/self/stat`, in clock ticks).
    pub(super) cpu: Option<Duration>,
    /// For how long some task of the host has been kept waiting for a processor (`/proc/pressure/cpu`).
    pub(super) pressure: Option<Duration>,
    /// For how long the group of this process has been kept from running by its quota (`cpu.stat`).
    pub(super) throttled: Option<Duration>,
}

impl Machine {
    pub(super) fn now() -> Self {
        if !cfg!(all(target_os = "linux", not(anteroom_portable))) {
            return Self::default();
        }
        let read = |path: &str| fs::read_to_string(path).ok();
        Self {
            cpu: read("/proc/self/stat").as_deref().and_then(process_time),
            pressure: read("/proc/pressure/cpu").as_deref().and_then(pressure),
            throttled: read("/proc/self/cgroup").as_deref().and_then(throttled),
        }
    }

    /// What came since `before`; `None` where either is not told.
    pub(super) fn since(&self, before: &Self) -> Self {
        let less = |now: Option<Duration>, before: Option<Duration>| Some(now?.saturating_sub(before?));
        Self {
            cpu: less(self.cpu, before.cpu),
            pressure: less(self.pressure, before.pressure),
            throttled: less(self.throttled, before.throttled),
        }
    }
}

/// Clock ticks per second that `/proc` counts in: 100 on every architecture that Linux runs on by now
/// (`USER_HZ`, include/asm-generic/param.h).
const TICKS: u64 = 100;

/// `utime` and `stime`, behind a name in parentheses that may hold anything.
fn process_time(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Duration::from_millis((user + system) * (1000 / TICKS)))
}

/// `some avg10=0.00 avg60=0.00 avg300=0.23 total=6655654274`, in microseconds.
fn pressure(file: &str) -> Option<Duration> {
    let some = file.lines().find(|line| line.starts_with("some "))?;
    let total = some.split_whitespace().find_map(|field| field.strip_prefix("total="))?;
    Some(Duration::from_micros(total.parse().ok()?))
}

/// From `/proc/self/cgroup`: the group's `cpu.stat`, of version 2 or 1.
fn throttled(cgroup: &str) -> Option<Duration> {
    cgroup.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let folders: &[&str] = match controllers {
            "" => &["/sys/fs/cgroup"],
            controllers if controllers.split(',').any(|controller| controller == "cpu") => {
                &["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"]
            }
            _ => return None,
        };
        // Inside a container the path is often that of the host, and the group is mounted as the root.
        let paths = folders
            .iter()
            .flat_map(|folder| [format!("{folder}{path}/cpu.stat"), format!("{folder}/cpu.stat")]);
        paths.filter_map(|path| fs::read_to_string(path).ok()).find_map(|stat| throttled_time(&stat))
    })
}

/// `None` without a quota: nothing is throttled then, and nothing is known.
fn throttled_time(stat: &str) -> Option<Duration> {
    let field = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse::<u64>().ok()
    };
    if field("nr_periods")? == 0 {
        return None;
    }
    let micros = field("throttled_usec").map(Duration::from_micros);
    micros.or_else(|| field("throttled_time").map(Duration::from_nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_the_total_of_some() {
        let file = "some avg10=0.00 avg60=0.00 avg300=0.23 total=6655654274\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(pressure(file), Some(Duration::from_micros(6_655_654_274)));
        for broken in ["", "full avg10=0 total=3", "some avg10=0.00", "some total=x", "some total=-1"] {
            assert_eq!(pressure(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_quota_is_told_in_both_versions_and_none_is_none() {
        let second = "usage_usec 5\nnr_periods 7\nnr_throttled 3\nthrottled_usec 2500\n";
        assert_eq!(throttled_time(second), Some(Duration::from_micros(2500)));
        let first = "nr_periods 7\nnr_throttled 3\nthrottled_time 2500\nnr_bursts 0\n";
        assert_eq!(throttled_time(first), Some(Duration::from_nanos(2500)));
        for none in
            ["nr_periods 0\nthrottled_usec 0\n", "usage_usec 5\n", "", "nr_periods x\n", "nr_periods 7\n"]
        {
            assert_eq!(throttled_time(none), None, "{none}");
        }
    }

    #[test]
    fn a_name_with_parentheses_does_not_move_the_fields() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        for name in ["(a)", "(a b) 9 9 (c))", "()"] {
            assert_eq!(process_time(&format!("17 {name} {rest}")), Some(Duration::from_secs(2)), "{name}");
        }
        assert_eq!(process_time("17 (cut off) S 1 2"), None);
        assert_eq!(process_time("no parentheses"), None);
    }

    #[test]
    fn what_is_not_told_stays_so_in_a_difference() {
        let before = Machine {
            cpu: Some(Duration::from_secs(1)),
            pressure: None,
            throttled: Some(Duration::from_secs(5)),
        };
        let after = Machine {
            cpu: Some(Duration::from_secs(3)),
            pressure: Some(Duration::ZERO),
            throttled: Some(Duration::ZERO),
        };
        let since = after.since(&before);
        assert_eq!((since.cpu, since.pressure), (Some(Duration::from_secs(2)), None));
        assert_eq!(since.throttled, Some(Duration::ZERO), "a counter that began anew");
    }
}
