//! The table: a column per server, a row per figure.
//!
//! Owns: the words and the widths.
//! Never: the terminal.

use crate::{
    outcome::{Live, Outcome},
    plan::{ASKS_BEFORE_END, Kind},
};
use std::time::Duration;

const TITLE: usize = 48;
const COLUMN: usize = 17;

/// How wide a line of the table is.
pub(crate) fn width(outcomes: usize) -> usize {
    TITLE + COLUMN * outcomes
}

/// The lines.
pub(crate) fn table(outcomes: &[Outcome]) -> Vec<String> {
    let row = |title: &str, cell: &dyn Fn(&Outcome) -> String| {
        outcomes
            .iter()
            .fold(format!("{title:TITLE$}"), |line, outcome| line + &format!("{:>COLUMN$}", cell(outcome)))
    };
    let mut lines = vec![
        row("", &|outcome| outcome.server.name().into()),
        row("policy for who left before accept", &|outcome| outcome.server.policy().into()),
        row("accept queue: depth / limit", &|outcome| {
            format!("{} / {}", outcome.sockets.queued, or_dash(outcome.queue.limit))
        }),
        row("  the deepest that was seen", &|outcome| outcome.deepest.to_string()),
        row("  dropped by the full queue (segments)", &|outcome| or_dash(outcome.queue.drops)),
        row("CLOSE_WAIT that no process owns", &|outcome| outcome.sockets.close_wait_unowned.to_string()),
        row("  the most that were seen", &|outcome| outcome.most_close_wait.to_string()),
        row("clients that connected and gave up", &|outcome| {
            outcome.tally.left.iter().sum::<u64>().to_string()
        }),
        row("clients that could not even connect", &|outcome| outcome.turned_away().to_string()),
    ];
    lines.push("handler calls for clients that had left, who".into());
    for kind in Kind::LEAVE {
        let title = kind.leaving().map(|leaving| format!("  {leaving}")).unwrap_or_default();
        lines.push(row(&title, &|outcome| outcome.counts.dead_of(kind).to_string()));
    }
    lines.push(row("connections handed over before the client left", &|outcome| {
        outcome.present_connections().iter().sum::<u64>().to_string()
    }));
    lines.push("kept from the handlers, by its own account, who".into());
    for (index, kind) in Kind::LEAVE.into_iter().enumerate() {
        let title = kind.leaving().map(|leaving| format!("  {leaving}")).unwrap_or_default();
        lines.push(row(&title, &|outcome| or_dash(outcome.kept.and_then(|kept| kept.get(index).copied()))));
    }
    lines.push(row("requests handled for nobody", &|outcome| outcome.dead_requests().to_string()));
    lines.push(row("first live answer after the stall", &|outcome| answer(outcome.first_live_answer())));
    let before = format!("  who asked {ASKS_BEFORE_END:?} before it ended");
    lines.push(row(&before, &|outcome| live(outcome, outcome.waited)));
    lines.push(row("  who asked when it ended", &|outcome| live(outcome, outcome.came_after)));
    lines
}

/// One line per server, for where nothing can be drawn over.
pub(crate) fn line(outcome: &Outcome) -> String {
    let [silent, reset, sent] = outcome.dead_connections();
    format!(
        "{:15} queue {:>4} / {}, unowned CLOSE_WAIT {:>4}, drops {}, turned away {}, calls for the dead {silent} + {reset} + {sent}",
        outcome.server.name(),
        outcome.sockets.queued,
        or_dash(outcome.queue.limit),
        outcome.sockets.close_wait_unowned,
        or_dash(outcome.queue.drops),
        outcome.turned_away(),
    )
}

fn live(outcome: &Outcome, live: Live) -> String {
    match live {
        Live::Failed => "no answer".into(),
        Live::Asks | Live::Answered { .. } => answer(outcome.after_stall(live)),
    }
}

fn answer(after: Option<Duration>) -> String {
    after.map_or_else(|| "-".into(), |after| format!("{:.0} ms", after.as_secs_f64() * 1e3))
}

fn or_dash(figure: Option<u64>) -> String {
    figure.map_or_else(|| "-".into(), |figure| figure.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::Server;

    #[test]
    fn every_line_fits_the_width() {
        let outcomes: Vec<_> = Server::ALL.iter().copied().map(Outcome::new).collect();
        for line in table(&outcomes) {
            assert!(line.len() <= width(outcomes.len()), "{line:?}");
        }
    }
}
