//! System calls of a process, counted by `strace` when it is there.
//!
//! Owns: attaching, detaching, and reading the table.
//! Never: part of a timed round. A traced server is many times slower; only the counts mean something.

use rustix::process::{Pid, Signal};
use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// How often each call was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Syscalls {
    /// By name.
    pub calls: BTreeMap<String, u64>,
}

impl Syscalls {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.calls.values().sum()
    }

    /// The most frequent first.
    #[must_use]
    pub fn by_count(&self) -> Vec<(&str, u64)> {
        let mut calls: Vec<_> = self.calls.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        calls.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        calls
    }

    /// The table of `strace -c`: `% time, seconds, usecs/call, calls, [errors,] syscall`.
    fn parse(table: &str) -> Self {
        let mut calls = BTreeMap::new();
        for line in table.lines() {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (Some(name), Some(Ok(count))) = (fields.last(), fields.get(3).map(|field| field.parse()))
            else {
                continue;
            };
            if *name != "total" {
                calls.insert((*name).to_owned(), count);
            }
        }
        Self { calls }
    }
}

/// Counts the calls of `pid` while `load` runs. `Ok(None)`: there is no `strace`, or it may not look.
///
/// # Errors
///
/// What `load` says, or a `strace` that began and then failed.
pub fn count_syscalls(pid: u32, load: impl FnOnce() -> io::Result<()>) -> io::Result<Option<Syscalls>> {
    let started = Command::new("strace")
        .args(["-f", "-c", "-p", &pid.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut strace) = started else { return Ok(None) };
    let Some(errors) = strace.stderr.take() else { return Ok(None) };
    let mut errors = BufReader::new(errors);
    let mut first = String::new();
    errors.read_line(&mut first)?;
    if !first.contains("attached") || first.contains("Operation not permitted") {
        strace.wait()?;
        return Ok(None);
    }
    let loaded = load();
    interrupt(&strace)?;
    let table = io::read_to_string(errors)?;
    strace.wait()?;
    loaded?;
    Ok(Some(Syscalls::parse(&table)))
}

/// At SIGINT it detaches and writes its table.
fn interrupt(strace: &Child) -> io::Result<()> {
    let pid = i32::try_from(strace.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("not a process"))?;
    Ok(rustix::process::kill_process(pid, Signal::INT)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_with_and_without_errors() {
        let table = "\
strace: Process 4242 detached
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.20    0.001530           1      1500       500 recvfrom
 38.80    0.000970           0      1000           accept4
------ ----------- ----------- --------- --------- ----------------
100.00    0.002500           1      2500       500 total
";
        let syscalls = Syscalls::parse(table);
        assert_eq!(syscalls.total(), 2_500);
        assert_eq!(syscalls.by_count(), [("recvfrom", 1_500), ("accept4", 1_000)]);
    }
}
