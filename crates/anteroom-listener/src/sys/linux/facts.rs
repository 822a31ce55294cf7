//! getsockopt(2): `TCP_INFO` and `SO_MEMINFO`, the sysctl that bounds every backlog, and the count of descriptors.
//!
//! Owns the layout of the two structures (`include/uapi/linux/tcp.h`, `sock_diag.h`; both are ABI and only ever grow at
//! the end). Never reads a field that the kernel did not return.

use std::{
    fs, io,
    os::fd::{AsRawFd, BorrowedFd},
    time::Duration,
};

use libc::{c_int, socklen_t};

use crate::sys::TcpInfo;

/// As much of `struct tcp_info` as is read here.
const TCP_INFO_LENGTH: usize = 136;
const STATE: usize = 0;
const UNACKED: usize = 24;
const SACKED: usize = 28;
const LAST_DATA_SENT: usize = 44;
/// Since Linux 4.1.
const BYTES_RECEIVED: usize = 128;

/// `SO_MEMINFO` gives `SK_MEMINFO_VARS` words; the ninth counts drops.
const MEMINFO_LENGTH: usize = 36;
const MEMINFO_DROPS: usize = 32;

const DESCRIPTORS: &str = "/proc/self/fd";

/// `TCP_INFO`; `None` if the socket has none.
pub(crate) fn tcp_info(socket: BorrowedFd<'_>) -> Option<TcpInfo> {
    let mut buffer = [0; TCP_INFO_LENGTH];
    let bytes = read_option(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut buffer).ok()?;
    Some(parse_tcp_info(bytes))
}

/// How many segments this socket dropped (`SK_MEMINFO_DROPS`).
pub(crate) fn drops(socket: BorrowedFd<'_>) -> Option<u64> {
    let mut buffer = [0; MEMINFO_LENGTH];
    let bytes = read_option(socket, libc::SOL_SOCKET, libc::SO_MEMINFO, &mut buffer).ok()?;
    word(bytes, MEMINFO_DROPS).map(u64::from)
}

/// `net.core.somaxconn` of the caller's network namespace.
pub(crate) fn somaxconn() -> Option<u32> {
    fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()
}

/// How many descriptors this process has open. Since 6.2 `stat` gives it (`proc_readfd_count` in `fs/proc/fd.c`);
/// before that, as on file systems that know no sizes, it gives zero.
pub(crate) fn open_descriptors() -> Option<u64> {
    match fs::metadata(DESCRIPTORS).ok()?.len() {
        0 => listed_descriptors(),
        count => Some(count),
    }
}

fn listed_descriptors() -> Option<u64> {
    let mut count: u64 = 0;
    for entry in fs::read_dir(DESCRIPTORS).ok()? {
        entry.ok()?;
        count += 1;
    }
    // One of them was the listing's own.
    count.checked_sub(1)
}

fn parse_tcp_info(bytes: &[u8]) -> TcpInfo {
    TcpInfo {
        state: bytes.get(STATE).copied(),
        unacked: word(bytes, UNACKED),
        sacked: word(bytes, SACKED),
        received: long_word(bytes, BYTES_RECEIVED),
        last_data_sent: word(bytes, LAST_DATA_SENT).map(|ms| Duration::from_millis(ms.into())),
    }
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn long_word(bytes: &[u8], offset: usize) -> Option<u64> {
    let bytes = bytes.get(offset..offset.checked_add(8)?)?;
    Some(u64::from_ne_bytes(bytes.try_into().ok()?))
}

/// getsockopt(2) into a buffer; gives the part that the kernel wrote.
fn read_option<'buffer>(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    buffer: &'buffer mut [u8],
) -> io::Result<&'buffer [u8]> {
    let mut length = socklen_t::try_from(buffer.len()).unwrap_or(socklen_t::MAX);
    let value = buffer.as_mut_ptr().cast();
    // SAFETY: `value` is writable for `length` bytes, `length` for its own size, and the call keeps neither pointer.
    let answer = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, value, &raw mut length) };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    let written = usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
    Ok(buffer.get(..written).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_short_answer_is_none_beyond_its_end() {
        let mut bytes = [0xffu8; TCP_INFO_LENGTH];
        bytes[STATE] = 10;
        bytes[UNACKED..UNACKED + 4].copy_from_slice(&7u32.to_ne_bytes());
        for length in 0..=bytes.len() {
            let info = parse_tcp_info(&bytes[..length]);
            assert_eq!(info.state, (length > STATE).then_some(10));
            assert_eq!(info.unacked, (length >= UNACKED + 4).then_some(7));
            assert_eq!(info.sacked.is_some(), length >= SACKED + 4);
            assert_eq!(info.received.is_some(), length >= BYTES_RECEIVED + 8);
            assert_eq!(info.last_data_sent.is_some(), length >= LAST_DATA_SENT + 4);
        }
    }

    #[test]
    fn the_offsets_are_those_of_the_c_structure() {
        use std::mem::offset_of;
        assert_eq!(STATE, offset_of!(libc::tcp_info, tcpi_state));
        assert_eq!(UNACKED, offset_of!(libc::tcp_info, tcpi_unacked));
        assert_eq!(SACKED, offset_of!(libc::tcp_info, tcpi_sacked));
        assert_eq!(LAST_DATA_SENT, offset_of!(libc::tcp_info, tcpi_last_data_sent));
        #[cfg(any(target_env = "gnu", target_env = "musl"))]
        assert_eq!(BYTES_RECEIVED, offset_of!(libc::tcp_info, tcpi_bytes_received));
    }

    #[test]
    fn the_size_of_the_directory_is_the_length_of_its_list() {
        // Other tests open and close descriptors meanwhile.
        anteroom_testkit::eventually("both counts agree", anteroom_testkit::BOUND, || {
            let count = listed_descriptors();
            count.is_some() && open_descriptors() == count
        });
    }

    #[test]
    fn a_socket_without_tcp_has_no_tcp_info() {
        let (here, _there) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(tcp_info(here.as_fd()), None);
    }
}
