//! User instructions of a process, counted by valgrind's `callgrind` when it is there.
//!
//! Owns: running a server under it, and reading the total.
//! Never: part of a timed round. Valgrind runs one thread at a time, many times slower; what the kernel does is
//! not counted.

use crate::process::ServerProcess;
use std::{
    ffi::OsString,
    fs, io,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

/// How long a server may take to end; the total is written then.
const PATIENCE_AT_END: Duration = Duration::from_secs(60);

/// User instructions of one process, from its start to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instructions {
    /// Of threads that have something to do when somebody comes.
    pub serving: u64,
    /// Of threads that look at the others in intervals. These go by time and not by connections, and under valgrind a
    /// connection takes many times longer.
    pub looking: u64,
}

/// Those of this same program with `arguments`, a server; `load` is what it serves. A thread is one that looks if it
/// has been in one of the functions `lookouts`, each a part of a symbol's name. `Ok(None)`: there is no valgrind.
///
/// # Errors
///
/// What `load` says, or a valgrind that cannot run the server or write its totals.
pub fn count_instructions(
    arguments: &[String],
    lookouts: &[&str],
    load: impl FnOnce(SocketAddr) -> io::Result<()>,
) -> io::Result<Option<Instructions>> {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if version.is_err() {
        return Ok(None);
    }
    let folder = std::env::temp_dir().join(format!("anteroom-instructions.{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let mut file = OsString::from("--callgrind-out-file=");
    file.push(folder.join("thread"));
    let mut all = vec!["--tool=callgrind".into(), "--quiet".into(), file, "--separate-threads=yes".into()];
    // Fair, because otherwise a thread may keep its turn for long, and others find all their work at once.
    all.push("--fair-sched=try".into());
    all.push(std::env::current_exe()?.into());
    all.extend(arguments.iter().map(OsString::from));
    let server = ServerProcess::start_program("valgrind", all)?;
    load(server.address())?;
    server.end(PATIENCE_AT_END)?;
    let mut sum = Instructions::default();
    for entry in fs::read_dir(&folder)? {
        // One for each thread, and an empty one for all of them.
        sum.add(&fs::read_to_string(entry?.path())?, lookouts);
    }
    fs::remove_dir_all(&folder)?;
    (sum.serving > 0).then_some(Some(sum)).ok_or_else(|| io::Error::other("valgrind wrote no total"))
}

impl Instructions {
    fn add(&mut self, thread: &str, lookouts: &[&str]) {
        let looks = lookouts.iter().any(|function| thread.contains(function));
        let sum = if looks { &mut self.looking } else { &mut self.serving };
        *sum += parse(thread).unwrap_or_default();
    }
}

/// The last line of the file, `totals: 123`; with one event that is the number of instructions.
fn parse(text: &str) -> Option<u64> {
    text.lines().rev().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_last_line() {
        assert_eq!(parse("events: Ir\nfn=(1) main\n12 700\n\ntotals: 123456\n"), Some(123_456));
        assert_eq!(parse("events: Ir\n"), None);
    }

    #[test]
    fn a_thread_that_looks_is_known_by_what_it_ran() {
        let mut sum = Instructions::default();
        for thread in ["fn=(1) run\n\ntotals: 5\n", "fn=(2) Pulse::run\n\ntotals: 7\n", ""] {
            sum.add(thread, &["Pulse::run"]);
        }
        assert_eq!(sum, Instructions { serving: 5, looking: 7 });
    }
}
