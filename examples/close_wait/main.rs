//! The failure that Anteroom exists for, side by side:
//!
//! ```sh
//! cargo run --release --example close_wait
//! ```
//!
//! Four servers, each a process of its own, get the same treatment: handlers block all runtime workers for some
//! seconds; meanwhile clients connect and give up, a third by closing without a byte, a third by a reset, a third
//! by sending a request and closing; then the block ends, and living clients ask. Every figure is read from the
//! kernel or counted in the handlers; the verdict is computed from the figures, and the exit code says whether
//! the expected contrast was there.

mod calls;
mod clients;
mod columns;
mod outcome;
mod plan;
mod queue;
mod screen;
mod servers;
mod stage;
mod verdict;

use std::{
    io::{self, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let done = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => stage::play(),
        (Some("serve"), Some(server)) => servers::serve(&server).map(|()| verdict::Verdict::default()),
        _ => Err(io::Error::other("takes no arguments")),
    };
    match done {
        Ok(verdict) if verdict.holds() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "close_wait: {error}");
            ExitCode::FAILURE
        }
    }
}
