//! What this project promises of its cost, held against the figures of a run.
//!
//! Owns: the bounds. A new one is a line here.
//! Never: a bound that is moved to where the figures are.

use crate::{
    counted::Counted,
    figures::{CPU_CLOSED, CPU_OPEN, Figure, Figures, LOADED_P99, LOADED_P999, P99, P999},
    protections::Row,
};
use anteroom_load::{peer::Peer, stats::Spread};
use std::fmt::Write;

/// One server's figure as a multiple of another's.
struct Bound {
    server: &'static str,
    to: &'static str,
    figure: Figure,
    most: f64,
}

const fn closed(server: &'static str, to: &'static str, most: f64) -> Bound {
    Bound { server, to, figure: CPU_CLOSED, most }
}

const fn open(server: &'static str, to: &'static str, most: f64) -> Bound {
    Bound { server, to, figure: CPU_OPEN, most }
}

const BOUNDS: &[Bound] = &[
    closed("anteroom-shard", "bare", 1.05),
    closed("anteroom-shard", "tokio-current", 1.0),
    closed("anteroom-sharded", "tokio-reuseport", 1.0),
    closed("anteroom", "tokio", 0.80),
    open("anteroom", "tokio", 0.70),
    closed("anteroom", "tokio-spawned", 1.0),
    closed("anteroom", "actix", 1.0),
    open("anteroom", "actix", 1.0),
    closed("anteroom-thread", "tokio", 0.95),
    closed("anteroom-axum", "axum", 0.95),
    open("anteroom-axum", "axum", 0.95),
    closed("anteroom-axum-spawned", "axum-spawned", 0.95),
    open("anteroom-axum-spawned", "axum-spawned", 0.95),
];

/// Latencies that are to be no worse than the best other server's, within noise.
const LATENCIES: &[(&str, Figure)] = &[
    ("p99", P99),
    ("p99.9", P999),
    ("p99 at its share of the peak", LOADED_P99),
    ("p99.9 there", LOADED_P999),
];

/// User instructions of all protections together.
const INSTRUCTIONS: f64 = 600.0;

/// A table of all that this run can tell of.
pub(crate) fn table(figures: &Figures, protections: &[Row]) -> String {
    let mut text = String::from("| promise | bound | measured | holds |\n|---|---:|---:|---|\n");
    let mut row = |promise: String, bound: String, measured: String, holds: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "| {promise} | {bound} | {measured} | {holds} |");
    };
    for Bound { server, to, figure, most } in BOUNDS {
        let (Ok(one), Ok(other)) = (server.parse(), to.parse()) else { continue };
        let Some(ratio) = figures.ratio(one, other, *figure) else { continue };
        let Some(interval) = ratio.interval else { continue };
        let holds = if interval.to <= *most { "yes" } else { "**no**" };
        let promise = format!("{server} / {to}: {}", figure.title);
        row(promise, format!("≤ {most:.2}"), format!("{:.3} {interval:.3}", ratio.median), holds);
    }
    for (what, figure) in LATENCIES {
        let Some((best, ratio)) = against_the_best(figures, Peer::ANTEROOM, *figure) else { continue };
        let Some(interval) = ratio.interval else { continue };
        // Worse only if all of the interval is.
        let holds = if interval.from <= 1.0 { "yes" } else { "**no**" };
        let promise = format!("anteroom / {best}, the best of the others: {what}");
        row(promise, "not above 1".into(), format!("{:.2} {interval:.2}", ratio.median), holds);
    }
    if let Some(saved) = saved(protections) {
        let holds = if saved <= INSTRUCTIONS { "yes" } else { "**no**" };
        row(
            "every protection of the default: user instructions per connection".into(),
            format!("≤ {INSTRUCTIONS:.0}"),
            format!("{saved:.0}"),
            holds,
        );
    }
    text
}

/// The one of the others with the least median, and the ratio to it.
fn against_the_best(figures: &Figures, server: Peer, figure: Figure) -> Option<(Peer, Spread)> {
    let others = figures
        .of_protocol(server.protocol())
        .into_iter()
        .filter(|other| !other.name().starts_with("anteroom"));
    let medians = others.filter_map(|other| Some((other, figures.spread(other, figure)?.median)));
    let (best, _) = medians.min_by(|one, other| one.1.total_cmp(&other.1))?;
    Some((best, figures.ratio(server, best, figure)?))
}

/// What the default takes more than everything off.
fn saved(protections: &[Row]) -> Option<f64> {
    let serving = |row: &Row| Counted::serving(&row.counted);
    let default = protections.first().and_then(serving)?;
    Some(default - protections.iter().find(|row| row.is_everything_off()).and_then(serving)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::measured;

    #[test]
    fn every_server_of_a_bound_exists() {
        for Bound { server, to, .. } in BOUNDS {
            for name in [server, to] {
                assert!(name.parse::<Peer>().is_ok(), "{name}");
            }
        }
    }

    #[test]
    fn a_bound_holds_if_the_whole_interval_lies_below_it() {
        let [anteroom, tokio] = ["anteroom", "tokio"].map(|name| name.parse().unwrap());
        let mut figures = Figures::new(&[anteroom, tokio]).unwrap();
        for round in 0..6 {
            figures.add(tokio, measured(20.0, 100)).unwrap();
            // One round of six is above, and with six rounds the interval goes from the least to the greatest.
            figures.add(anteroom, measured(if round == 0 { 15.0 } else { 12.0 }, 90)).unwrap();
        }
        let text = table(&figures, &[]);
        assert!(
            text.contains("| anteroom / tokio: CPU, closed loop | ≤ 0.80 | 0.600 [0.600, 0.750] | yes |"),
            "{text}"
        );
        assert!(
            text.contains("| anteroom / tokio: CPU, open loop | ≤ 0.70 | 0.600 [0.600, 0.750] | **no** |"),
            "{text}"
        );
        assert!(text.contains("anteroom / tokio, the best of the others: p99 |"), "{text}");
    }
}
