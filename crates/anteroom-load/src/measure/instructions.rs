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

/// Those of this same program with `arguments`, a server, from its start to its end; `load` is what it serves.
/// `Ok(None)`: there is no valgrind.
///
/// # Errors
///
/// What `load` says, or a valgrind that cannot run the server or write its total.
pub fn count_instructions(
    arguments: &[String],
    load: impl FnOnce(SocketAddr) -> io::Result<()>,
) -> io::Result<Option<u64>> {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if version.is_err() {
        return Ok(None);
    }
    let total = std::env::temp_dir().join(format!("anteroom-instructions.{}", std::process::id()));
    let mut file = OsString::from("--callgrind-out-file=");
    file.push(&total);
    // Fair, because otherwise a thread may keep its turn for long, and others find all their work at once.
    let mut all: Vec<OsString> =
        vec!["--tool=callgrind".into(), "--quiet".into(), "--fair-sched=try".into(), file];
    all.push(std::env::current_exe()?.into());
    all.extend(arguments.iter().map(OsString::from));
    let server = ServerProcess::start_program("valgrind", all)?;
    load(server.address())?;
    server.end(PATIENCE_AT_END)?;
    let text = fs::read_to_string(&total)?;
    fs::remove_file(&total)?;
    parse(&text).map(Some).ok_or_else(|| io::Error::other("valgrind wrote no total"))
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
}
