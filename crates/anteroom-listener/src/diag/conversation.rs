//! One netlink socket, one question at a time.
//!
//! Owns the socket and its bounds in time and length. Never reads what an answer means.

use std::{io, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};

use super::message::{Ask, Malformed, Message, answers, question};

/// The kernel answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many datagrams one answer may have: at a hundred records each, more connections than a host can hold.
const MAX_DATAGRAMS: usize = 1 << 16;
/// The kernel fills what it is given up to this.
const BUFFER: usize = 32 * 1024;

/// A socket to the kernel's socket diagnosis.
#[derive(Debug)]
pub(super) struct Conversation {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Conversation {
    pub(super) fn open() -> io::Result<Self> {
        let (domain, protocol) = (Domain::from(libc::AF_NETLINK), Protocol::from(libc::NETLINK_SOCK_DIAG));
        let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::new() })
    }

    /// Asks, and gives every record of the answer to `record`.
    pub(super) fn ask(
        &mut self,
        ask: Ask,
        body: &[u8],
        mut record: impl FnMut(&[u8]) -> Result<(), Malformed>,
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        self.buffer.resize(BUFFER, 0);
        self.socket.send(&question(ask, self.sequence, body))?;
        for _ in 0..MAX_DATAGRAMS {
            let length = io::Read::read(&mut &self.socket, &mut self.buffer)?;
            let datagram = self.buffer.get(..length).unwrap_or_default();
            for message in answers(datagram, self.sequence) {
                match message.map_err(malformed)? {
                    Message::Record(bytes) => {
                        record(bytes).map_err(malformed)?;
                        if ask == Ask::ForOne {
                            return Ok(());
                        }
                    }
                    Message::Done | Message::Failed(0) => return Ok(()),
                    Message::Failed(errno) => return Err(io::Error::from_raw_os_error(errno)),
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer does not end"))
    }
}

fn malformed(_: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer cannot be read")
}
