//! What the process got of its machine: processor time, pressure, throttling.
//!
//! Owns the counters of the whole process and of the host, and where they stand. Never says who is to blame.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::proc;

/// Counters of one moment, to be subtracted from those of a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Machine {
    /// Processor time of all threads of the process, in steps of 10 ms.
    pub(super) cpu: Option<Duration>,
    /// For how long some task of the host was kept waiting for a processor (PSI, `some`).
    pub(super) pressure: Option<Duration>,
    /// For how long the process's group had used up its quota, summed over its processors. `None` without a
    /// quota.
    pub(super) throttled: Option<Duration>,
}

impl Machine {
    /// The counters as they are. Three small files, and those of the process's groups up to the first that
    /// has a quota. Where no descriptor is left to read them with, all are `None`.
    pub(super) fn now() -> Self {
        Self {
            cpu: proc::told("/proc/self/stat").as_deref().and_then(cpu_in),
            pressure: proc::told_plainly("/proc/pressure/cpu").as_deref().and_then(pressure_in),
            throttled: proc::told_plainly("/proc/self/cgroup")
                .and_then(|groups| throttled(&groups, |path| proc::told_plainly(path))),
        }
    }

    /// What has been added since. `None` where either is unknown; nothing, never less, when the process has
    /// been moved to another group meanwhile.
    pub(super) fn since(&self, before: &Self) -> Self {
        let added = |now: Option<Duration>, before: Option<Duration>| Some(now?.saturating_sub(before?));
        Self {
            cpu: added(self.cpu, before.cpu),
            pressure: added(self.pressure, before.pressure),
            throttled: added(self.throttled, before.throttled),
        }
    }
}

/// One tick of the clocks in `stat`: `USER_HZ` is 100 on every architecture that Rust knows.
const TICK: Duration = Duration::from_millis(10);

/// `utime` and `stime` of the whole process (proc_pid_stat(5)). `/proc/self/schedstat` would be finer, and
/// speaks of the main thread only.
fn cpu_in(stat: &[u8]) -> Option<Duration> {
    // The state, the first field after the name, is the third of all; utime the fourteenth.
    let mut fields = proc::after_name(stat)?.skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    // Of a line that ends here the last number may have been cut.
    fields.next()?;
    let ticks = u32::try_from(user.checked_add(system)?).ok()?;
    TICK.checked_mul(ticks)
}

/// The total of the line `some`, in microseconds (`Documentation/accounting/psi.rst`).
fn pressure_in(pressure: &str) -> Option<Duration> {
    let some = pressure.lines().find_map(|line| line.strip_prefix("some "))?;
    let total = some.split_ascii_whitespace().find_map(|field| field.strip_prefix("total="))?;
    total.parse().ok().map(Duration::from_micros)
}

/// Groups above the process's own that are looked at. Deeper trees than this are not built.
const LEVELS: usize = 16;

/// For how long the nearest group with a quota was throttled. `told` reads a file.
fn throttled(groups: &str, told: impl Fn(&Path) -> Option<String>) -> Option<Duration> {
    let (mounts, group) = processor_group(groups)?;
    let levels = || group.ancestors().take(LEVELS);
    mounts.iter().find_map(|mount| {
        levels().find_map(|level| throttled_in(&told(&Path::new(mount).join(level).join("cpu.stat"))?))
    })
}

/// The group that the processor is shared out by, relative to its hierarchy's root, and where that may be
/// mounted (cgroups(7)). A group outside of what this process can see (`/..`) is none.
fn processor_group(groups: &str) -> Option<([String; 2], PathBuf)> {
    let mut second_version = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let path = Path::new(path.strip_prefix('/')?);
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            continue;
        }
        if controllers.split(',').any(|controller| controller == "cpu") {
            let mounts = ["/sys/fs/cgroup/cpu".to_owned(), format!("/sys/fs/cgroup/{controllers}")];
            return Some((mounts, path.to_owned()));
        }
        if number == "0" && controllers.is_empty() {
            let mounts = ["/sys/fs/cgroup".to_owned(), "/sys/fs/cgroup/unified".to_owned()];
            second_version = Some((mounts, path.to_owned()));
        }
    }
    second_version
}

/// The time in `cpu.stat`: microseconds in the second version, nanoseconds in the first. Without a quota no
/// period has ever been counted.
fn throttled_in(stat: &str) -> Option<Duration> {
    let value = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse::<u64>().ok()
    };
    if value("nr_periods")? == 0 {
        return None;
    }
    value("throttled_usec")
        .map(Duration::from_micros)
        .or_else(|| value("throttled_time").map(Duration::from_nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_that_of_user_and_kernel() {
        let line = b"7 (a) 9 (b) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 3 4 20 0 5 0 77 1 1\n";
        assert_eq!(cpu_in(line), Some(Duration::from_secs(2)));
        let cut: [&[u8]; 5] = [
            b"",
            b"7 (a) 9 (b",
            b"7 (a) 9 (b) S 1 7 7 0 -1 4194304 100 0 0 0 15",
            b"7 (a) 9 (b) S 1 7 7 0 -1 4194304 100 0 0 0 150 5",
            b"7 (a) S x x x x x x x x x x x y 5 6",
        ];
        for cut in cut {
            assert_eq!(cpu_in(cut), None, "{}", cut.escape_ascii());
        }
    }

    #[test]
    fn pressure_is_the_total_of_some() {
        let both = "some avg10=1.82 avg60=5.23 avg300=6.25 total=6725521\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n";
        assert_eq!(pressure_in(both), Some(Duration::from_micros(6_725_521)));
        for unknown in [
            "",
            "full avg10=0.00 total=9\n",
            "some avg10=1.82",
            "some total=",
            "some total=-1",
            "something total=1",
        ] {
            assert_eq!(pressure_in(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn the_time_of_a_group_without_a_quota_is_none() {
        let second = "usage_usec 9\nnr_periods 4\nnr_throttled 2\nthrottled_usec 1500\nnr_bursts 0\n";
        let first = "nr_periods 4\nnr_throttled 2\nthrottled_time 1500\n";
        assert_eq!(throttled_in(second), Some(Duration::from_micros(1_500)));
        assert_eq!(throttled_in(first), Some(Duration::from_nanos(1_500)));
        for none in [
            "",
            "usage_usec 9\n",
            "nr_periods 0\nthrottled_usec 0\n",
            "nr_periods 4\n",
            "nr_periodsx 4\nthrottled_usec 1",
            "throttled_usec 1\n",
            "nr_periods 4\nthrottled_usec x\n",
        ] {
            assert_eq!(throttled_in(none), None, "{none}");
        }
    }

    /// Reads from a list of files.
    fn reading<'a>(files: &'a [(&'a str, &'a str)]) -> impl Fn(&Path) -> Option<String> + 'a {
        |path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
    }

    const NO_QUOTA: &str = "usage_usec 9\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n";
    const QUOTA: &str = "nr_periods 4\nnr_throttled 2\nthrottled_usec 1500\n";
    const FIRST: &str = "nr_periods 4\nnr_throttled 2\nthrottled_time 2500\n";

    #[test]
    fn the_nearest_group_with_a_quota_counts() {
        let own = [("/sys/fs/cgroup/a.slice/b c/cpu.stat", QUOTA)];
        assert_eq!(throttled("0::/a.slice/b c\n", reading(&own)), Some(Duration::from_micros(1_500)));
        let above = [("/sys/fs/cgroup/a/b/cpu.stat", NO_QUOTA), ("/sys/fs/cgroup/a/cpu.stat", QUOTA)];
        assert_eq!(throttled("0::/a/b\n", reading(&above)), Some(Duration::from_micros(1_500)));
        // In a container the process's group is the root that it sees, whatever path the host has for it.
        let root = [("/sys/fs/cgroup/cpu.stat", QUOTA)];
        for line in ["0::/\n", "0::/docker/4f (deleted)\n"] {
            assert_eq!(throttled(line, reading(&root)), Some(Duration::from_micros(1_500)), "{line}");
        }
    }

    #[test]
    fn a_hierarchy_of_the_first_version_goes_before_the_second() {
        let groups = "9:name=systemd:/\n4:cpuset:/x\n3:cpu,cpuacct:/web\n0::/web\n";
        let files =
            [("/sys/fs/cgroup/web/cpu.stat", QUOTA), ("/sys/fs/cgroup/cpu,cpuacct/web/cpu.stat", FIRST)];
        assert_eq!(throttled(groups, reading(&files)), Some(Duration::from_nanos(2_500)));
        let files = [("/sys/fs/cgroup/cpu/web/cpu.stat", FIRST)];
        assert_eq!(throttled(groups, reading(&files)), Some(Duration::from_nanos(2_500)));
    }

    #[test]
    fn a_group_that_cannot_be_seen_is_none() {
        let files = [("/sys/fs/cgroup/cpu.stat", QUOTA), ("/sys/fs/cgroup/../x/cpu.stat", QUOTA)];
        for groups in ["", "0\n", "0:", "0::", "0::/../x\n", "0::/a/../..\n", "4:cpuset:/\n"] {
            assert_eq!(throttled(groups, reading(&files)), None, "{groups}");
        }
    }

    #[test]
    fn a_difference_needs_both_and_is_never_negative() {
        let early = Machine {
            cpu: Some(Duration::from_secs(1)),
            pressure: None,
            throttled: Some(Duration::from_secs(5)),
        };
        let late = Machine {
            cpu: Some(Duration::from_secs(3)),
            pressure: Some(Duration::from_secs(1)),
            throttled: Some(Duration::ZERO),
        };
        let added =
            Machine { cpu: Some(Duration::from_secs(2)), pressure: None, throttled: Some(Duration::ZERO) };
        assert_eq!(late.since(&early), added);
    }

    #[test]
    #[cfg(any(not(target_os = "linux"), anteroom_portable))]
    fn elsewhere_nothing_is_known() {
        assert_eq!(Machine::now(), Machine::default());
    }
}
