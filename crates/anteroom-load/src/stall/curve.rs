//! The share of new clients that succeed, over time.
//!
//! Owns: the slots, and their table.
//! Never: smooths.

use super::StallRun;
use crate::client::{Ending, Visit};
use serde::Serialize;
use std::{io, time::Duration};

/// New clients of one stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slot {
    /// Its begin in milliseconds from the release, negative before it.
    pub begins_ms: i64,
    /// How many came in it.
    pub came: u32,
    /// How many of these were answered, whenever.
    pub answered: u32,
    /// The median time from the coming to the answer, of the answered; `None` without any.
    pub median_ms: Option<f64>,
}

/// All slots of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// The server.
    pub server: String,
    /// The width of a slot in milliseconds.
    pub slot_ms: i64,
    /// In the order of time, also those in which nobody came.
    pub slots: Vec<Slot>,
}

impl Curve {
    /// The heading of [`write_csv`](Self::write_csv).
    pub const HEADING: &'static str = "server,begins_ms,came,answered,median_ms";

    /// In slots of a width of at least one millisecond, one of which begins with the release.
    #[must_use]
    pub fn of(run: &StallRun, width: Duration) -> Self {
        let width_ms = i64::try_from(width.as_millis()).unwrap_or(i64::MAX).max(1);
        let slot_of = |visit: &Visit| millis_after(visit.intended, run.opened).div_euclid(width_ms);
        let first = run.visits.iter().map(slot_of).min().unwrap_or(0);
        let last = run.visits.iter().map(slot_of).max().unwrap_or(-1);
        let slots = (first..=last).map(|slot| {
            let came: Vec<_> = run.visits.iter().filter(|visit| slot_of(visit) == slot).collect();
            let mut waits: Vec<_> = came
                .iter()
                .filter(|visit| visit.ending == Ending::Answered)
                .map(|visit| visit.ended.saturating_sub(visit.intended).as_secs_f64() * 1e3)
                .collect();
            waits.sort_by(f64::total_cmp);
            Slot {
                begins_ms: slot * width_ms,
                came: u32::try_from(came.len()).unwrap_or(u32::MAX),
                answered: u32::try_from(waits.len()).unwrap_or(u32::MAX),
                median_ms: waits.get(waits.len() / 2).copied(),
            }
        });
        Self { server: run.name.clone(), slot_ms: width_ms, slots: slots.collect() }
    }

    /// A line for each slot, under [`HEADING`](Self::HEADING).
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn write_csv(&self, mut out: impl io::Write) -> io::Result<()> {
        for slot in &self.slots {
            let median = slot.median_ms.map(|median| format!("{median:.3}")).unwrap_or_default();
            writeln!(out, "{},{},{},{},{median}", self.server, slot.begins_ms, slot.came, slot.answered)?;
        }
        Ok(())
    }
}

/// Rounded down, also below zero.
fn millis_after(moment: Duration, origin: Duration) -> i64 {
    let millis = |nanos: u128| i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX);
    match moment.checked_sub(origin) {
        Some(after) => millis(after.as_nanos()),
        None => -millis((origin - moment).as_nanos() + 999_999),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Leaving;

    #[test]
    fn a_slot_begins_with_the_release() {
        let came = |millis: u64, ending| Visit {
            local: None,
            intended: Duration::from_millis(millis),
            began: Duration::from_millis(millis),
            connected: None,
            sent: None,
            ended: Duration::from_millis(millis + 7),
            leaving: Leaving::Silent,
            ending,
            heard: Vec::new(),
        };
        let run = StallRun {
            name: "test".into(),
            patience: Duration::ZERO,
            shut: Duration::ZERO,
            opened: Duration::from_millis(1_000),
            visits: vec![
                came(999, Ending::GaveUp),
                came(1_000, Ending::Answered),
                came(1_099, Ending::Reset),
                came(1_250, Ending::Answered),
            ],
            calls: Vec::new(),
            report: String::new(),
        };
        let mut csv = Vec::new();
        Curve::of(&run, Duration::from_millis(100)).write_csv(&mut csv).unwrap();
        let expected = "test,-100,1,0,\ntest,0,2,1,7.000\ntest,100,0,0,\ntest,200,1,1,7.000\n";
        assert_eq!(String::from_utf8(csv).unwrap(), expected);
    }
}
