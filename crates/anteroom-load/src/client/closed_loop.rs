//! The closed loop: a fixed number of connections, each followed at once by the next.
//!
//! Owns: the pace, and the counting of what came back.
//! Never: a statement about latency at a rate. A slow server is asked less often; for that see the open loop.

use super::{
    Latencies,
    flights::{Exchange, Flights, Landing},
};
use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// How long a run waits for anything at all before it gives up on the connections under way.
const SILENCE: Duration = Duration::from_secs(5);

/// A load to offer.
#[derive(Clone, Debug)]
pub struct ClosedLoop {
    /// The server.
    pub target: SocketAddr,
    /// What each connection says.
    pub exchange: Exchange,
    /// How many connections at a time.
    pub connections: usize,
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After this time.
    Elapsed(Duration),
    /// After this many connections.
    Ended(u64),
}

/// What a run did.
#[derive(Debug)]
pub struct ClosedRun {
    /// Connections with an answer.
    pub answered: u64,
    /// Connections without.
    pub failed: u64,
    /// The last reason.
    pub last_failure: Option<io::Error>,
    /// From the first start to the end.
    pub elapsed: Duration,
    /// From connect to first byte.
    pub latencies: Latencies,
}

impl ClosedRun {
    /// For runs of which every single connection counts.
    ///
    /// # Errors
    ///
    /// One had no answer.
    pub fn all_answered(self) -> io::Result<()> {
        if self.failed == 0 { Ok(()) } else { Err(self.last_failure.unwrap_or(io::ErrorKind::Other.into())) }
    }

    /// Answered connections per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl ClosedLoop {
    /// Runs on this thread. Connections that are under way at the end are reset and not counted.
    ///
    /// # Errors
    ///
    /// When the client itself cannot work (no descriptors, no epoll). What the server does is counted instead.
    pub fn run(&self, until: Until) -> io::Result<ClosedRun> {
        let mut flights = Flights::new(self.target, self.exchange.clone())?;
        let begun = Instant::now();
        let mut run = ClosedRun {
            answered: 0,
            failed: 0,
            last_failure: None,
            elapsed: Duration::ZERO,
            latencies: Latencies::new()?,
        };
        let mut last_landing = begun;
        while !is_over(until, &run, begun) {
            while flights.under_way() < self.connections.max(1) {
                match flights.launch(Instant::now()) {
                    Ok(()) => {}
                    Err(error) if is_the_servers_doing(&error) => {
                        run.failed += 1;
                        run.last_failure = Some(error);
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            let before = run.answered + run.failed;
            flights.wait(Duration::from_millis(100), |landing| match landing {
                Landing::Answered(took) => {
                    run.answered += 1;
                    run.latencies.record(took);
                }
                Landing::Failed(error) => {
                    run.failed += 1;
                    run.last_failure = Some(error);
                }
            })?;
            if run.answered + run.failed > before {
                last_landing = Instant::now();
            } else if last_landing.elapsed() > SILENCE {
                run.failed += flights.abandon();
                run.last_failure = Some(io::Error::new(io::ErrorKind::TimedOut, "no answer at all"));
                break;
            }
        }
        run.elapsed = begun.elapsed();
        Ok(run)
    }
}

/// It refused, or was gone, before the client had spoken.
fn is_the_servers_doing(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionRefused | ConnectionReset)
}

fn is_over(until: Until, run: &ClosedRun, begun: Instant) -> bool {
    match until {
        Until::Elapsed(length) => begun.elapsed() >= length,
        Until::Ended(count) => run.answered + run.failed >= count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_gone_is_counted_and_is_no_error_of_the_client() {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let load = ClosedLoop { target: gone, exchange: Exchange::one_byte(), connections: 4 };
        let run = load.run(Until::Ended(2)).unwrap();
        assert_eq!((run.answered, run.failed), (0, 2));
        assert_eq!(run.all_answered().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
