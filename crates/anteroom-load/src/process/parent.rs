//! The starter's side.
//!
//! Owns: the child, its pipes and its end.
//! Never: leaves a child behind: dropping ends it.

use std::{
    ffi::OsStr,
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a server may take to end by itself once its input ended.
const PATIENCE_AT_END: Duration = Duration::from_secs(1);

/// A running server.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl ServerProcess {
    /// Starts this same program with `arguments` and waits for the address.
    ///
    /// # Errors
    ///
    /// The program cannot be started, or ends or speaks before it wrote an address.
    pub fn start(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> io::Result<Self> {
        Self::start_program(std::env::current_exe()?, arguments)
    }

    /// The same with another program.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_program(
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> io::Result<Self> {
        let mut child =
            Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let questions = child.stdin.take();
        let answers = child.stdout.take().ok_or_else(|| io::Error::other("the server has no output"))?;
        let mut server =
            Self { child, questions, answers: BufReader::new(answers), address: ([0, 0, 0, 0], 0).into() };
        let line = server.read_line()?;
        server.address =
            line.parse().map_err(|_| io::Error::other(format!("not the address of a server: {line:?}")))?;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    ///
    /// The server is gone.
    pub fn ask(&mut self, question: &str) -> io::Result<String> {
        let Some(questions) = &mut self.questions else { return Err(io::ErrorKind::BrokenPipe.into()) };
        questions.write_all(format!("{question}\n").as_bytes())?;
        questions.flush()?;
        self.read_line()
    }

    /// Tells it to end and waits until it has, `patience` at most; then it is killed.
    ///
    /// # Errors
    ///
    /// It did not end by itself.
    pub fn end(mut self, patience: Duration) -> io::Result<()> {
        if self.ends_within(patience) { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }

    fn ends_within(&mut self, patience: Duration) -> bool {
        drop(self.questions.take());
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            // Nothing tells of a child's end but asking; this is the end of a measurement, not a part of it.
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended"));
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if !self.ends_within(PATIENCE_AT_END) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
