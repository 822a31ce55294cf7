//! The raw protocol of the tests: a line is a request, and its answer is one long line.
//!
//! Owns the protocol and the count of calls. The first word of a connection's first line is the kind
//! under which it is counted. Who closes without a line is of the kind `silent`.

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anteroom::Connection;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// What a server says that speaks first.
pub const BANNER: &str = "220 ready\n";

/// Long enough that an answer that was cut off is seen to be.
const FILLER: usize = 4096;

/// The whole answer to a line, without its end.
#[must_use]
pub fn answer(line: &str) -> String {
    format!("{line} {}", "x".repeat(FILLER))
}

/// How often the handler was called, for whom, and how many of the calls block their worker now.
#[derive(Debug, Default)]
pub struct Calls {
    total: AtomicUsize,
    blocked: AtomicUsize,
    by_kind: Mutex<BTreeMap<String, usize>>,
}

impl Calls {
    /// Every call, told of when it is made.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Acquire)
    }

    /// Calls that sleep on their worker at this moment.
    #[must_use]
    pub fn blocked(&self) -> usize {
        self.blocked.load(Ordering::Acquire)
    }

    /// Calls of one kind, told of when the first line has been read.
    #[must_use]
    pub fn of(&self, kind: &str) -> usize {
        self.by_kind.lock().unwrap_or_else(PoisonError::into_inner).get(kind).copied().unwrap_or(0)
    }

    /// All of it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let by_kind = self.by_kind.lock().unwrap_or_else(PoisonError::into_inner).clone();
        json!({ "total": self.total(), "blocked": self.blocked(), "by_kind": by_kind })
    }

    /// To be called in the service's `call`.
    pub fn count(&self) {
        self.total.fetch_add(1, Ordering::AcqRel);
    }

    /// Sleeps on the thread that runs it, which no handler should do, and some do.
    pub fn block(&self, time: Duration) {
        self.blocked.fetch_add(1, Ordering::AcqRel);
        std::thread::sleep(time);
        self.blocked.fetch_sub(1, Ordering::AcqRel);
    }

    fn is_of(&self, kind: &str) {
        let mut by_kind = self.by_kind.lock().unwrap_or_else(PoisonError::into_inner);
        *by_kind.entry(kind.to_owned()).or_default() += 1;
    }
}

/// Answers lines until the client's end. `block MILLIS` blocks the worker that runs it, and answers then;
/// `child SECONDS` starts a process that sleeps so long and outlives the server, and answers `child PID`.
///
/// # Errors
/// Those of reading and writing.
pub async fn speak(connection: Connection, calls: &Calls) -> io::Result<()> {
    let mut connection = BufReader::new(connection);
    let mut first = true;
    loop {
        let mut line = String::new();
        let read = connection.read_line(&mut line).await?;
        let line = line.trim_end();
        if std::mem::take(&mut first) {
            let kind = line.split(' ').next().filter(|kind| !kind.is_empty());
            calls.is_of(kind.unwrap_or("silent"));
        }
        if read == 0 {
            return Ok(());
        }
        if let Some(millis) = line.strip_prefix("block ") {
            calls.block(Duration::from_millis(millis.parse().expect("a number of milliseconds")));
        }
        let mut answer = match line.strip_prefix("child ") {
            Some(seconds) => answer(&format!("child {}", start_child(seconds)?)),
            None => answer(line),
        };
        answer.push('\n');
        connection.get_mut().write_all(answer.as_bytes()).await?;
    }
}

/// What many handlers do: nothing is said of what the child may inherit.
fn start_child(seconds: &str) -> io::Result<u32> {
    let mut command = Command::new("sleep");
    command.arg(seconds).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.spawn()?.id())
}

/// Speaks first, then as [`speak`].
///
/// # Errors
/// Those of reading and writing.
pub async fn greet(mut connection: Connection, calls: &Calls) -> io::Result<()> {
    connection.write_all(BANNER.as_bytes()).await?;
    speak(connection, calls).await
}
