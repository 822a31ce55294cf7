//! The kernel's own view of the sockets: `/proc/net` and `ss`, to compare with.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::Command,
};

/// One line of `/proc/net/tcp` or `/proc/net/tcp6` (proc_net_tcp of the kernel's documentation).
#[derive(Clone, Copy, Debug)]
pub struct TcpSocket {
    /// Its own address.
    pub local: SocketAddr,
    /// The other end's.
    pub peer: SocketAddr,
    /// Its state.
    pub state: TcpState,
    /// On a listening socket, how many connections are queued; else the bytes that wait to be read.
    pub receive_queue: u32,
    /// 0 if no descriptor belongs to it.
    pub inode: u64,
}

/// The states of `include/net/tcp_states.h` that tests ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcpState {
    /// 1
    Established,
    /// 3
    SynReceived,
    /// 8
    CloseWait,
    /// 10
    Listen,
    /// Any other.
    Other(u8),
}

/// Every TCP socket of this network namespace, IPv4 and IPv6. None where there is no `/proc/net`.
pub fn tcp_sockets() -> Vec<TcpSocket> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.lines().skip(1).filter_map(tcp_socket).collect::<Vec<_>>()
        })
        .collect()
}

/// A counter of `/proc/net/netstat` or `/proc/net/snmp`, such as `TcpExt`, `ListenDrops`.
pub fn netstat(group: &str, counter: &str) -> Option<u64> {
    ["/proc/net/netstat", "/proc/net/snmp"].iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(group)?.strip_prefix(':'));
        let place = lines.next()?.split_whitespace().position(|name| name == counter)?;
        lines.next()?.split_whitespace().nth(place)?.parse().ok()
    })
}

/// Depth and limit of the queue of the listener on this port, as `ss` shows them. Where there is no `ss` it prints that
/// and gives `None`; with `CI=true` it panics instead.
pub fn ss_tcp_queue(port: u16) -> Option<(u32, u32)> {
    let shown = queue_columns(&ss(&["-Hltn", &format!("sport = :{port}")])?, 1, |_| true);
    Some(shown.expect("ss shows the listener"))
}

/// The same of the Unix listener whose name ends like this.
pub fn ss_unix_queue(name: &str) -> Option<(u32, u32)> {
    let is_wanted = |line: &str| line.split_whitespace().any(|column| column.ends_with(name));
    Some(queue_columns(&ss(&["-Hxl"])?, 2, is_wanted).expect("ss shows the listener"))
}

fn ss(arguments: &[&str]) -> Option<String> {
    match Command::new("ss").args(arguments).output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            let why = format!("ss, to compare with, cannot be run: {error}");
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
            eprintln!("skipped: {why}");
            None
        }
    }
}

fn queue_columns(text: &str, first: usize, is_wanted: impl Fn(&str) -> bool) -> Option<(u32, u32)> {
    let mut columns = text.lines().find(|line| is_wanted(line))?.split_whitespace().skip(first);
    Some((columns.next()?.parse().ok()?, columns.next()?.parse().ok()?))
}

fn tcp_socket(line: &str) -> Option<TcpSocket> {
    let mut columns = line.split_whitespace().skip(1);
    let (local, peer) = (address(columns.next()?)?, address(columns.next()?)?);
    let state = match u8::from_str_radix(columns.next()?, 16).ok()? {
        1 => TcpState::Established,
        3 => TcpState::SynReceived,
        8 => TcpState::CloseWait,
        10 => TcpState::Listen,
        other => TcpState::Other(other),
    };
    let (_, receive_queue) = columns.next()?.split_once(':')?;
    // Timer, retransmits, owner, timeout.
    let inode = columns.nth(4)?.parse().ok()?;
    Some(TcpSocket { local, peer, state, receive_queue: u32::from_str_radix(receive_queue, 16).ok()?, inode })
}

/// The words of the address are in the host's byte order, the port is a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word =
        |place: usize| Some(u32::from_str_radix(ip.get(place * 8..place * 8 + 8)?, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let bytes: Vec<u8> = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()
        }
        _ => return None,
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn a_line_of_proc_is_read() {
        let line = "   1: 0100007F:1F90 00000000:0000 0A 00000010:00000003 00:00000000 00000000     0        0 4711 1 0 100";
        let socket = tcp_socket(line).unwrap();
        assert_eq!(socket.local, "127.0.0.1:8080".parse().unwrap());
        assert_eq!((socket.state, socket.receive_queue, socket.inode), (TcpState::Listen, 3, 4711));
    }

    #[test]
    fn columns_of_ss_are_read() {
        assert_eq!(queue_columns("LISTEN 3 16 127.0.0.1:80 0.0.0.0:*\n", 1, |_| true), Some((3, 16)));
        assert_eq!(queue_columns("", 1, |_| true), None);
    }
}
