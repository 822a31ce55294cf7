//! The curve that `after-a-stall` measured on real sockets, read back.
//!
//! Owns: the reading of its table.
//! Never: changes a number.

use crate::stall::Curve;
use std::io;

/// What a server of the run measured in one slot: seconds from the release, clients who came, who were answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// From the release to the begin of the slot, in seconds; negative before it.
    pub begins: f64,
    /// Who came in it.
    pub came: u32,
    /// Who of them was answered.
    pub answered: u32,
}

/// The servers of a run with their slots, in the order in which they stand in the table.
///
/// # Errors
/// It is not the table of [`Curve::write_csv`].
pub fn read(table: &str) -> io::Result<Vec<(String, Vec<Measured>)>> {
    let mut lines = table.lines();
    if lines.next() != Some(Curve::HEADING) {
        return Err(invalid(Curve::HEADING));
    }
    let mut servers: Vec<(String, Vec<Measured>)> = Vec::new();
    for line in lines {
        let (server, slot) = slot(line).ok_or_else(|| invalid(line))?;
        match servers.last_mut() {
            Some((last, slots)) if last == server => slots.push(slot),
            _ => servers.push((server.to_owned(), vec![slot])),
        }
    }
    Ok(servers)
}

fn slot(line: &str) -> Option<(&str, Measured)> {
    let mut cells = line.split(',');
    let server = cells.next()?;
    let begins: f64 = cells.next()?.parse().ok()?;
    let came = cells.next()?.parse().ok()?;
    let answered = cells.next()?.parse().ok()?;
    Some((server, Measured { begins: begins / 1e3, came, answered }))
}

fn invalid(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a table of `after-a-stall`: {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_server_by_server_and_something_else_is_refused() {
        let table =
            format!("{}\nplain,-100,40,3,7.000\nplain,0,40,0,\nanteroom,0,41,41,21.5\n", Curve::HEADING);
        let servers = read(&table).unwrap();
        assert_eq!(
            servers.iter().map(|(name, slots)| (name.as_str(), slots.len())).collect::<Vec<_>>(),
            [("plain", 2), ("anteroom", 1)]
        );
        assert_eq!(servers[0].1[0], Measured { begins: -0.1, came: 40, answered: 3 });
        assert!(read("server,what").is_err());
        assert!(read(&format!("{}\nplain,now,1,1,", Curve::HEADING)).is_err());
    }
}
