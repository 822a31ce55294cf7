//! `SO_ATTACH_FILTER` (socket(7)): a classic BPF program on a listening socket.
//!
//! Owns the program. Never decides when it is attached.

use std::{io, os::fd::BorrowedFd};

use libc::{BPF_ABS, BPF_B, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET};
use socket2::{SockFilter, SockRef};

/// The byte of the TCP header with the flags. On a TCP socket a filter sees the segment from its TCP header on
/// (`tcp_filter` in `net/ipv4/tcp_ipv4.c`).
const FLAGS: u32 = 13;
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;
/// How much of the segment is kept: nothing, or all of it.
const DROP: u32 = 0;
const KEEP: u32 = u32::MAX;

/// Drops the segments of a listener that have SYN and not ACK.
pub(crate) fn attach(listener: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&listener).attach_filter(&[
        instruction(BPF_LD | BPF_B | BPF_ABS, 0, 0, FLAGS),
        // Of each jump: how many instructions are passed over if a bit is set, and if none is.
        instruction(BPF_JMP | BPF_JSET | BPF_K, 0, 2, SYN),
        instruction(BPF_JMP | BPF_JSET | BPF_K, 1, 0, ACK),
        instruction(BPF_RET | BPF_K, 0, 0, DROP),
        instruction(BPF_RET | BPF_K, 0, 0, KEEP),
    ])
}

/// Takes the filter away.
pub(crate) fn detach(listener: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&listener).detach_filter()
}

#[expect(clippy::cast_possible_truncation, reason = "every opcode of classic BPF is below 256")]
const fn instruction(opcode: u32, if_set: u8, if_clear: u8, operand: u32) -> SockFilter {
    SockFilter::new(opcode as u16, if_set, if_clear, operand)
}
