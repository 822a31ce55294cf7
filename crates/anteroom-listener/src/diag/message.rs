//! The bytes of netlink messages (netlink(7)): written and read.
//!
//! Owns the framing. Pure: no socket, no clock. Never trusts a length; what does not fit is an error.

/// `SOCK_DIAG_BY_FAMILY` of `include/uapi/linux/sock_diag.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
/// `struct nlmsghdr`: length, type, flags, sequence, port.
const HEADER: usize = 16;
/// `struct rtattr`: length, type.
const ATTRIBUTE_HEADER: usize = 4;

/// One of something, or all that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    ForOne,
    ForAll,
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// A record: what follows the header.
    Record(&'a [u8]),
    /// The end of a list.
    Done,
    /// The question failed, with this errno (0: it was only acknowledged).
    Failed(i32),
}

/// An answer whose lengths do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A question with its header.
pub(super) fn question(ask: Ask, sequence: u32, body: &[u8]) -> Vec<u8> {
    let flags = match ask {
        Ask::ForOne => NLM_F_REQUEST,
        Ask::ForAll => NLM_F_REQUEST | NLM_F_DUMP,
    };
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&0u32.to_ne_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The messages of one datagram that answer this question; those to another (late ones) are passed over.
pub(super) fn answers(
    datagram: &[u8],
    sequence: u32,
) -> impl Iterator<Item = Result<Message<'_>, Malformed>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let Some((header, body, after)) = split(rest) else {
                rest = &[];
                return Some(Err(Malformed));
            };
            rest = after;
            if header.sequence != sequence {
                continue;
            }
            return Some(match header.r#type {
                NLMSG_DONE => Ok(Message::Done),
                NLMSG_ERROR => {
                    array(body, 0).map(|errno| Message::Failed(i32::from_ne_bytes(errno).wrapping_neg()))
                }
                SOCK_DIAG_BY_FAMILY => Ok(Message::Record(body)),
                _ => continue,
            });
        }
        None
    })
}

/// The attributes behind the fixed part of a record: type and value.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let attribute = (|| {
            let length = usize::from(half(rest, 0)?);
            let r#type = half(rest, 2)?;
            let value = rest.get(ATTRIBUTE_HEADER..length).ok_or(Malformed)?;
            let after = rest.get(aligned(length)..).unwrap_or_default();
            Ok((r#type, value, after))
        })();
        match attribute {
            Ok((r#type, value, after)) => {
                rest = after;
                Some(Ok((r#type, value)))
            }
            Err(Malformed) => {
                rest = &[];
                Some(Err(Malformed))
            }
        }
    })
}

/// A native-endian word at an offset.
pub(super) fn word(bytes: &[u8], offset: usize) -> Result<u32, Malformed> {
    array(bytes, offset).map(u32::from_ne_bytes)
}

/// `N` bytes at an offset.
pub(super) fn array<const N: usize>(bytes: &[u8], offset: usize) -> Result<[u8; N], Malformed> {
    let end = offset.checked_add(N).ok_or(Malformed)?;
    bytes.get(offset..end).and_then(|bytes| bytes.try_into().ok()).ok_or(Malformed)
}

struct Header {
    r#type: u16,
    sequence: u32,
}

/// The first message: header, body, and what follows it.
fn split(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let length = usize::try_from(word(bytes, 0).ok()?).ok()?;
    let header = Header { r#type: half(bytes, 4).ok()?, sequence: word(bytes, 8).ok()? };
    let body = bytes.get(HEADER..length)?;
    Some((header, body, bytes.get(aligned(length)..).unwrap_or_default()))
}

fn half(bytes: &[u8], offset: usize) -> Result<u16, Malformed> {
    array(bytes, offset).map(u16::from_ne_bytes)
}

/// Messages and attributes begin at multiples of four.
fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(r#type: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = question(Ask::ForOne, sequence, body);
        bytes[4..6].copy_from_slice(&r#type.to_ne_bytes());
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    #[test]
    fn a_question_carries_its_length_and_flags() {
        let one = question(Ask::ForOne, 7, b"body");
        assert_eq!(one.len(), 20);
        assert_eq!(word(&one, 0), Ok(20));
        assert_eq!((half(&one, 4), half(&one, 6)), (Ok(20), Ok(1)));
        assert_eq!(word(&one, 8), Ok(7));
        assert_eq!(half(&question(Ask::ForAll, 7, b""), 6), Ok(0x301));
    }

    #[test]
    fn messages_are_read_one_after_the_other() {
        let errno = (-libc::ENOENT).to_ne_bytes();
        let datagram = [
            message(SOCK_DIAG_BY_FAMILY, 7, b"first"),
            message(SOCK_DIAG_BY_FAMILY, 6, b"late"),
            message(99, 7, b"of no interest"),
            message(NLMSG_ERROR, 7, &errno),
            message(NLMSG_DONE, 7, &[0; 4]),
        ]
        .concat();
        let read: Vec<_> = answers(&datagram, 7).collect();
        let expected = [Ok(Message::Record(b"first")), Ok(Message::Failed(libc::ENOENT)), Ok(Message::Done)];
        assert_eq!(read, expected);
    }

    #[test]
    fn lengths_that_do_not_fit_are_malformed_and_end_it() {
        let whole = message(SOCK_DIAG_BY_FAMILY, 7, b"body");
        for length in 1..whole.len() {
            assert_eq!(answers(&whole[..length], 7).collect::<Vec<_>>(), [Err(Malformed)], "{length}");
        }
        for lie in [0u32, 15, 21, u32::MAX] {
            let mut bytes = whole.clone();
            bytes[..4].copy_from_slice(&lie.to_ne_bytes());
            assert_eq!(answers(&bytes, 7).collect::<Vec<_>>(), [Err(Malformed)], "{lie}");
        }
        let short = message(NLMSG_ERROR, 7, b"");
        assert_eq!(answers(&short, 7).collect::<Vec<_>>(), [Err(Malformed)]);
    }

    #[test]
    fn attributes_are_read_with_their_padding() {
        let bytes = [&[5, 0, 4, 0, 9, 0, 0, 0][..], &[8, 0, 1, 0, 1, 2, 3, 4]].concat();
        if cfg!(target_endian = "little") {
            let read: Vec<_> = attributes(&bytes).collect();
            assert_eq!(read, [Ok((4, &[9][..])), Ok((1, &[1, 2, 3, 4][..]))]);
        }
        for lie in [[0, 0, 1, 0], [3, 0, 1, 0], [9, 0, 1, 0]] {
            assert_eq!(attributes(&lie).collect::<Vec<_>>(), [Err(Malformed)]);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_run_for_ever(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(answers(&bytes, 0).count() <= bytes.len());
            prop_assert!(attributes(&bytes).count() <= bytes.len());
        }
    }
}
