//! The benchmark: every server in a process of its own, rounds interleaved, medians and ratios.
//!
//! Owns: the command line, and the order of things.
//! Never: a figure that was not measured in this run.
#![forbid(unsafe_code)]

mod args;
mod document;
mod figures;
mod paired;
mod round;
mod running;

use anteroom_load::{
    measure::{Machine, Syscalls},
    peer::Peer,
};
use args::{Args, Bench, Command};
use clap::Parser;
use figures::Figures;
use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Runs the command that the arguments of this process ask for.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.command {
        Some(Command::Serve { peer }) => peer.serve(),
        Some(Command::Paired { peer, with, pairs, bench }) => paired::run(peer, with, pairs, &bench),
        None => run(&args.bench),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "benchmark: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(bench: &Bench) -> io::Result<()> {
    let peers = bench.peers();
    let mut figures = Figures::new(&peers);
    for round in 0..bench.rounds {
        for (peer, measured) in round::measure(&in_turn(&peers, round), bench)? {
            say(&format!("round {} of {}: {peer:17}  {measured}\n", round + 1, bench.rounds))?;
            figures.add(peer, measured);
        }
    }
    let syscalls = count_all_syscalls(&peers, bench)?;
    let document = document::write(&Machine::here(), bench, &figures, &syscalls);
    say(&format!("\n{document}"))?;
    if let Some(path) = bench.output() {
        std::fs::write(&path, document)?;
        say(&format!("\nwritten to {}\n", path.display()))?;
    }
    Ok(())
}

fn count_all_syscalls(peers: &[Peer], bench: &Bench) -> io::Result<Vec<(Peer, Syscalls)>> {
    let mut counted = Vec::new();
    if bench.no_syscalls {
        return Ok(counted);
    }
    for peer in peers {
        match running::syscalls(*peer, bench)? {
            Some(syscalls) => counted.push((*peer, syscalls)),
            None => {
                say("system calls: not counted, strace is not there or may not look\n")?;
                break;
            }
        }
    }
    Ok(counted)
}

/// Everyone once, another one first in every turn: who comes after whom, and when, is then nobody's advantage.
fn in_turn<T: Clone>(all: &[T], turn: usize) -> Vec<T> {
    let mut all = all.to_vec();
    if !all.is_empty() {
        let places = turn % all.len();
        all.rotate_left(places);
    }
    all
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_is_first_once() {
        let firsts: Vec<_> =
            (0..Peer::ALL.len()).filter_map(|round| in_turn(Peer::ALL, round).first().copied()).collect();
        assert_eq!(firsts, Peer::ALL);
        for round in 0..7 {
            assert_eq!(in_turn(Peer::ALL, round).len(), Peer::ALL.len());
        }
    }
}
