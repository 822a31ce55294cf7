//! One server, measured once.
//!
//! Owns: the order in a round (start, warm up, closed loop, open loop, end), and what is read around each.
//! Never: two servers at a time.

use crate::args::Bench;
use anteroom_load::{
    client::{ClosedLoop, OpenLoop, Schedule, Until},
    measure::{Syscalls, Usage, busy_cores, count_syscalls},
    peer::Peer,
    process::ServerProcess,
};
use std::{
    fmt, io,
    time::{Duration, Instant},
};

/// Connections before anything is measured: threads have started, memory is there.
const WARM_UP: u64 = 2_000;

/// Connections of a traced server.
const TRACED: u64 = 2_000;

/// What one round says of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) closed: Closed,
    pub(crate) open: Open,
    /// Cores that were busy with neither the server nor the client, on average.
    pub(crate) others: f64,
    /// How many measurements before this one were disturbed.
    pub(crate) repeats: usize,
}

/// As many connections as client and server manage together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) per_second: f64,
    pub(crate) server_micros: f64,
    pub(crate) client_micros: f64,
    pub(crate) switches: f64,
    pub(crate) failed: u64,
}

/// At the fixed rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) per_second: f64,
    pub(crate) server_micros: f64,
    pub(crate) switches: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) p999: Duration,
    pub(crate) lag_p99: Duration,
    pub(crate) failed: u64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "closed {:>7.0}/s {:>6.1} µs CPU  ·  open {:>7.0}/s {:>6.1} µs CPU, p50 {:?}, p99 {:?}, p99.9 {:?}",
            self.closed.per_second,
            self.closed.server_micros,
            self.open.per_second,
            self.open.server_micros,
            self.open.p50,
            self.open.p99,
            self.open.p999,
        )?;
        if self.others > 0.1 {
            write!(f, ", others on {:.1} cores", self.others)?;
        }
        let failed = self.closed.failed + self.open.failed;
        if failed > 0 { write!(f, ", {failed} failed") } else { Ok(()) }
    }
}

/// A fresh process, so that no server profits from an earlier round.
pub(crate) fn measure(peer: Peer, bench: &Bench) -> io::Result<Measured> {
    let server = ServerProcess::start(["serve", peer.name()])?;
    let closed_loop = closed_loop(peer, &server, bench);
    closed_loop.run(Until::Ended(WARM_UP))?;
    let (begun, busy, ours) = (Instant::now(), busy_cores()?, ours(&server)?);
    let closed = closed(&server, &closed_loop, bench.length())?;
    let open = open(peer, &server, bench)?;
    let busy = (busy_cores()?.saturating_sub(busy)).as_secs_f64();
    let ours = (self::ours(&server)?.saturating_sub(ours)).as_secs_f64();
    let others = (busy - ours).max(0.0) / begun.elapsed().as_secs_f64();
    Ok(Measured { closed, open, others, repeats: 0 })
}

/// Time that server and client have spent on the cores.
fn ours(server: &ServerProcess) -> io::Result<Duration> {
    Ok(Usage::of(server.pid())?.cpu + Usage::of_this_thread()?.cpu)
}

/// The system calls of `TRACED` connections. `Ok(None)`: they cannot be counted here.
pub(crate) fn syscalls(peer: Peer, bench: &Bench) -> io::Result<Option<Syscalls>> {
    let server = ServerProcess::start(["serve", peer.name()])?;
    let closed_loop = closed_loop(peer, &server, bench);
    closed_loop.run(Until::Ended(WARM_UP))?;
    let counted = count_syscalls(server.pid(), || closed_loop.run(Until::Ended(TRACED)).map(drop))?;
    Ok(counted)
}

/// Per connection, with two digits.
pub(crate) fn per_traced(calls: u64) -> String {
    format!("{:.2}", calls as f64 / TRACED as f64)
}

fn closed_loop(peer: Peer, server: &ServerProcess, bench: &Bench) -> ClosedLoop {
    ClosedLoop {
        target: server.address(),
        exchange: peer.protocol().exchange(),
        connections: bench.connections,
    }
}

fn closed(server: &ServerProcess, closed_loop: &ClosedLoop, length: Duration) -> io::Result<Closed> {
    let (server_before, client_before) = (Usage::of(server.pid())?, Usage::of_this_thread()?);
    let run = closed_loop.run(Until::Elapsed(length))?;
    let server_used = Usage::of(server.pid())? - server_before;
    let client_used = Usage::of_this_thread()? - client_before;
    Ok(Closed {
        per_second: run.rate(),
        server_micros: server_used.cpu_micros_per(run.answered),
        client_micros: client_used.cpu_micros_per(run.answered),
        switches: server_used.switches_per(run.answered),
        failed: run.failed,
    })
}

fn open(peer: Peer, server: &ServerProcess, bench: &Bench) -> io::Result<Open> {
    let open_loop = OpenLoop {
        target: server.address(),
        exchange: peer.protocol().exchange(),
        schedule: Schedule::new(bench.rate, bench.length()),
    };
    let before = Usage::of(server.pid())?;
    let run = open_loop.run()?;
    let used = Usage::of(server.pid())? - before;
    Ok(Open {
        per_second: run.answered as f64 / run.elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
        server_micros: used.cpu_micros_per(run.answered),
        switches: used.switches_per(run.answered),
        p50: run.latencies.percentile(50.0),
        p99: run.latencies.percentile(99.0),
        p999: run.latencies.percentile(99.9),
        lag_p99: run.lag.percentile(99.0),
        failed: run.failed,
    })
}
