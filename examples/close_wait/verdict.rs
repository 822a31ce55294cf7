//! Was the expected contrast there?
//!
//! Owns: what is expected of whom, held against the figures.
//! Never: prints, measures, or passes what could not be measured.

use crate::{
    clients::CrowdTimes,
    outcome::Outcome,
    plan::Kind,
    servers::{Guards, Speaks},
};
use std::{fmt, time::Duration};

/// The age from which Anteroom's default policy takes a client that sent and closed for gone.
const HALF_CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    findings: Vec<Finding>,
}

#[derive(Clone, Debug)]
struct Finding {
    text: String,
    found: Found,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    AsExpected,
    Otherwise,
}

impl Found {
    fn when(expected: bool) -> Self {
        if expected { Self::AsExpected } else { Self::Otherwise }
    }
}

impl Verdict {
    pub(crate) fn of(outcomes: &[Outcome], crowd: CrowdTimes) -> Self {
        let mut verdict = Self::default();
        for outcome in outcomes {
            verdict.premise(outcome, crowd);
            match outcome.server.guards() {
                Guards::Nothing => verdict.plain(outcome),
                Guards::Queue => verdict.guarded(outcome),
            }
        }
        verdict
    }

    pub(crate) fn holds(&self) -> bool {
        self.findings.iter().all(|finding| finding.found == Found::AsExpected)
    }

    /// Nothing of the rest means anything when the clients had not left, or a living one was never answered.
    fn premise(&mut self, outcome: &Outcome, crowd: CrowdTimes) {
        let name = outcome.server.name();
        let end = outcome.counts.stall_ended;
        let patience = u64::try_from(HALF_CLOSE_PATIENCE.as_nanos()).unwrap_or(u64::MAX);
        let before_all = outcome.counts.stall_began > 0 && outcome.counts.stall_began <= crowd.first_arrival;
        let left = crowd.last_departure < end && crowd.last_arrival.saturating_add(patience) < end;
        if !(before_all && left) {
            self.add(
                Found::Otherwise,
                format!(
                    "{name}: the clients came and left, and were a second old, while all workers were blocked"
                ),
            );
        }
        match outcome.first_live_answer() {
            Some(after) => self.add(
                Found::AsExpected,
                format!("{name}: a living client was answered {after:.1?} after the stall"),
            ),
            None => self.add(Found::Otherwise, format!("{name}: no living client was answered")),
        }
    }

    fn plain(&mut self, outcome: &Outcome) {
        let name = outcome.server.name();
        let drops = outcome.queue.drops.unwrap_or(0);
        self.add(
            Found::when(drops > 0 && outcome.turned_away() > 0),
            format!(
                "{name}: the queue overflowed ({}, {drops} drops, {} clients could not connect)",
                depth(outcome),
                outcome.turned_away(),
            ),
        );
        let [silent, reset, sent] = outcome.dead_connections();
        self.add(
            Found::when(silent > 0 && reset > 0 && sent > 0),
            format!("{name}: handlers were called for the dead ({silent} silent, {reset} reset, {sent} sent and closed)"),
        );
        // hyper gives up a request when it happens to see the FIN behind it, so of HTTP nothing is expected.
        if outcome.server.speaks() == Speaks::Raw {
            self.add(
                Found::when(outcome.dead_requests() > 0),
                format!("{name}: {} requests were handled for nobody", outcome.dead_requests()),
            );
        }
    }

    fn guarded(&mut self, outcome: &Outcome) {
        let name = outcome.server.name();
        let Some((drops, limit)) = outcome.queue.drops.zip(outcome.queue.limit) else {
            return self.add(Found::Otherwise, format!("{name}: the kernel tells its queue"));
        };
        self.add(
            Found::when(drops == 0 && outcome.deepest <= limit && outcome.turned_away() == 0),
            format!(
                "{name}: the queue did not overflow ({}, {drops} drops, {} clients could not connect)",
                depth(outcome),
                outcome.turned_away(),
            ),
        );
        for (kind, calls) in Kind::LEAVE.into_iter().zip(outcome.dead_connections()) {
            let who = kind.leaving().map(|leaving| leaving.to_string()).unwrap_or_default();
            let policy = outcome.server.policy();
            self.add(
                Found::when(calls == 0),
                format!("{name}: {calls} handler calls for who {who} (policy: {policy})"),
            );
        }
        let kept: u64 = outcome.kept.unwrap_or_default().iter().sum();
        let handed: u64 = outcome.present_connections().iter().chain(&outcome.dead_connections()).sum();
        let left: u64 = outcome.tally.left.iter().sum();
        self.add(
            Found::when(kept + handed == left && left > 0),
            format!(
                "{name}: of {left} who left, {kept} were kept from the handlers and {handed} handed over"
            ),
        );
        self.add(
            Found::when(outcome.dead_requests() == 0),
            format!("{name}: {} requests were handled for nobody", outcome.dead_requests()),
        );
    }

    fn add(&mut self, found: Found, text: String) {
        self.findings.push(Finding { text, found });
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            match finding.found {
                Found::AsExpected => writeln!(f, "  as expected   {}", finding.text)?,
                Found::Otherwise => writeln!(f, "  NOT EXPECTED  {}", finding.text)?,
            }
        }
        f.write_str(if self.holds() {
            "Verdict: the contrast is there."
        } else {
            "Verdict: the expected contrast did not appear."
        })
    }
}

fn depth(outcome: &Outcome) -> String {
    let limit = outcome.queue.limit.map_or_else(|| "unknown".into(), |limit| limit.to_string());
    format!("depth {} of {limit}", outcome.deepest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        calls::Counts,
        outcome::Live,
        queue::Queue,
        servers::{Report, Server},
    };
    use anteroom_load::{client::CrowdTally, measure::PortSockets};

    const SECOND: u64 = 1_000_000_000;

    fn crowd() -> CrowdTimes {
        CrowdTimes { first_arrival: 2 * SECOND, last_arrival: 3 * SECOND, last_departure: 4 * SECOND }
    }

    fn outcome(server: Server, dead: u64, drops: u64) -> Outcome {
        let mut outcome = Outcome::new(server);
        let queue = Queue { depth: Some(0), limit: Some(128), drops: Some(drops) };
        let counts = Counts {
            present: [0, 0, 0, 2, 2],
            dead: [dead, dead, dead, 0, 0],
            requests: [0, 0, dead, 2, 2],
            blocked: 2,
            stall_began: SECOND,
            stall_ended: 6 * SECOND,
        };
        let full = PortSockets { queued: if drops > 0 { 129 } else { 3 }, ..PortSockets::default() };
        let kept = (server.guards() == Guards::Queue).then_some([50 - dead; 3]);
        let report = Report { counts, queue, kept };
        outcome.look(report, full);
        outcome.look(report, PortSockets::default());
        outcome.tally = CrowdTally { left: [50, 50, 50, 0], ..CrowdTally::default() };
        outcome.tally.turned_away = [drops, 0, 0, 0];
        outcome.waited = Live::Answered { asked: 5 * SECOND, answered: 7 * SECOND };
        outcome.came_after = Live::Answered { asked: 6 * SECOND, answered: 8 * SECOND };
        outcome
    }

    fn holds(outcome: Outcome) -> bool {
        Verdict::of(&[outcome], crowd()).holds()
    }

    #[test]
    fn a_plain_loop_is_expected_to_overflow_and_to_serve_the_dead() {
        for server in [Server::PlainTokio, Server::PlainAxum] {
            assert!(holds(outcome(server, 40, 900)));
            assert!(!holds(outcome(server, 0, 900)), "served no dead");
            assert!(!holds(outcome(server, 40, 0)), "did not overflow");
        }
    }

    #[test]
    fn anteroom_is_expected_to_do_neither() {
        for server in [Server::AnteroomRaw, Server::AnteroomHttp] {
            assert!(holds(outcome(server, 0, 0)));
            assert!(!holds(outcome(server, 1, 0)), "served the dead");
            assert!(!holds(outcome(server, 0, 1)), "overflowed");
        }
    }

    #[test]
    fn one_dead_of_any_kind_is_too_many() {
        for kind in Kind::LEAVE {
            let mut outcome = outcome(Server::AnteroomRaw, 0, 0);
            outcome.counts.dead[kind as usize] = 1;
            assert!(!holds(outcome), "{kind:?}");
        }
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_not_taken_for_good() {
        let mut outcome = outcome(Server::AnteroomRaw, 0, 0);
        outcome.queue.drops = None;
        assert!(!holds(outcome));
    }

    #[test]
    fn who_is_missing_from_the_account_is_noticed() {
        let mut outcome = outcome(Server::AnteroomRaw, 0, 0);
        outcome.kept = Some([50, 49, 50]);
        assert!(!holds(outcome));
    }

    #[test]
    fn clients_that_had_not_left_prove_nothing() {
        let outcome = outcome(Server::PlainTokio, 40, 900);
        let late = CrowdTimes { last_departure: 7 * SECOND, ..crowd() };
        assert!(!Verdict::of(&[outcome], late).holds());
        let young = CrowdTimes { last_arrival: 5 * SECOND + SECOND / 2, ..crowd() };
        assert!(!Verdict::of(&[outcome], young).holds());
    }

    #[test]
    fn a_living_client_without_an_answer_fails_any_server() {
        let mut outcome = outcome(Server::AnteroomHttp, 0, 0);
        (outcome.waited, outcome.came_after) = (Live::Failed, Live::Failed);
        assert!(!holds(outcome));
    }

    #[test]
    fn the_time_to_the_first_live_answer_counts_from_the_end_of_the_stall() {
        let outcome = outcome(Server::PlainTokio, 40, 900);
        assert_eq!(outcome.first_live_answer(), Some(Duration::from_secs(1)));
    }
}
