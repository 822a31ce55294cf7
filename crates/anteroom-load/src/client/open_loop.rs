//! The open loop: connections start at a fixed rate, whatever the server does.
//!
//! Owns: the pace. Latency counts from the *intended* start, so that a server that stalls is charged for every
//! client that it kept waiting, also for those that this client could not start in time.
//! Never: slows down.

use super::{
    Latencies, Schedule,
    flights::{Exchange, Flights, Landing},
};
use std::{
    io,
    net::SocketAddr,
    num::NonZeroU64,
    time::{Duration, Instant},
};

/// How long after the last start an answer may come and still count.
const GRACE: Duration = Duration::from_secs(3);

/// The kernel may put a wake-up off by this much, instead of the 50 µs that are usual.
const TIMER_SLACK_NANOS: u64 = 1_000;

/// A load to offer.
#[derive(Clone, Debug)]
pub struct OpenLoop {
    /// The server.
    pub target: SocketAddr,
    /// What each connection says.
    pub exchange: Exchange,
    /// The starts.
    pub schedule: Schedule,
}

/// What a run did.
#[derive(Debug)]
pub struct OpenRun {
    /// Connections with an answer.
    pub answered: u64,
    /// Connections that ended without, or had none when the grace was over.
    pub failed: u64,
    /// The last reason.
    pub last_failure: Option<io::Error>,
    /// From the first intended start to the last answer.
    pub elapsed: Duration,
    /// From the intended start to the first byte, of the answered.
    pub latencies: Latencies,
    /// From the intended start to the real one: what the client itself adds to the latency.
    pub lag: Latencies,
}

impl OpenLoop {
    /// Runs on this thread.
    ///
    /// # Errors
    ///
    /// When the client itself cannot work. What the server does is counted instead.
    pub fn run(&self) -> io::Result<OpenRun> {
        rustix::thread::set_current_timer_slack(NonZeroU64::new(TIMER_SLACK_NANOS))?;
        let mut flights = Flights::new(self.target, self.exchange.clone())?;
        let mut run = OpenRun {
            answered: 0,
            failed: 0,
            last_failure: None,
            elapsed: Duration::ZERO,
            latencies: Latencies::new()?,
            lag: Latencies::new()?,
        };
        let begun = Instant::now();
        let last_answer = begun + self.schedule.intended(self.schedule.count()) + GRACE;
        let mut started = 0;
        while started < self.schedule.count() || (flights.under_way() > 0 && Instant::now() < last_answer) {
            self.start_what_is_due(&mut flights, &mut run, begun, &mut started);
            let next = if started < self.schedule.count() {
                begun + self.schedule.intended(started)
            } else {
                last_answer
            };
            flights.wait(next.saturating_duration_since(Instant::now()), |landing| match landing {
                Landing::Answered(took) => {
                    run.answered += 1;
                    run.latencies.record(took);
                }
                Landing::Failed(error) => {
                    run.failed += 1;
                    run.last_failure = Some(error);
                }
            })?;
        }
        run.elapsed = begun.elapsed();
        run.failed += flights.abandon();
        Ok(run)
    }

    fn start_what_is_due(&self, flights: &mut Flights, run: &mut OpenRun, begun: Instant, started: &mut u64) {
        while *started < self.schedule.due(begun.elapsed()) {
            let intended = begun + self.schedule.intended(*started);
            *started += 1;
            run.lag.record(intended.elapsed());
            if let Err(error) = flights.launch(intended) {
                run.failed += 1;
                run.last_failure = Some(error);
            }
        }
    }
}
