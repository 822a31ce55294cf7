//! One server against others.
//!
//! Owns: who takes part.
//! Never: a way of measuring of its own: a pair is a round.

use crate::{
    args::Load,
    document::{describe, table},
    figures::{CLOSED, COMPARED, LOADED, OPEN},
    round, say,
};
use anteroom_load::peer::Peer;
use std::io;

pub(crate) fn run(server: Peer, with: &[Peer], pairs: u16, load: &Load) -> io::Result<()> {
    let mut peers = vec![server];
    for other in with {
        if other.protocol() != server.protocol() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{other} speaks something else"),
            ));
        }
        if !peers.contains(other) {
            peers.push(*other);
        }
    }
    let figures = round::measure_all(&peers, pairs, load)?;
    say(&format!(
        "\n{}\n\nRatios, {pairs} pairs: the median, and its interval of 95 %.\n\n",
        describe(load)
    ))?;
    let others: Vec<_> = peers.iter().copied().filter(|other| *other != server).collect();
    say(&table(
        &others,
        COMPARED,
        |other| format!("{server} / {other}"),
        |other, figure| figures.ratio(server, other, figure),
    ))?;
    for columns in [CLOSED, OPEN, LOADED] {
        say("\n")?;
        say(&table(&peers, columns, |peer| peer.to_string(), |peer, figure| figures.spread(peer, figure)))?;
    }
    Ok(())
}
