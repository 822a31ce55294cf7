//! `docs/benchmarks.md`.
//!
//! Owns: the words and the tables.
//! Never: a judgement that the figures of this run do not carry.

use crate::{
    args::{Bench, Load},
    bounds,
    counted::Counted,
    figures::{CLOSED, COMPARED, Figure, Figures, LOADED, OPEN, OTHERS, Shown},
    plots,
    protections::{self, Row},
};
use anteroom_load::{
    measure::Machine,
    peer::{Peer, Protocol},
    stats::Spread,
};
use std::fmt::Write;

/// What it is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contents<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) bench: &'a Bench,
    pub(crate) figures: &'a Figures,
    pub(crate) counted: &'a [(Peer, Counted)],
    pub(crate) protections: &'a [Row],
}

/// The whole document.
pub(crate) fn write(contents: &Contents<'_>) -> String {
    let Contents { machine, bench, figures, .. } = contents;
    let mut text = head(machine, bench);
    text += &quietness(&bench.load, figures);
    text += "\n## What is promised\n\n\
             Each a ratio taken round by round; it holds if its whole interval lies below the bound, and a latency if its \
             interval does not lie above 1. What other commands show stands in [scaling](guide/scaling.md).\n\n";
    text += &bounds::table(figures, contents.protections);
    for protocol in Protocol::ALL {
        if !figures.of_protocol(protocol).is_empty() {
            text += &section(protocol, &bench.load, figures);
        }
    }
    text += &failures(figures);
    text += &counts(contents.counted);
    text += &shares(contents.protections);
    text + NOTES
}

/// What servers are measured under, in a sentence or two.
pub(crate) fn describe(load: &Load) -> String {
    let loaded = match load.load {
        share if share > 0.0 => format!(
            " A second open loop: {share} of each server's own peak, which was looked for with many connections at a time."
        ),
        _ => String::new(),
    };
    let workers =
        load.workers.map_or_else(String::new, |workers| format!(" Servers have {workers} workers."));
    let pinned = if load.pin { " Server and load have a core each." } else { "" };
    format!(
        "Closed loop: {} connections at a time. Open loop: {} connections per second.{loaded} Each in {} slices of {:.1} s.{workers}{pinned}",
        load.connections,
        load.rate,
        load.slices,
        load.slice().as_secs_f64(),
    )
}

fn head(machine: &Machine, bench: &Bench) -> String {
    let load = &bench.load;
    let mut options =
        format!("--rounds {} --seconds {} --slices {}", bench.rounds, load.seconds, load.slices);
    // Writing to a string does not fail.
    let _ = write!(options, " --connections {} --rate {} --load {}", load.connections, load.rate, load.load);
    let _ = write!(options, " --others-below {} --repeats {}", load.others_below, load.repeats);
    if let Some(workers) = load.workers {
        let _ = write!(options, " --workers {workers}");
    }
    options += if load.pin { " --pin" } else { "" };
    format!(
        "# Benchmarks\n\n\
         Written by the command; do not edit.\n\n\
         ```sh\ncargo run --release -p anteroom-benches -- {options}\n```\n\n\
         Machine: {machine}; client and server share its cores.\n\n\
         Every server is a process of its own, started anew for each of {} rounds. In a round the servers take turns, \
         slice by slice, there and back; another one comes first in every second round. {}\n\n\
         A figure is the median of the rounds. Behind it stands, in round brackets, the least and the greatest; or, in \
         square ones, the interval in which the median lies with a probability of 95 % (order statistics: no \
         distribution is taken for granted).\n",
        bench.rounds,
        describe(load),
    )
}

fn quietness(load: &Load, figures: &Figures) -> String {
    let Some(others) = figures.spread_of_all(OTHERS) else { return String::new() };
    format!(
        "\nBeside server and client, other things kept {others:.*} cores busy. {} slices were taken again because that \
         was more than {}.\n",
        OTHERS.digits,
        figures.repeats(),
        load.others_below,
    )
}

/// One protocol.
fn section(protocol: Protocol, load: &Load, figures: &Figures) -> String {
    let title = match protocol {
        Protocol::Raw => "Raw TCP: one byte there, one byte back, reset",
        Protocol::Http => "HTTP/1.1: one request, a two-byte body, reset",
    };
    let mut text = format!("\n## {title}\n\n");
    let (peers, base) = (figures.of_protocol(protocol), protocol.baseline());
    for peer in &peers {
        let _ = writeln!(text, "- **{peer}**: {}", peer.description());
    }
    for name in plots::names(protocol) {
        let _ = write!(
            text,
            "\n![Each server's median and interval; the tables below have the numbers]({name})\n"
        );
    }
    let _ = write!(text, "\nEach server to {base}, round by round; below 1.00 is less.\n\n");
    let others = |than: Peer| peers.iter().copied().filter(move |peer| *peer != than).collect::<Vec<_>>();
    let named = |peer: Peer| peer.to_string();
    text += &table(&others(base), COMPARED, named, |peer, figure| figures.ratio(peer, base, figure));
    for subject in protocol.subjects().iter().copied().filter(|subject| peers.contains(subject)) {
        let _ = write!(text, "\n{subject} to each of the others.\n\n");
        let title = |other: Peer| format!("{subject} / {other}");
        text +=
            &table(&others(subject), COMPARED, title, |other, figure| figures.ratio(subject, other, figure));
    }
    let _ = write!(text, "\nClosed loop, {} connections at a time.\n\n", load.connections);
    text += &table(&peers, CLOSED, named, |peer, figure| figures.spread(peer, figure));
    text += "\nOpen loop.\n\n";
    text += &table(&peers, OPEN, named, |peer, figure| figures.spread(peer, figure));
    if load.load > 0.0 {
        let _ = write!(text, "\nOpen loop at {} of each server's own peak.\n\n", load.load);
        text += &table(&peers, LOADED, named, |peer, figure| figures.spread(peer, figure));
    }
    text + &pooled(&peers, figures)
}

/// Latencies of all rounds together: a tail of one round rests on few connections.
fn pooled(peers: &[Peer], figures: &Figures) -> String {
    let mut text = String::from(
        "\nAll rounds together, µs; no interval, because one disturbed round may make up a tail.\n\n\
         | server | connections | p99 | p99.9 | loaded: connections | p99 | p99.9 |\n|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for peer in peers {
        let _ = write!(text, "| {peer} |");
        for latencies in figures.pooled(*peer).into_iter().flatten() {
            let [p99, p999] = [99.0, 99.9].map(|percent| latencies.percentile(percent).as_micros());
            let _ = write!(text, " {} | {p99} | {p999} |", latencies.count());
        }
        text += "\n";
    }
    text
}

/// A row for each server.
pub(crate) fn table(
    peers: &[Peer],
    columns: &[Figure],
    title: impl Fn(Peer) -> String,
    read: impl Fn(Peer, Figure) -> Option<Spread>,
) -> String {
    let mut text = String::from("| server |");
    for figure in columns {
        let _ = write!(text, " {} |", figure.title);
    }
    text += "\n|---|";
    text += &"---:|".repeat(columns.len());
    text += "\n";
    for peer in peers {
        let _ = write!(text, "| {} |", title(*peer));
        for figure in columns {
            let cell = read(*peer, *figure).map_or_else(String::new, |spread| cell(&spread, *figure));
            let _ = write!(text, " {cell} |");
        }
        text += "\n";
    }
    text
}

fn cell(spread: &Spread, Figure { digits, shown, .. }: Figure) -> String {
    match spread.interval {
        Some(interval) if shown == Shown::Interval => {
            format!("{:.digits$} {interval:.digits$}", spread.median)
        }
        _ => format!("{spread:.digits$}"),
    }
}

fn failures(figures: &Figures) -> String {
    let failed: Vec<_> = figures
        .peers()
        .filter(|peer| figures.failed(*peer) > 0)
        .map(|peer| format!("{peer} {}", figures.failed(peer)))
        .collect();
    if failed.is_empty() {
        "\nNo connection failed.\n".into()
    } else {
        format!("\nConnections without an answer, over all rounds: {}.\n", failed.join(", "))
    }
}

fn counts(counted: &[(Peer, Counted)]) -> String {
    if counted.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "\n## Instructions and system calls per connection\n\n\
         Counted in closed loops of their own, after the timed rounds: user instructions by `valgrind --tool=callgrind` \
         (the difference of two runs of different lengths), system calls by `strace -f -c`; of three counts the middle \
         one. A server that is watched so is slow, so it sleeps less and takes more at a time than another: the counts \
         are a lower bound for whatever waits or wakes. The kernel's instructions are not counted; they are most of a connection.\n\n\
         Threads that look in intervals (the stall watch, the metrics) go by time. A connection takes many times longer \
         under valgrind, so they look as many times more often in it: what they take stands apart, and is that much less \
         without valgrind.\n\n\
         | server | user instructions | of threads that look | system calls | the most frequent |\n|---|---:|---:|---:|---|\n",
    );
    for (peer, counted) in counted {
        let instructions = or_not_counted(counted.serving(), 0);
        let looking = or_not_counted(counted.looking(), 0);
        let (syscalls, most) = (or_not_counted(counted.syscalls(), 2), counted.most_frequent());
        let _ = writeln!(text, "| {peer} | {instructions} | {looking} | {syscalls} | {most} |");
    }
    text
}

pub(crate) fn or_not_counted(number: Option<f64>, digits: usize) -> String {
    number.map_or_else(|| "not counted".into(), |number| format!("{number:.digits$}"))
}

fn shares(protections: &[Row]) -> String {
    if protections.is_empty() {
        return String::new();
    }
    format!(
        "\n## What each protection costs\n\n\
         `anteroom` with its settings switched one at a time, counted as above, per connection; this table alone: \
         `cargo run --release -p anteroom-benches -- protections`. The second row differs from the first by noise alone; a \
         share of no more than a few times that is none. System calls differ by themselves with how often a thread \
         finds nothing to do and sleeps.\n\n{}",
        protections::table(protections),
    )
}

const NOTES: &str = "
## How to read it

- **Server CPU** is the time that the kernel's scheduler charged to all threads of the server process
  (`/proc/PID/task/*/schedstat`, nanoseconds; the sum that `/proc/PID/stat` shows in clock ticks).
- **Latency** counts from the moment at which a client was *meant* to connect to the first byte of its answer. A
  server that stalls is charged for every client that it kept waiting. The client's own lag, from the intended to
  the real start, is in that latency; its p99 stands in the table so that it can be told from the server's.
- **The closed loop's rate** is what client and server manage together on the same cores: it says as much about
  what the server leaves for the client as about its speed. CPU per connection is the figure to compare.
- **The bare loop** is what the kernel's part and four system calls cost on one core, with a handler that never
  waits. It is a measure and not a server: one slow handler stops it.
- **Workers**: a server has as many as it gives itself on this machine. With `--pin` all of them share one core.
  On two cores that clients share, whoever wakes a second worker pays for it: at a fixed rate a plain multi-thread
  loop takes twice what the same loop takes on a current-thread runtime, and a good part of the ratio to it is that.
- **The plain loop** runs where `#[tokio::main]` puts it, in `block_on`, outside the workers: each connection crosses
  threads. `tokio-spawned` is the same loop in a task, which few write; `axum-spawned` likewise. The loop over
  `anteroom_http::bind` stands in `block_on` as axum's own does.
- **With all its protections off** (`anteroom-unprotected`) is without all that have a switch: the guard, the bounds
  of the room and the register of open connections stay.
- **The pace**: starts are even, not in bursts. A connection that fails is in no latency; failures are told above.
- **Coordinated omission**: the open loop starts every client at its time, whether or not the ones before have
  been answered, on a schedule that is computed from the beginning and never shifted.
- **Loopback hides** the network card, its interrupts and its queues. It also moves costs: the kernel handles a
  segment in the context of who sent it, so the handshake (SYN, the queueing of the connection) is charged to the
  client, and the client's reception of the answer is charged to the server. Both are the same for all servers.
- **Noise**: the cores are shared with the client and with whatever else the machine does, and a virtual
  machine's host is not seen at all. Ratios are taken within a round, because what disturbs a round disturbs all
  servers of it; a ratio whose interval contains 1.00 is not a difference. p99.9 of a round rests on few
  connections and moves by itself. Of twenty intervals of 95 % one may well miss: a table has more than that.
- **Not covered**: more cores than the machine has, long connections, TLS, other kernels; rama, whose current release
  needs a newer Rust than this was built with, and Go.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::{base, measured, other};

    #[test]
    fn a_table_has_one_row_per_server_and_as_many_cells_as_columns() {
        let mut figures = Figures::new(&[base(), other()]).unwrap();
        for cost in [20.0, 22.0, 21.0] {
            figures.add(base(), measured(cost, 100)).unwrap();
            figures.add(other(), measured(cost / 2.0, 90)).unwrap();
        }
        let peers = [base(), other()];
        let named = |peer: Peer| peer.to_string();
        let text = table(&peers, CLOSED, named, |peer, figure| figures.spread(peer, figure));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        let cells = |line: &str| line.matches('|').count();
        assert!(lines.iter().all(|line| cells(line) == CLOSED.len() + 2), "{text}");
        assert!(lines[2].contains("| 21.0 (20.0..22.0) |"), "{text}");
        assert!(failures(&figures).contains("bare 3, anteroom 3"));
    }

    #[test]
    fn a_ratio_has_its_interval_and_with_few_rounds_its_spread() {
        let spread = Spread::of([1.0, 1.1, 1.2, 1.3, 1.4, 1.5]).unwrap();
        assert_eq!(cell(&spread, COMPARED[0]), "1.25 [1.00, 1.50]");
        let few = Spread::of([1.0, 1.2, 1.4]).unwrap();
        assert_eq!(cell(&few, COMPARED[0]), "1.20 (1.00..1.40)");
    }

    #[test]
    fn what_was_not_counted_is_said_in_words() {
        assert_eq!(or_not_counted(None, 2), "not counted");
        assert_eq!(counts(&[]), "");
    }
}
