//! inet_diag: what stands at a TCP listener's address: queued connections by state, handshakes, other listeners.
//!
//! Owns the question and the reading of one record. Never tells listeners of one `SO_REUSEPORT` group apart: the kernel
//! does not say at which of them a connection waits.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{
    conversation::Conversation,
    message::{Ask, Malformed, array, word},
};

/// `include/net/tcp_states.h`.
const ESTABLISHED: u8 = 1;
const SYN_RECV: u8 = 3;
const CLOSE_WAIT: u8 = 8;
const LISTEN: u8 = 10;

/// `struct inet_diag_msg` of `include/uapi/linux/inet_diag.h`: family, state, timer, retransmits; the socket's id (ports
/// in network order, addresses, interface, cookie); expiry, queues, owner, inode.
const STATE: usize = 1;
const LOCAL_PORT: usize = 4;
const LOCAL_ADDRESS: usize = 8;
const INTERFACE: usize = 40;
const INODE: usize = 68;

/// Counts the connections in the queue of the listener on this address: how many are established, and how many have the
/// peer's FIN. They are those of its port that belong to no descriptor yet.
///
/// Those that were reset are in the queue still, but in no table, so they are not counted here.
pub(crate) fn queued_by_state(listener: SocketAddr) -> io::Result<Option<(u32, u32)>> {
    let (mut open, mut closed) = (0, 0);
    Conversation::open()?.ask(Ask::ForAll, &question(listener, &[ESTABLISHED, CLOSE_WAIT]), |record| {
        match read(record, listener)?.filter(|found| found.inode == 0).map(|found| found.state) {
            Some(ESTABLISHED) => open += 1,
            Some(CLOSE_WAIT) => closed += 1,
            _ => {}
        }
        Ok(())
    })?;
    Ok(Some((open, closed)))
}

/// Counts the handshakes under way on this address. A connection by fast open counts until it is accepted.
pub(crate) fn handshakes(listener: SocketAddr) -> io::Result<Option<u32>> {
    let mut count = 0;
    Conversation::open()?.ask(Ask::ForAll, &question(listener, &[SYN_RECV]), |record| {
        let found = read(record, listener)?.filter(|found| found.inode == 0 && found.state == SYN_RECV);
        count += u32::from(found.is_some());
        Ok(())
    })?;
    Ok(Some(count))
}

/// Counts the sockets that listen on exactly this address and by the same interface as the one with this inode, itself
/// included; `None` if it is not among them.
pub(crate) fn listening_with(listener: SocketAddr, inode: u32) -> io::Result<Option<u32>> {
    let mut listening = Vec::new();
    Conversation::open()?.ask(Ask::ForAll, &question(listener, &[LISTEN]), |record| {
        let found =
            read(record, listener)?.filter(|found| found.address == listener.ip() && found.state == LISTEN);
        listening.extend(found);
        Ok(())
    })?;
    let Some(own) = listening.iter().find(|found| found.inode == inode) else { return Ok(None) };
    let count = listening.iter().filter(|found| found.interface == own.interface).count();
    Ok(u32::try_from(count).ok())
}

/// `struct inet_diag_req_v2`. A dump filters by family, states and local port, not by address.
fn question(listener: SocketAddr, states: &[u8]) -> Vec<u8> {
    let family = if listener.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    let protocol = u8::try_from(libc::IPPROTO_TCP).unwrap_or_default();
    let mut bytes = vec![u8::try_from(family).unwrap_or_default(), protocol, 0, 0];
    let states = states.iter().fold(0_u32, |states, state| states | 1 << state);
    bytes.extend_from_slice(&states.to_ne_bytes());
    bytes.extend_from_slice(&listener.port().to_be_bytes());
    // The peer's port, both addresses, the interface: any. The cookie that stands for any.
    bytes.extend_from_slice(&[0; 2 + 16 + 16 + 4]);
    bytes.extend_from_slice(&[0xff; 8]);
    bytes
}

/// What a record says, as far as it is asked here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    state: u8,
    address: IpAddr,
    interface: u32,
    /// 0 if no descriptor belongs to it.
    inode: u32,
}

/// What stands at this listener's address; `None` for another's.
fn read(record: &[u8], listener: SocketAddr) -> Result<Option<Found>, Malformed> {
    let [state] = array(record, STATE)?;
    let port = u16::from_be_bytes(array(record, LOCAL_PORT)?);
    let address: IpAddr = match listener.ip() {
        IpAddr::V4(_) => Ipv4Addr::from(array::<4>(record, LOCAL_ADDRESS)?).into(),
        IpAddr::V6(_) => Ipv6Addr::from(array::<16>(record, LOCAL_ADDRESS)?).into(),
    };
    let found = Found { state, address, interface: word(record, INTERFACE)?, inode: word(record, INODE)? };
    let is_here = listener.ip().is_unspecified() || listener.ip() == address;
    Ok((is_here && port == listener.port()).then_some(found))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(state: u8, port: u16, address: [u8; 16], inode: u32) -> Vec<u8> {
        let mut bytes = vec![2, state, 0, 0];
        bytes.extend_from_slice(&port.to_be_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&address);
        bytes.resize(INODE, 0);
        bytes.extend_from_slice(&inode.to_ne_bytes());
        bytes
    }

    /// What Linux 6.18 on x86-64 answered for a client that connected to port 54,405 and closed, not yet accepted.
    #[cfg(target_endian = "little")]
    const CAPTURED: [u8; 108] = [
        2, 8, 0, 0, 212, 133, 199, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 127, 0, 0, 1, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 8, 0, 1, 0, 0, 0, 8, 0, 15, 0, 0, 0, 0, 0, 12, 0, 21, 0, 1, 0, 0, 0, 0,
        0, 0, 0, 6, 0, 22, 0, 82, 0, 0, 0,
    ];

    #[cfg(target_endian = "little")]
    #[test]
    fn a_captured_record_is_read() {
        let found =
            Found { state: CLOSE_WAIT, address: "127.0.0.1".parse().unwrap(), interface: 0, inode: 0 };
        assert_eq!(read(&CAPTURED, "127.0.0.1:54405".parse().unwrap()), Ok(Some(found)));
        assert_eq!(read(&CAPTURED, "127.0.0.1:54406".parse().unwrap()), Ok(None));
    }

    const LOOPBACK: [u8; 16] = [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn only_what_stands_at_this_listener_is_found() {
        let here: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let everywhere: SocketAddr = "0.0.0.0:80".parse().unwrap();
        let elsewhere: SocketAddr = "127.0.0.2:80".parse().unwrap();
        let queued = record(CLOSE_WAIT, 80, LOOPBACK, 0);
        let found = Found { state: CLOSE_WAIT, address: here.ip(), interface: 0, inode: 0 };
        assert_eq!(read(&queued, here), Ok(Some(found)));
        assert_eq!(read(&queued, everywhere), Ok(Some(found)));
        assert_eq!(read(&queued, elsewhere), Ok(None));
        let taken = Found { state: ESTABLISHED, inode: 9, ..found };
        assert_eq!(read(&record(ESTABLISHED, 80, LOOPBACK, 9), here), Ok(Some(taken)));
        assert_eq!(read(&record(ESTABLISHED, 81, LOOPBACK, 0), here), Ok(None));
    }

    #[test]
    fn a_record_that_is_cut_is_malformed() {
        let whole = record(ESTABLISHED, 80, LOOPBACK, 0);
        let here: SocketAddr = "127.0.0.1:80".parse().unwrap();
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length], here), Err(Malformed), "{length}");
        }
    }

    #[test]
    fn the_question_has_the_structure_s_length_and_the_states_as_bits() {
        let question = question("[::1]:80".parse().unwrap(), &[ESTABLISHED, CLOSE_WAIT]);
        assert_eq!(question.len(), 56);
        assert_eq!(word(&question, 4), Ok(0b1_0000_0010));
    }

    proptest! {
        #[test]
        fn no_record_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), listener: SocketAddr) {
            let _ = read(&bytes, listener);
        }
    }
}
