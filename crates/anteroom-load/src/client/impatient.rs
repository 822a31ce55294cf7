//! The open loop of clients with patience: they start at a fixed rate, whatever the server does, and each
//! leaves a record.
//!
//! Owns: the pace, and who comes next.
//! Never: slows down.

use super::{
    Schedule,
    visit::{Visit, Visitor},
    visitors::Visitors,
};
use crate::measure::now;
use std::{io, net::IpAddr, num::NonZeroU64, time::Duration};

/// The kernel may put a wake-up off by this much, instead of the 50 µs that are usual.
const TIMER_SLACK_NANOS: u64 = 1_000;

/// Clients to come.
#[derive(Clone, Debug)]
pub struct ImpatientLoop {
    /// They come in this order, again and again.
    pub visitors: Vec<Visitor>,
    /// When.
    pub schedule: Schedule,
}

impl ImpatientLoop {
    /// Runs on this thread, from `begin` (a moment of [`now`]) until the last client has ended, and gives the
    /// records in the order of their ends.
    ///
    /// # Errors
    ///
    /// When the client itself cannot work. What the server does is in the records.
    pub fn run(&self, begin: Duration) -> io::Result<Vec<Visit>> {
        let mut visits = Vec::new();
        self.run_with(begin, |visit| visits.push(visit))?;
        Ok(visits)
    }

    /// As [`run`](Self::run), telling of each as it ends.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_with(&self, begin: Duration, mut ended: impl FnMut(Visit)) -> io::Result<()> {
        rustix::thread::set_current_timer_slack(NonZeroU64::new(TIMER_SLACK_NANOS))?;
        let mut here = Visitors::new()?;
        let mut next = self.visitors.iter().cycle();
        let mut started = 0;
        while started < self.schedule.count() || here.present() > 0 {
            let elapsed = now().checked_sub(begin);
            let due = elapsed.map_or(0, |elapsed| self.schedule.due(elapsed));
            while started < due {
                let Some(visitor) = next.next() else { break };
                here.arrive(visitor.clone(), begin + self.schedule.intended(started));
                started += 1;
            }
            let until = if started < self.schedule.count() {
                begin + self.schedule.intended(started)
            } else {
                // Departures wake it earlier.
                now() + Duration::from_secs(1)
            };
            here.wait(until)?;
            here.take_ended().into_iter().for_each(&mut ended);
        }
        Ok(())
    }
}

/// So many different sources on the loopback, none of which is 127.0.0.1.
#[must_use]
pub fn loopback_sources(count: u16) -> Vec<IpAddr> {
    (0..count)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            IpAddr::from([127, 1 + high / 250, high % 250, low])
        })
        .collect()
}
