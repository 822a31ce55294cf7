//! The command line.
//!
//! Owns: what can be chosen, and the defaults.
//! Never: a default of less than twenty rounds.

use anteroom_load::{
    peer::{Peer, Protection, Serving},
    stats::LEAST_ROUNDS,
};
use clap::{Args as ClapArgs, Parser, Subcommand};
use std::{ffi::OsStr, num::NonZeroUsize, path::PathBuf, time::Duration};

/// Rounds without which nothing is claimed.
const WHOLE: u16 = 20;

/// The core of a pinned server.
const SERVER_CORE: usize = 0;

/// The core of the load that it is under.
pub(crate) const LOAD_CORE: usize = 1;

/// Anteroom beside the plain accept loops: connections per second, server CPU per connection, latency at a
/// fixed rate, system calls, instructions, and what each protection costs.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) bench: Bench,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One server against others, slice by slice in turn: ratios with their confidence intervals.
    Compare {
        /// The server that is compared.
        server: Peer,
        /// Those that it is compared with (comma-separated).
        #[arg(long, required = true, value_delimiter = ',')]
        with: Vec<Peer>,
        /// How often; each time with fresh processes.
        #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(i64::from(LEAST_ROUNDS)..))]
        pairs: u16,
        #[command(flatten)]
        load: Load,
    },
    /// What each of Anteroom's protections costs: user instructions and system calls per connection.
    Protections {
        #[command(flatten)]
        load: Load,
    },
    /// Many open connections: what a new one costs beside them, their memory, start and drain.
    Scale(crate::scale::Scale),
    /// Serve connections that stay. What `scale` starts.
    #[command(hide = true)]
    KeepServing {
        /// The server.
        peer: Peer,
    },
    /// Serve, on a port of the kernel's choice, until standard input ends. What the benchmark starts.
    #[command(hide = true)]
    Serve {
        /// The server.
        peer: Peer,
        #[command(flatten)]
        options: ServeOptions,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ServeOptions {
    /// Worker threads, or shards, where the server has them; otherwise as many as it has by itself.
    #[arg(long)]
    workers: Option<NonZeroUsize>,
    /// Switch these of Anteroom's protections, off or on, whichever they are not by default (comma-separated).
    #[arg(long, value_delimiter = ',')]
    switch: Vec<Protection>,
    /// Stay on this core (from 0).
    #[arg(long)]
    pub(crate) pin: Option<usize>,
}

impl From<ServeOptions> for Serving {
    fn from(ServeOptions { workers, switch, .. }: ServeOptions) -> Self {
        Self { workers, switched: switch }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Bench {
    /// How often each server is measured.
    #[arg(long, default_value_t = WHOLE)]
    pub(crate) rounds: u16,
    /// Two minutes instead of forty: few and short rounds, no protections, no instructions, and no document.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measure only these servers (comma-separated); the one that the others are compared with is always there.
    #[arg(long = "servers", value_delimiter = ',')]
    only: Vec<Peer>,
    /// Count neither system calls nor instructions.
    #[arg(long)]
    pub(crate) no_counts: bool,
    /// Where to write the tables, and the plots beside them; `-` for nowhere. By default docs/benchmarks.md of this
    /// repository, if all of it is measured.
    #[arg(long)]
    output: Option<PathBuf>,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(flatten)]
    pub(crate) load: Load,
}

/// What a server is measured under.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Load {
    /// How long each of a round's measurements of a server takes, in seconds.
    #[arg(long, default_value_t = 0.8)]
    pub(crate) seconds: f64,
    /// Into how many slices that time is cut; the servers take turns slice by slice.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slices: u32,
    /// Connections at a time in the closed loop.
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,
    /// Connections per second in the open loop.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) rate: u32,
    /// A second open loop goes at this share of each server's own peak, which is measured first; 0 for none.
    #[arg(long, default_value_t = 0.7)]
    pub(crate) load: f64,
    /// Keep the server on the first core, and the load on the second.
    #[arg(long)]
    pub(crate) pin: bool,
    /// Worker threads, or shards, of servers that have them; otherwise as many as each has by itself.
    #[arg(long)]
    pub(crate) workers: Option<NonZeroUsize>,
    /// Measure a slice again when other things kept more than this many cores busy meanwhile.
    #[arg(long, default_value_t = 0.25)]
    pub(crate) others_below: f64,
    /// How often at most one slice is repeated for that; the last one counts then.
    #[arg(long, default_value_t = 1)]
    pub(crate) repeats: u32,
}

impl Bench {
    /// As `--quick` has it.
    pub(crate) fn hurried(mut self) -> Self {
        if self.quick {
            self.rounds = LEAST_ROUNDS;
            self.load.seconds = 0.4;
            self.load.slices = 1;
            self.load.repeats = 0;
        }
        self
    }

    /// The servers to measure.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        let wanted = |peer: &Peer| {
            self.only.is_empty()
                || self.only.contains(peer)
                || self.only.iter().any(|other| other.protocol().baseline() == *peer)
        };
        Peer::all().filter(wanted).collect()
    }

    pub(crate) fn output(&self) -> Option<PathBuf> {
        match &self.output {
            Some(path) if path.as_os_str() == OsStr::new("-") => None,
            Some(path) => Some(path.clone()),
            // Part of it is not to stand there for the whole.
            None if self.quick || self.no_counts || !self.only.is_empty() || self.rounds < WHOLE => None,
            None => Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks.md"))),
        }
    }
}

impl Load {
    /// The length of one slice.
    pub(crate) fn slice(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::from_secs(1)) / self.slices.max(1)
    }

    /// The command line of a server under it.
    pub(crate) fn serve(&self, peer: Peer, switched: &[Protection]) -> Vec<String> {
        let mut line = vec!["serve".to_owned(), peer.name().to_owned()];
        if let Some(workers) = self.workers {
            line.push(format!("--workers={workers}"));
        }
        if !switched.is_empty() {
            let names: Vec<_> = switched.iter().map(|protection| protection.name()).collect();
            line.push(format!("--switch={}", names.join(",")));
        }
        if self.pin {
            line.push(format!("--pin={SERVER_CORE}"));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anteroom_load::peer::Protocol;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn at_least_twenty_rounds_of_everybody_by_default() {
        let args = Args::parse_from(["benches"]);
        assert!(args.bench.rounds >= 20);
        assert_eq!(args.bench.peers(), Peer::all().collect::<Vec<_>>());
    }

    #[test]
    fn also_who_hurries_gets_intervals() {
        let bench = Args::parse_from(["benches", "--quick"]).bench.hurried();
        assert!((LEAST_ROUNDS..20).contains(&bench.rounds));
    }

    #[test]
    fn a_choice_of_servers_keeps_what_they_are_compared_with() {
        let args = Args::parse_from(["benches", "--servers", "tokio-current"]);
        assert_eq!(args.bench.peers(), [Protocol::Raw.baseline(), "tokio-current".parse().unwrap()]);
    }

    #[test]
    fn the_benchmark_can_ask_for_any_server_and_any_protection() {
        let args = Args::parse_from(["benches", "--workers", "3", "--pin"]);
        for peer in Peer::all() {
            let mut line = vec!["benches".to_owned()];
            line.extend(args.bench.load.serve(peer, Protection::ALL));
            let Some(Command::Serve { peer: asked, options }) = Args::parse_from(line).command else {
                panic!("{peer}")
            };
            assert_eq!((asked, options.pin), (peer, Some(SERVER_CORE)));
            let serving = Serving::from(options);
            assert_eq!((serving.workers, &*serving.switched), (NonZeroUsize::new(3), Protection::ALL));
        }
    }

    #[test]
    fn several_are_compared_in_one_run() {
        let args =
            Args::parse_from(["benches", "compare", "anteroom", "--with", "bare,tokio", "--load", "0.5"]);
        let Some(Command::Compare { with, load, .. }) = args.command else { panic!("not compared") };
        assert_eq!((with.len(), load.load), (2, 0.5));
    }
}
