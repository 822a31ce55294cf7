//! Where the live table goes.
//!
//! Owns: drawing over the last picture on a terminal that is wide enough, plain lines everywhere else.
//! Never: what is shown.

use crate::{columns, outcome::Outcome};
use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// Between two plain lines of a server.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Screen {
    mode: Mode,
}

enum Mode {
    /// `drawn` lines stand above the cursor.
    Draw {
        drawn: usize,
    },
    Lines {
        last: Option<Instant>,
    },
}

impl Screen {
    pub(crate) fn new(servers: usize) -> Self {
        let mode =
            if fits(columns::width(servers)) { Mode::Draw { drawn: 0 } } else { Mode::Lines { last: None } };
        Self { mode }
    }

    /// A picture of the moment.
    pub(crate) fn show(&mut self, now: &str, outcomes: &[Outcome]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match &mut self.mode {
            Mode::Draw { drawn } => {
                draw(&mut out, *drawn, now, outcomes)?;
                *drawn = columns::table(outcomes).len() + 1;
            }
            Mode::Lines { last } => {
                if last.is_some_and(|last| last.elapsed() < BETWEEN_LINES) {
                    return Ok(());
                }
                *last = Some(Instant::now());
                writeln!(out, "{now}")?;
                for outcome in outcomes {
                    writeln!(out, "  {}", columns::line(outcome))?;
                }
            }
        }
        out.flush()
    }

    /// The last picture, whole, in either mode.
    pub(crate) fn close(self, now: &str, outcomes: &[Outcome]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.mode {
            Mode::Draw { drawn } => draw(&mut out, drawn, now, outcomes),
            Mode::Lines { .. } => draw_once(&mut out, now, outcomes, "\n", ""),
        }
    }
}

/// Up to the first line of the last picture, then each line anew.
fn draw(out: &mut impl Write, drawn: usize, now: &str, outcomes: &[Outcome]) -> io::Result<()> {
    let up = if drawn > 0 { format!("\x1b[{drawn}A") } else { String::new() };
    draw_once(out, now, outcomes, &up, "\x1b[2K")
}

fn draw_once(
    out: &mut impl Write,
    now: &str,
    outcomes: &[Outcome],
    before: &str,
    each: &str,
) -> io::Result<()> {
    write!(out, "{before}")?;
    writeln!(out, "{each}{now}")?;
    for line in columns::table(outcomes) {
        writeln!(out, "{each}{line}")?;
    }
    out.flush()
}

fn fits(width: usize) -> bool {
    let stdout = io::stdout();
    stdout.is_terminal()
        && rustix::termios::tcgetwinsize(&stdout).is_ok_and(|size| usize::from(size.ws_col) >= width)
}
