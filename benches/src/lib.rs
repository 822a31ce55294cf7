//! The benchmark: every server in a process of its own, rounds interleaved, medians and ratios.
//!
//! Owns: the command line, and the order of things.
//! Never: a figure that was not measured in this run.
#![forbid(unsafe_code)]

mod args;
mod bounds;
mod compare;
mod counted;
mod document;
mod figures;
mod plots;
mod protections;
mod round;
mod running;
mod scale;

use anteroom_load::{
    measure::Machine,
    peer::{Peer, Protocol},
    process::pin_to,
};
use args::{Args, Bench, Command, LOAD_CORE, Load, ServeOptions};
use clap::Parser;
use counted::Counted;
use document::Contents;
use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Runs the command that the arguments of this process ask for.
#[must_use]
pub fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "benchmark: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> io::Result<()> {
    match args.command {
        Some(Command::Serve { peer, options }) => serve(peer, options),
        Some(Command::Compare { server, with, pairs, load }) => {
            take_place(&load)?;
            compare::run(server, &with, pairs, &load)
        }
        Some(Command::Protections { load }) => {
            take_place(&load)?;
            let rows = protections::count(&load)?;
            say(&format!("\n{}", protections::table(&rows)))
        }
        Some(Command::Scale(scale)) => scale::run(&scale),
        Some(Command::KeepServing { peer }) => anteroom_load::scale::keep_serving(peer),
        None => everything(&args.bench.hurried()),
    }
}

/// The load runs on this thread.
fn take_place(load: &Load) -> io::Result<()> {
    if load.pin { pin_to(LOAD_CORE) } else { Ok(()) }
}

/// Pinned first: a server takes its number of workers from the cores that it may use.
fn serve(peer: Peer, options: ServeOptions) -> io::Result<()> {
    options.pin.map(pin_to).transpose()?;
    peer.serve(&options.into())
}

fn everything(bench: &Bench) -> io::Result<()> {
    take_place(&bench.load)?;
    let peers = bench.peers();
    let figures = round::measure_all(&peers, bench.rounds, &bench.load)?;
    let mut counted = Vec::new();
    let mut protections = Vec::new();
    if !bench.no_counts {
        for peer in peers {
            let count = if bench.quick {
                Counted::syscalls_of(peer, &bench.load)?
            } else {
                Counted::of(peer, &[], &bench.load)?
            };
            counted.push((peer, count));
            say(&format!("counted: {peer}\n"))?;
        }
        if !bench.quick {
            protections = protections::count(&bench.load)?;
        }
    }
    let contents = Contents {
        machine: &Machine::here(),
        bench,
        figures: &figures,
        counted: &counted,
        protections: &protections,
    };
    let document = document::write(&contents);
    say(&format!("\n{document}"))?;
    if let Some(path) = bench.output() {
        plots::write_all(&path, &figures, &Protocol::ALL)?;
        std::fs::write(&path, document)?;
        say(&format!("\nwritten to {}\n", path.display()))?;
    }
    Ok(())
}

/// Everyone once, there and back again, then with another one first: who comes after whom, and when, is nobody's
/// advantage.
fn in_turn<T: Clone>(all: &[T], turn: usize) -> Vec<T> {
    let mut all = all.to_vec();
    if !all.is_empty() {
        let places = turn / 2 % all.len();
        all.rotate_left(places);
    }
    if turn % 2 == 1 {
        all.reverse();
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
    fn everyone_is_first_as_often_and_last_as_often() {
        let all: Vec<_> = Peer::all().collect();
        let orders: Vec<_> = (0..2 * all.len()).map(|turn| in_turn(&all, turn)).collect();
        for peer in &all {
            assert_eq!(orders.iter().filter(|order| order.first() == Some(peer)).count(), 2);
            assert_eq!(orders.iter().filter(|order| order.last() == Some(peer)).count(), 2);
            assert!(orders.iter().all(|order| order.contains(peer)));
        }
    }
}
