//! What one server did to its clients.
//!
//! Owns: bringing together what the clients and the handlers noted.
//! Never: a guess: a call belongs to the last client that came from that address before it.

use crate::{
    client::{Ending, Leaving, Visit},
    service::Call,
};
use std::{collections::HashMap, io, net::SocketAddr, ops::Range, time::Duration};

/// What one server did.
#[derive(Clone, Debug)]
pub struct StallRun {
    /// The server.
    pub name: String,
    /// The clients'.
    pub patience: Duration,
    /// When every worker was blocked: a moment of [`now`](crate::measure::now), like all here.
    pub shut: Duration,
    /// When the handlers went on.
    pub opened: Duration,
    /// The clients, in the order in which they were meant to come.
    pub visits: Vec<Visit>,
    /// Whom handlers were called for.
    pub calls: Vec<Call>,
    /// What the server says itself, if it says anything.
    pub report: String,
}

impl StallRun {
    /// Those who came in this stretch after the release.
    pub fn arrivals(&self, after: Range<Duration>) -> impl Iterator<Item = &Visit> {
        let stretch = self.opened + after.start..self.opened + after.end;
        self.visits.iter().filter(move |visit| stretch.contains(&visit.intended))
    }

    /// Of those the share that was answered. Not a number when nobody came.
    #[must_use]
    pub fn success(&self, after: Range<Duration>) -> f64 {
        let (mut came, mut answered) = (0_u64, 0_u64);
        for visit in self.arrivals(after) {
            came += 1;
            answered += u64::from(visit.ending == Ending::Answered);
        }
        answered as f64 / came as f64
    }

    /// From the release until, for so long on end, that share of the new clients was answered. `None`: never.
    #[must_use]
    pub fn recovered_after(&self, share: f64, on_end: Duration) -> Option<Duration> {
        const STEP: Duration = Duration::from_millis(50);
        let last = self.visits.last()?.intended.saturating_sub(self.opened);
        let mut from = Duration::ZERO;
        while from + on_end <= last {
            if self.success(from..from + on_end) >= share {
                return Some(from);
            }
            from += STEP;
        }
        None
    }

    /// Calls for clients that had left in this manner: who, and how long before the call.
    #[must_use]
    pub fn called_after_leaving(&self, manner: Leaving) -> Vec<(&Visit, Duration)> {
        let by_address = self.by_address();
        let calls = self.calls.iter().filter_map(|call| {
            let visit = by_address.get(&call.peer)?.iter().rev().find(|visit| visit.began <= call.at)?;
            let since = call.at.checked_sub(visit.ended)?;
            visit.left(manner).then_some((*visit, since))
        });
        calls.collect()
    }

    /// A line for each client: `server,came_ms,source,manner,ending,took_ms,call_ms`, times from the release,
    /// the call from the coming; empty where there was none.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn write_clients(&self, mut out: impl io::Write) -> io::Result<()> {
        let mut calls: HashMap<(SocketAddr, Duration), Duration> = HashMap::new();
        let by_address = self.by_address();
        for call in &self.calls {
            let visits = by_address.get(&call.peer).into_iter().flatten();
            if let Some(visit) = visits.rev().find(|visit| visit.began <= call.at) {
                calls.insert((call.peer, visit.began), call.at - visit.began);
            }
        }
        for visit in &self.visits {
            let called = visit.local.and_then(|local| calls.get(&(local, visit.began)));
            let called =
                called.map(|called| format!("{:.3}", called.as_secs_f64() * 1e3)).unwrap_or_default();
            let came = (visit.intended.as_secs_f64() - self.opened.as_secs_f64()) * 1e3;
            let source = visit.local.map(|local| local.ip().to_string()).unwrap_or_default();
            let took = visit.took().as_secs_f64() * 1e3;
            let Self { name, .. } = self;
            writeln!(out, "{name},{came:.3},{source},{},{},{took:.3},{called}", visit.leaving, visit.ending)?;
        }
        Ok(())
    }

    /// Each in the order of coming.
    fn by_address(&self) -> HashMap<SocketAddr, Vec<&Visit>> {
        let mut map: HashMap<SocketAddr, Vec<&Visit>> = HashMap::new();
        for visit in &self.visits {
            if let Some(local) = visit.local {
                map.entry(local).or_default().push(visit);
            }
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(came_ms: u64, ended_ms: u64, ending: Ending, leaving: Leaving) -> Visit {
        let came = Duration::from_millis(came_ms);
        Visit {
            local: Some("127.0.0.1:9".parse().unwrap()),
            intended: came,
            began: came,
            connected: Some(came),
            sent: None,
            ended: Duration::from_millis(ended_ms),
            leaving,
            ending,
            heard: Vec::new(),
        }
    }

    fn run(visits: Vec<Visit>, calls_ms: &[u64]) -> StallRun {
        let peer = "127.0.0.1:9".parse().unwrap();
        StallRun {
            name: "test".into(),
            patience: Duration::from_secs(2),
            shut: Duration::from_millis(500),
            opened: Duration::from_secs(1),
            visits,
            calls: calls_ms.iter().map(|at| Call { peer, at: Duration::from_millis(*at) }).collect(),
            report: String::new(),
        }
    }

    #[test]
    fn a_call_belongs_to_the_last_who_came_from_there() {
        let visits = vec![
            visit(100, 200, Ending::GaveUp, Leaving::Silent),
            visit(300, 400, Ending::Answered, Leaving::Silent),
            visit(500, 600, Ending::GaveUp, Leaving::Reset),
        ];
        // While the first was there; after it had left; for the second; after the third had left.
        let run = run(visits, &[150, 250, 350, 650]);
        let since =
            |manner| run.called_after_leaving(manner).iter().map(|(_, since)| since.as_millis()).collect();
        let (silent, reset): (Vec<_>, Vec<_>) = (since(Leaving::Silent), since(Leaving::Reset));
        assert_eq!((silent, reset), (vec![50], vec![50]));
        let mut clients = Vec::new();
        run.write_clients(&mut clients).unwrap();
        let clients = String::from_utf8(clients).unwrap();
        assert!(
            clients.starts_with("test,-900.000,127.0.0.1,closed without a byte,gave up,100.000,150.000\n")
        );
    }

    #[test]
    fn success_counts_who_came_in_the_stretch() {
        let visits = (0..20)
            .map(|number| {
                let ending = if number < 12 { Ending::GaveUp } else { Ending::Answered };
                visit(1_000 + number * 100, 9_000, ending, Leaving::Silent)
            })
            .collect();
        let run = run(visits, &[]);
        let millis = Duration::from_millis;
        assert!((run.success(millis(0)..millis(2_000)) - 0.4).abs() < 1e-9);
        assert_eq!(run.recovered_after(0.99, millis(400)), Some(millis(1_150)));
        assert_eq!(run.recovered_after(0.99, millis(4_000)), None);
        assert!(run.success(millis(5_000)..millis(6_000)).is_nan());
    }
}
