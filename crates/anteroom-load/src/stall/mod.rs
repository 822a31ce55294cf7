//! What clients meet after a stall: every handler blocks its worker for a while, clients come and give up all
//! the time, and then the handlers go on.
//!
//! Owns: the run, with several servers at once under the same load, each a process of its own.
//! Never: judges; it tells.

mod account;
mod curve;

pub use account::StallRun;
pub use curve::{Curve, Slot};

use crate::{
    client::{Hearing, ImpatientLoop, Leaving, Schedule, Visit, Visitor, loopback_sources},
    measure::now,
    process::ServerProcess,
    service::{Call, Loop, Setup},
};
use std::{ffi::OsStr, io, net::SocketAddr, sync::Arc, thread, time::Duration};

/// From the start of the servers to the first client.
const RUN_UP: Duration = Duration::from_millis(100);

/// How long the handlers may take until they have blocked every worker.
const BOUND: Duration = Duration::from_secs(10);

/// Who says nothing leaves silently or by reset, a third has sent its request.
const MANNERS: [Leaving; 3] = [Leaving::Silent, Leaving::Reset, Leaving::SendAndClose];

/// Enough that nobody's share is a limit.
const SOURCES: u16 = 250;

/// The numbers of a run.
#[derive(Clone, Copy, Debug)]
pub struct AfterAStall {
    /// New clients per second.
    pub rate: u32,
    /// How long each waits for its answer.
    pub patience: Duration,
    /// How long all is well before.
    pub before: Duration,
    /// How long every worker is blocked.
    pub blocked: Duration,
    /// How long clients come after it.
    pub after: Duration,
    /// Clients that are worked for at a time.
    pub places: usize,
    /// For how long each.
    pub takes: Duration,
    /// Workers of the runtime.
    pub workers: usize,
}

impl Default for AfterAStall {
    /// 16 places for 20 ms each are 800 clients per second, twice what comes: enough to recover with, and so
    /// little that a queue of 4,000 takes more than five seconds.
    fn default() -> Self {
        Self {
            rate: 400,
            patience: Duration::from_secs(2),
            before: Duration::from_secs(3),
            blocked: Duration::from_secs(10),
            after: Duration::from_secs(12),
            places: 16,
            takes: Duration::from_millis(20),
            workers: 2,
        }
    }
}

impl AfterAStall {
    /// Runs all `servers` at once, `program` being one that serves [services](crate::service).
    ///
    /// # Errors
    ///
    /// A server or a client cannot work.
    pub fn run(&self, program: impl AsRef<OsStr>, servers: &[(&str, Loop)]) -> io::Result<Vec<StallRun>> {
        let mut processes = Vec::new();
        for (_, accepted_by) in servers {
            processes.push(self.setup(accepted_by.clone()).start(&program)?);
        }
        let begin = now() + RUN_UP;
        thread::scope(|scope| {
            let clients: Vec<_> = processes
                .iter()
                .map(|process| {
                    let load = self.load(process.address());
                    scope.spawn(move || load.run(begin))
                })
                .collect();
            let turns = self.block(begin, &mut processes)?;
            let mut runs = Vec::new();
            for (clients, (turn, (process, (name, _)))) in
                clients.into_iter().zip(turns.into_iter().zip(processes.iter_mut().zip(servers)))
            {
                let visits =
                    clients.join().map_err(|_| io::Error::other("the clients of a server panicked"))??;
                runs.push(self.told(name, turn, visits, process)?);
            }
            Ok(runs)
        })
    }

    fn told(
        &self,
        name: &str,
        (shut, opened): (Duration, Duration),
        mut visits: Vec<Visit>,
        process: &mut ServerProcess,
    ) -> io::Result<StallRun> {
        visits.sort_by_key(|visit| visit.intended);
        let (calls, report) = (Call::all(process)?, process.ask("report")?);
        Ok(StallRun { name: name.to_owned(), patience: self.patience, shut, opened, visits, calls, report })
    }

    fn setup(&self, accepted_by: Loop) -> Setup {
        let Self { places, takes, workers, .. } = *self;
        Setup { accepted_by, places, takes, workers, backlog: 4096 }
    }

    fn load(&self, target: SocketAddr) -> ImpatientLoop {
        let request: Arc<[u8]> = Arc::from(&b"request"[..]);
        // The number of sources is no multiple of three: each source has clients of every manner.
        let sources = loopback_sources(SOURCES);
        let visitors = sources.iter().cycle().zip(MANNERS.iter().cycle()).take(sources.len() * MANNERS.len());
        let visitors = visitors.map(|(source, leaving)| Visitor {
            target,
            source: Some(*source),
            request: Arc::clone(&request),
            hearing: Hearing::FirstByte,
            leaving: *leaving,
            patience: self.patience,
        });
        let length = self.before + self.blocked + self.after;
        ImpatientLoop { visitors: visitors.collect(), schedule: Schedule::new(self.rate, length) }
    }

    /// Blocks and releases; when, for each.
    fn block(
        &self,
        begin: Duration,
        processes: &mut [ServerProcess],
    ) -> io::Result<Vec<(Duration, Duration)>> {
        sleep_until(begin + self.before);
        for process in processes.iter_mut() {
            process.ask("shut")?;
        }
        let mut shut = Vec::new();
        let bound = now() + BOUND;
        for process in processes.iter_mut() {
            while process.ask("blocked")? != self.workers.to_string() {
                if now() > bound {
                    return Err(io::Error::other("the handlers do not block every worker"));
                }
                thread::sleep(Duration::from_millis(1));
            }
            shut.push(now());
        }
        sleep_until(now() + self.blocked);
        let mut turns = Vec::new();
        for (process, shut) in processes.iter_mut().zip(shut) {
            let opened: u64 = serde_json::from_str(&process.ask("open")?)?;
            turns.push((shut, Duration::from_nanos(opened)));
        }
        Ok(turns)
    }
}

fn sleep_until(moment: Duration) {
    thread::sleep(moment.saturating_sub(now()));
}
