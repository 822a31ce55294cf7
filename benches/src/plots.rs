//! The plots of the document.
//!
//! Owns: which figures are drawn in which axes, and the names of the files.
//! Never: a figure that the tables do not have.

use crate::figures::{CPU_CLOSED, CPU_OPEN, Figure, Figures, P50, P99, P999};
use anteroom_load::{
    chart::{Axis, Dots, Mark, Row, Scale},
    peer::{Peer, Protocol},
    stats::{Interval, Spread},
};
use std::{fs, io, path::Path};

/// Beside the document.
const FOLDER: &str = "plots";

/// Where the plots of a protocol stand, seen from the document: the CPU time, the latencies.
pub(crate) fn names(protocol: Protocol) -> [String; 2] {
    [format!("{FOLDER}/cpu-{protocol}.svg"), format!("{FOLDER}/latency-{protocol}.svg")]
}

/// Those of all protocols that were measured, into the folder beside `document`.
pub(crate) fn write_all(document: &Path, figures: &Figures, protocols: &[Protocol]) -> io::Result<()> {
    let folder = document.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder.join(FOLDER))?;
    for protocol in protocols.iter().copied().filter(|protocol| !figures.of_protocol(*protocol).is_empty()) {
        let [cpu, latency] = names(protocol);
        fs::write(folder.join(cpu), cpu_time(figures, protocol).svg()?)?;
        fs::write(folder.join(latency), latencies(figures, protocol).svg()?)?;
    }
    Ok(())
}

fn cpu_time(figures: &Figures, protocol: Protocol) -> Dots {
    let base = protocol.baseline();
    let rows =
        rows(figures, protocol, &[CPU_CLOSED, CPU_OPEN], |peer, figure| figures.ratio(peer, base, figure));
    Dots {
        title: format!("Server CPU per connection, {protocol}, as a multiple of {base}"),
        x: Axis { label: "times", from: 0.0, to: (greatest(&rows) + 0.1).ceil(), scale: Scale::Linear },
        line: Some(1.0),
        kinds: vec!["closed loop", "open loop"],
        rows,
    }
}

fn latencies(figures: &Figures, protocol: Protocol) -> Dots {
    let rows = rows(figures, protocol, &[P50, P99, P999], |peer, figure| figures.spread(peer, figure));
    let whole = |power: f64| 10_f64.powf(power);
    Dots {
        title: format!("From the intended connect to the first byte, {protocol}, open loop"),
        x: Axis {
            label: "µs",
            from: whole(least(&rows).log10().floor()),
            to: whole(greatest(&rows).log10().ceil()),
            scale: Scale::Log,
        },
        line: None,
        kinds: vec!["p50", "p99", "p99.9"],
        rows,
    }
}

fn rows(
    figures: &Figures,
    protocol: Protocol,
    kinds: &[Figure],
    read: impl Fn(Peer, Figure) -> Option<Spread>,
) -> Vec<Row> {
    let row = |peer: Peer| {
        let marks = kinds.iter().map(|figure| read(peer, *figure).map(mark)).collect();
        Row { name: peer.to_string(), marks }
    };
    figures.of_protocol(protocol).into_iter().map(row).collect()
}

/// With few rounds the whole spread stands for the interval.
fn mark(spread: Spread) -> Mark {
    let Interval { from, to } =
        spread.interval.unwrap_or(Interval { from: spread.least, to: spread.greatest });
    Mark { at: spread.median, from, to }
}

fn greatest(rows: &[Row]) -> f64 {
    rows.iter().flat_map(|row| row.marks.iter().flatten()).map(|mark| mark.to).fold(1.0, f64::max)
}

fn least(rows: &[Row]) -> f64 {
    let all = rows.iter().flat_map(|row| row.marks.iter().flatten()).map(|mark| mark.from);
    all.fold(greatest(rows), f64::min).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::{base, measured, other};

    #[test]
    fn everybody_who_was_measured_is_in_the_plot() {
        let mut figures = Figures::new(&[base(), other()]).unwrap();
        for round in 0..6 {
            figures.add(base(), measured(20.0 + f64::from(round), 100)).unwrap();
            figures.add(other(), measured(30.0 + f64::from(round), 300)).unwrap();
        }
        let plot = cpu_time(&figures, Protocol::Raw);
        let [ours, theirs] = &plot.rows[..] else { panic!("{:?}", plot.rows) };
        assert_eq!(ours.marks[0], Some(Mark { at: 1.0, from: 1.0, to: 1.0 }));
        assert!(theirs.marks[1].is_some_and(|mark| mark.from < mark.at && mark.at < mark.to));
        let plot = latencies(&figures, Protocol::Raw);
        assert_eq!((plot.x.from, plot.x.to), (10.0, 1_000.0));
    }
}
