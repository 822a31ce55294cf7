//! `docs/benchmarks.md`.
//!
//! Owns: the words and the tables.
//! Never: a judgement that the figures of this run do not carry.

use crate::{
    args::Bench,
    figures::{CLOSED, COMPARED, Figure, Figures, OPEN, OTHERS},
    running::per_traced,
};
use anteroom_load::{
    measure::{Machine, Syscalls},
    peer::{Peer, Protocol},
    stats::Spread,
};
use std::fmt::Write;

/// The calls of the most frequent that are shown.
const CALLS_SHOWN: usize = 8;

/// The whole document.
pub(crate) fn write(
    machine: &Machine,
    bench: &Bench,
    figures: &Figures,
    syscalls: &[(Peer, Syscalls)],
) -> String {
    let mut text = head(machine, bench);
    text += &quietness(bench, figures);
    for protocol in [Protocol::Raw, Protocol::Http] {
        let peers: Vec<_> = figures.peers().filter(|peer| peer.protocol() == protocol).collect();
        if peers.is_empty() {
            continue;
        }
        let title = match protocol {
            Protocol::Raw => "Raw TCP: one byte there, one byte back, reset",
            Protocol::Http => "HTTP/1.1: one request, a two-byte body, reset",
        };
        text += &format!("\n## {title}\n\n");
        for peer in &peers {
            text += &format!("- **{peer}**: {}\n", peer.description());
        }
        text += &format!("\nRatio to {}, round by round; below 1.00 is less.\n\n", protocol.baseline());
        let others: Vec<_> = peers.iter().copied().filter(|peer| *peer != protocol.baseline()).collect();
        text += &table(&others, COMPARED, |peer, figure| figures.ratio(peer, figure));
        text += &format!("\nClosed loop, {} connections at a time.\n\n", bench.connections);
        text += &table(&peers, CLOSED, |peer, figure| figures.spread(peer, figure));
        text += &format!("\nOpen loop, {} connections per second.\n\n", bench.rate);
        text += &table(&peers, OPEN, |peer, figure| figures.spread(peer, figure));
    }
    text += &failures(figures);
    text += &calls(syscalls);
    text + NOTES
}

fn quietness(bench: &Bench, figures: &Figures) -> String {
    let Some(others) = figures.spread_of_all(OTHERS) else { return String::new() };
    format!(
        "\nBeside server and client, other things kept {others:.*} cores busy (median of the rounds). {} \
         slices were taken again because that was more than {}.\n",
        OTHERS.digits,
        figures.repeats(),
        bench.others_below,
    )
}

fn head(machine: &Machine, bench: &Bench) -> String {
    format!(
        "# Benchmarks\n\n\
         Written by the command; do not edit.\n\n\
         ```sh\ncargo run --release -p anteroom-benches -- --rounds {} --seconds {} --connections {} --rate {}\n```\n\n\
         Machine: {machine}; client and server share its cores.\n\n\
         Every server is a process of its own, started anew for each of {} rounds. In a round the servers take \
         turns, {} times {:.1} s of each load, and another one comes first each time. A figure is the median of the \
         rounds, with the least and the greatest behind it.\n",
        bench.rounds,
        bench.seconds,
        bench.connections,
        bench.rate,
        bench.rounds,
        bench.slices,
        bench.slice().as_secs_f64(),
    )
}

fn table(peers: &[Peer], columns: &[Figure], read: impl Fn(Peer, Figure) -> Option<Spread>) -> String {
    let mut text = String::from("| server |");
    for figure in columns {
        // Writing to a string does not fail.
        let _ = write!(text, " {} |", figure.title);
    }
    text += "\n|---|";
    text += &"---:|".repeat(columns.len());
    text += "\n";
    for peer in peers {
        let _ = write!(text, "| {peer} |");
        for figure in columns {
            let _ = match read(*peer, *figure) {
                Some(spread) => write!(text, " {spread:.*} |", figure.digits),
                None => write!(text, " |"),
            };
        }
        text += "\n";
    }
    text
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

fn calls(syscalls: &[(Peer, Syscalls)]) -> String {
    if syscalls.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "\n## System calls per connection\n\n\
         Counted by `strace -f -c` in a closed loop of its own, after the timed rounds. A traced server is slow, \
         so it sleeps less and takes more at a time than an untraced one: the counts are a lower bound for \
         whatever waits or wakes.\n\n\
         | server | all | the most frequent |\n|---|---:|---|\n",
    );
    for (peer, syscalls) in syscalls {
        let most: Vec<_> = syscalls
            .by_count()
            .into_iter()
            .take(CALLS_SHOWN)
            .map(|(name, count)| format!("{name} {}", per_traced(count)))
            .collect();
        let _ = writeln!(text, "| {peer} | {} | {} |", per_traced(syscalls.total()), most.join(", "));
    }
    text
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
- **Loopback hides** the network card, its interrupts and its queues. It also moves costs: the kernel handles a
  segment in the context of who sent it, so the handshake (SYN, the queueing of the connection) is charged to the
  client, and the client's reception of the answer is charged to the server. Both are the same for all servers.
- **Noise**: the cores are shared with the client and with whatever else the machine does, and a virtual
  machine's host is not seen at all. Ratios are taken within a round, because what disturbs a round disturbs all
  servers of it; a ratio whose spread contains 1.00 is not a difference. p99.9 of a round rests on few
  connections and moves by itself.
- **Not covered**: more cores than the machine has, long connections, TLS, other kernels.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::measured;

    #[test]
    fn a_table_has_one_row_per_server_and_as_many_cells_as_columns() {
        let mut figures = Figures::new(&[Peer::Tokio, Peer::TokioCurrent]);
        for cost in [20.0, 22.0, 21.0] {
            figures.add(Peer::Tokio, measured(cost, 100));
            figures.add(Peer::TokioCurrent, measured(cost / 2.0, 90));
        }
        let peers = [Peer::Tokio, Peer::TokioCurrent];
        let text = table(&peers, CLOSED, |peer, figure| figures.spread(peer, figure));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        let cells = |line: &str| line.matches('|').count();
        assert!(lines.iter().all(|line| cells(line) == CLOSED.len() + 2), "{text}");
        assert!(lines[2].contains("| 21.0 (20.0..22.0) |"), "{text}");
        assert!(failures(&figures).contains("tokio 3, tokio-current 3"));
    }
}
