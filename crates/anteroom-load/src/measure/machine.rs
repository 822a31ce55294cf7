//! The shape of the machine that a figure was measured on.
//!
//! Owns: reading it.
//! Never: who owns the machine or what it is called.

use std::{fmt, fs, io, time::Duration};

/// What a reader must know to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The processor's name.
    pub processor: Option<String>,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// Kernel release, up to the distribution's suffix.
    pub kernel: String,
    /// `net.core.somaxconn` of this network namespace.
    pub somaxconn: Option<u32>,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let somaxconn = fs::read_to_string("/proc/sys/net/core/somaxconn");
        Self {
            processor: field(&cpuinfo, "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: field(&meminfo, "MemTotal").and_then(|value| kib(&value)).map(|kib| kib / 1_024),
            kernel: release.split('-').next().unwrap_or_default().to_owned(),
            somaxconn: somaxconn.ok().and_then(|text| text.trim().parse().ok()),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let processor = self.processor.as_deref().unwrap_or("unknown processor");
        write!(f, "{processor}, {} cores, ", self.cores)?;
        if let Some(memory) = self.memory_mib {
            write!(f, "{} GiB, ", memory.div_ceil(1_024))?;
        }
        write!(f, "Linux {}", self.kernel)?;
        if let Some(somaxconn) = self.somaxconn {
            write!(f, ", somaxconn {somaxconn}")?;
        }
        Ok(())
    }
}

/// Time that all cores together have spent on anything since the start, what a hypervisor took from them
/// included.
///
/// # Errors
///
/// The kernel does not tell.
///
/// # Platform
///
/// Linux: the first line of `/proc/stat`, to the clock tick (10 ms).
pub fn busy_cores() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let ticks = busy_ticks(&stat).ok_or_else(|| io::Error::other("cannot read the machine's stat"))?;
    Ok(Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second()))
}

/// `cpu user nice system idle iowait irq softirq steal guest guest_nice`; the last two are in the first two.
fn busy_ticks(stat: &str) -> Option<u64> {
    let all = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = all.split_whitespace().map_while(|field| field.parse().ok()).take(8).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, steal] = fields.try_into().ok()?;
    Some(user + nice + system + irq + softirq + steal)
}

fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn kib(value: &str) -> Option<u64> {
    value.strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_processor_and_the_memory_are_read() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nprocessor\t: 1\nmodel name\t: other\n";
        assert_eq!(field(cpuinfo, "model name").as_deref(), Some("Some CPU @ 3 GHz"));
        assert_eq!(
            field("MemTotal:       24608532 kB\n", "MemTotal").as_deref().and_then(kib),
            Some(24_608_532)
        );
    }

    #[test]
    fn idling_is_not_being_busy() {
        let stat = "cpu  100 20 300 9999 50 3 40 7 30 2\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(busy_ticks(stat), Some(470));
        assert_eq!(busy_ticks("intr 5"), None);
        assert!(busy_cores().unwrap() > Duration::ZERO);
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let machine =
            Machine { processor: None, cores: 2, memory_mib: None, kernel: "6.18.1".into(), somaxconn: None };
        assert_eq!(machine.to_string(), "unknown processor, 2 cores, Linux 6.18.1");
    }
}
