//! unix_diag: the accept queue of a Unix listener.
//!
//! Owns the question for one socket by its inode. Never walks the list of all sockets itself; the kernel does, to find
//! this one.

use std::{
    fs::File,
    io,
    os::{fd::BorrowedFd, unix::fs::MetadataExt},
    sync::{Mutex, PoisonError},
};

use super::{
    conversation::Conversation,
    message::{Ask, Malformed, attributes, word},
};

/// `UDIAG_SHOW_RQLEN` and `UNIX_DIAG_RQLEN` of `include/uapi/linux/unix_diag.h`.
const SHOW_RQLEN: u32 = 0x10;
const RQLEN: u16 = 4;
/// `struct unix_diag_msg`: family, type, state, padding, inode, cookie.
const RECORD: usize = 16;
const INODE: usize = 4;

/// Where a Unix listener's queue is asked for. The socket is kept: when the process is out of descriptors no new one
/// could be opened, and that is when the queue is of interest.
#[derive(Debug)]
pub(crate) struct UnixQueue {
    conversation: Mutex<Conversation>,
    inode: u32,
}

impl UnixQueue {
    /// `None` where the kernel cannot be asked.
    pub(crate) fn of(listener: BorrowedFd<'_>) -> Option<Self> {
        let inode = File::from(listener.try_clone_to_owned().ok()?).metadata().ok()?.ino();
        let conversation = Mutex::new(Conversation::open().ok()?);
        Some(Self { conversation, inode: u32::try_from(inode).ok()? })
    }

    /// Depth and limit; `None` if the kernel does not answer, or not about this socket.
    pub(crate) fn depth_and_limit(&self) -> Option<(u32, u32)> {
        self.ask().ok().flatten()
    }

    fn ask(&self) -> io::Result<Option<(u32, u32)>> {
        let mut found = None;
        let mut conversation = self.conversation.lock().unwrap_or_else(PoisonError::into_inner);
        conversation.ask(Ask::ForOne, &question(self.inode), |record| {
            found = read(record, self.inode)?;
            Ok(())
        })?;
        Ok(found)
    }
}

/// `struct unix_diag_req`.
fn question(inode: u32) -> Vec<u8> {
    let family = u8::try_from(libc::AF_UNIX).unwrap_or_default();
    let mut bytes = vec![family, 0, 0, 0];
    // Every state, this inode, the queue; the cookie that stands for any.
    for word in [u32::MAX, inode, SHOW_RQLEN, u32::MAX, u32::MAX] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    bytes
}

fn read(record: &[u8], inode: u32) -> Result<Option<(u32, u32)>, Malformed> {
    if word(record, INODE)? != inode {
        return Ok(None);
    }
    for attribute in attributes(record.get(RECORD..).ok_or(Malformed)?) {
        if let (RQLEN, value) = attribute? {
            return Ok(Some((word(value, 0)?, word(value, 4)?)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Linux 6.18 on x86-64 answered for a `listen(4)` with 5 clients: behind the queue, the shutdown state.
    #[cfg(target_endian = "little")]
    const CAPTURED: [u8; 36] = [
        1, 1, 10, 0, 236, 161, 57, 0, 6, 0, 0, 0, 0, 0, 0, 0, 12, 0, 4, 0, 5, 0, 0, 0, 4, 0, 0, 0, 5, 0, 6,
        0, 0, 0, 0, 0,
    ];
    #[cfg(target_endian = "little")]
    const INODE_OF_CAPTURED: u32 = 3_777_004;

    #[cfg(target_endian = "little")]
    #[test]
    fn a_captured_record_is_read() {
        assert_eq!(read(&CAPTURED, INODE_OF_CAPTURED), Ok(Some((5, 4))));
        assert_eq!(read(&CAPTURED, 1), Ok(None));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_record_that_is_cut_tells_nothing_or_is_malformed() {
        const END_OF_QUEUE: usize = RECORD + 12;
        for length in 0..END_OF_QUEUE {
            let cut = read(&CAPTURED[..length], INODE_OF_CAPTURED);
            let expected = if length == RECORD { Ok(None) } else { Err(Malformed) };
            assert_eq!(cut, expected, "{length}");
        }
        assert_eq!(read(&CAPTURED[..END_OF_QUEUE], INODE_OF_CAPTURED), Ok(Some((5, 4))));
    }

    #[test]
    fn the_question_has_the_structure_s_length() {
        assert_eq!(question(1).len(), 24);
    }

    proptest! {
        #[test]
        fn no_record_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), inode: u32) {
            let _ = read(&bytes, inode);
        }
    }
}
