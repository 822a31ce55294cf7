//! `anteroom-load after-a-stall CURVE.csv [CLIENTS.csv]`: runs the servers of the comparison through a stall
//! under the same load and writes the share of new clients that succeed, over time, and what became of each.
//!
//! `anteroom-load simulate [CURVE.csv]`: simulates overload and draws the plots of the guide; the curve is one of
//! `after-a-stall`, which is drawn beside what was simulated. From the workspace's root.
//!
//! Owns: the command line.
//! Never: a measurement of its own. `anteroom-load serve SETUP` is a server of such a run.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "this program speaks to people")]

use anteroom_load::{
    client::tally,
    service::{self, Loop},
    simulate,
    stall::{AfterAStall, Curve},
};
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    time::Duration,
};

const USAGE: &str = "usage: anteroom-load after-a-stall CURVE.csv [CLIENTS.csv] | anteroom-load simulate [CURVE.csv] | \
                     anteroom-load serve SETUP";

/// Where the guide's plots stand.
const PLOTS: &str = "docs/guide/overload";

/// Any number does; it must be the same for the same plots.
const SEED: u64 = 1;

const SLOT: Duration = Duration::from_millis(100);

fn main() -> io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", setup] => service::serve(setup),
        ["after-a-stall", curve] => after_a_stall(curve, None),
        ["simulate"] => simulate(None),
        ["simulate", curve] => simulate(Some(curve)),
        ["after-a-stall", curve, clients] => after_a_stall(curve, Some(clients)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, USAGE)),
    }
}

fn simulate(curve: Option<&str>) -> io::Result<()> {
    let measured = curve.map(std::fs::read_to_string).transpose()?;
    for name in simulate::plots::write_all(Path::new(PLOTS), measured.as_deref(), SEED)? {
        println!("{PLOTS}/{name}");
    }
    Ok(())
}

fn after_a_stall(curve: &str, clients: Option<&str>) -> io::Result<()> {
    let servers = [("plain", Loop::Plain), ("anteroom", Loop::Anteroom(Box::default()))];
    let run = AfterAStall::default();
    println!("{run:?}");
    let runs = run.run(std::env::current_exe()?, &servers)?;
    let mut table = BufWriter::new(File::create(curve)?);
    writeln!(table, "{}", Curve::HEADING)?;
    for run in &runs {
        Curve::of(run, SLOT).write_csv(&mut table)?;
        let recovered = run.recovered_after(0.99, Duration::from_secs(1));
        println!("{}: {}; recovered after {recovered:?}", run.name, tally(&run.visits));
    }
    table.flush()?;
    if let Some(clients) = clients {
        let mut list = BufWriter::new(File::create(clients)?);
        writeln!(list, "server,came_ms,source,manner,ending,took_ms,call_ms")?;
        for run in &runs {
            run.write_clients(&mut list)?;
        }
        list.flush()?;
    }
    Ok(())
}
