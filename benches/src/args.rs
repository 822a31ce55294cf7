//! The command line.
//!
//! Owns: what can be chosen, and the defaults.
//! Never: a default that measures less than five rounds.

use anteroom_load::peer::Peer;
use clap::{Args as ClapArgs, Parser, Subcommand};
use std::{path::PathBuf, time::Duration};

/// Anteroom beside the plain accept loops: connections per second, server CPU per connection, latency at a
/// fixed rate.
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
    /// Two servers in pairs: the ratio of their CPU per connection, with its confidence interval.
    Paired {
        /// The server that is compared.
        peer: Peer,
        /// The one that it is compared with.
        with: Peer,
        /// How many pairs; each is measured in both orders.
        #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(3..))]
        pairs: u32,
        #[command(flatten)]
        bench: Bench,
    },
    /// Serve, on a port of the kernel's choice, until standard input ends. What the benchmark starts.
    #[command(hide = true)]
    Serve {
        /// The server.
        peer: Peer,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Bench {
    /// How often each server is measured.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// How long each of a round's two measurements of a server takes, in seconds.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Into how many slices that time is cut; the servers take turns slice by slice.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) slices: u32,
    /// Connections at a time in the closed loop.
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,
    /// Connections per second in the open loop.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) rate: u32,
    /// Measure a slice again when other things kept more than this many cores busy meanwhile.
    #[arg(long, default_value_t = 0.25)]
    pub(crate) others_below: f64,
    /// How often at most one slice is repeated for that; the last one counts then.
    #[arg(long, default_value_t = 3)]
    pub(crate) repeats: u32,
    /// Measure only these servers (comma-separated); the one that the others are compared with is always there.
    #[arg(long = "servers", value_delimiter = ',')]
    pub(crate) only: Vec<Peer>,
    /// Do not count system calls.
    #[arg(long)]
    pub(crate) no_syscalls: bool,
    /// Where to write the tables; `-` for nowhere. By default docs/benchmarks.md of this repository.
    #[arg(long)]
    output: Option<PathBuf>,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Bench {
    /// The servers to measure, each after the one that it is compared with.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        let wanted = |peer: &Peer| {
            self.only.is_empty()
                || self.only.contains(peer)
                || self.only.iter().any(|other| other.protocol().baseline() == *peer)
        };
        Peer::ALL.iter().copied().filter(wanted).collect()
    }

    /// The length of one slice.
    pub(crate) fn slice(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::from_secs(3)) / self.slices.max(1)
    }

    pub(crate) fn output(&self) -> Option<PathBuf> {
        match &self.output {
            Some(path) if path.as_os_str() == "-" => None,
            Some(path) => Some(path.clone()),
            None => Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks.md"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn at_least_five_rounds_by_default() {
        let args = Args::parse_from(["benches"]);
        assert!(args.bench.rounds >= 5);
        assert_eq!(args.bench.peers(), Peer::ALL);
    }

    #[test]
    fn a_choice_of_servers_keeps_what_they_are_compared_with() {
        let args = Args::parse_from(["benches", "--servers", "tokio-current"]);
        assert_eq!(args.bench.peers(), [Peer::Tokio, Peer::TokioCurrent]);
    }

    #[test]
    fn the_starter_can_ask_for_any_server() {
        for peer in Peer::ALL {
            let args = Args::parse_from(["benches", "serve", peer.name()]);
            assert!(matches!(args.command, Some(Command::Serve { peer: asked }) if asked == *peer));
        }
    }
}
