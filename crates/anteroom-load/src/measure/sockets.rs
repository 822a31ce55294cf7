//! The kernel's table of TCP sockets, as anybody may read it.
//!
//! Owns: counting, per local port, what waits in an accept queue and what of it is in CLOSE_WAIT.
//! Never: another network namespace, or anything beyond IPv4.

use std::{fs, io};

const LISTEN: &str = "0A";
const CLOSE_WAIT: &str = "08";

/// What the table says about one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortSockets {
    /// Connections in the accept queue of the port's listeners, living and dead. The receive queue of a row in
    /// state LISTEN is that (`net/ipv4/tcp_ipv4.c`, `get_tcp4_sock`).
    pub queued: u64,
    /// Connections in CLOSE_WAIT that belong to no process: they were never accepted, and the client has left.
    pub close_wait_unowned: u64,
    /// Connections in CLOSE_WAIT that a process holds.
    pub close_wait_owned: u64,
}

/// One reading of `/proc/net/tcp`.
#[derive(Clone, Debug)]
pub struct TcpTable {
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    port: u16,
    state: State,
    receive_queue: u64,
    inode: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Listen,
    CloseWait,
    Other,
}

impl TcpTable {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// There is none (not Linux, or `/proc` is not mounted).
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/net/tcp")?))
    }

    /// What it says about a local port.
    #[must_use]
    pub fn port(&self, port: u16) -> PortSockets {
        let mut sockets = PortSockets::default();
        for row in self.rows.iter().filter(|row| row.port == port) {
            match (row.state, row.inode) {
                (State::Listen, _) => sockets.queued += row.receive_queue,
                (State::CloseWait, 0) => sockets.close_wait_unowned += 1,
                (State::CloseWait, _) => sockets.close_wait_owned += 1,
                (State::Other, _) => {}
            }
        }
        sockets
    }

    fn parse(text: &str) -> Self {
        Self { rows: text.lines().skip(1).filter_map(parse_row).collect() }
    }
}

/// `sl local rem st tx:rx tr:when retrnsmt uid timeout inode …`, numbers of the first five hexadecimal.
fn parse_row(line: &str) -> Option<Row> {
    let mut fields = line.split_whitespace().skip(1);
    let local = fields.next()?;
    let _remote = fields.next()?;
    let state = match fields.next()? {
        LISTEN => State::Listen,
        CLOSE_WAIT => State::CloseWait,
        _ => State::Other,
    };
    let queues = fields.next()?;
    let inode = fields.nth(4)?.parse().ok()?;
    Some(Row {
        port: u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?,
        state,
        receive_queue: u64::from_str_radix(queues.split_once(':')?.1, 16).ok()?,
        inode,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        net::{TcpListener, TcpStream},
        time::{Duration, Instant},
    };

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000101 00:00000000 00000000     0        0 81236 1 00 100
   1: 0100007F:1F40 0100007F:8000 08 00000000:00000001 00:00000000 00000000     0        0 0 1 00 20 4 30 10 -1
   2: 0100007F:1F40 0100007F:8001 08 00000000:00000001 00:00000000 00000000     0        0 77 1 00 20 4 30 10
   3: 0100007F:1F40 0100007F:8002 01 00000000:00000000 00:00000000 00000000     0        0 0 1 00 20 4 30 10
   4: 0100007F:1F41 0100007F:8003 08 00000000:00000001 00:00000000 00000000     0        0 0 1 00 20 4 30 10
";

    #[test]
    fn a_port_is_counted_by_state_and_owner() {
        let table = TcpTable::parse(TABLE);
        let expected = PortSockets { queued: 0x101, close_wait_unowned: 1, close_wait_owned: 1 };
        assert_eq!(table.port(8_000), expected);
        assert_eq!(table.port(8_001).close_wait_unowned, 1);
        assert_eq!(table.port(8_002), PortSockets::default());
    }

    #[test]
    fn a_client_that_left_the_queue_is_seen_in_the_kernels_own_table() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stays = TcpStream::connect(address).unwrap();
        drop(TcpStream::connect(address).unwrap());
        let expected = PortSockets { queued: 2, close_wait_unowned: 1, close_wait_owned: 0 };
        let end = Instant::now() + Duration::from_secs(20);
        // A loaded machine may deliver the FIN later than the close.
        while TcpTable::read().unwrap().port(address.port()) != expected {
            assert!(Instant::now() < end, "{:?}", TcpTable::read().unwrap().port(address.port()));
            std::thread::yield_now();
        }
        drop(stays);
    }
}
