//! The messages of the exchange, as bytes.
//!
//! Owns the frame (a fixed header, then JSON) and every bound on it. Pure: no socket, no descriptor, no clock; whatever
//! the bytes are, the answer is a message or an error, and never a panic or a large allocation.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `ANTE` |
//! | 2 | version, big endian |
//! | 2 | how many descriptors come with it |
//! | 4 | length of the body |
//! | … | the body: an object with `kind`, and what belongs to that kind; fields that are not known are passed over |

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

pub(super) const MAGIC: [u8; 4] = *b"ANTE";
pub(super) const VERSION: u16 = 1;
/// Bytes of a header.
pub(super) const HEADER: usize = 12;
/// The longest body that is read.
pub(super) const MAX_BODY: usize = 64 * 1024;
/// The most descriptors that come with one frame; the kernel's own limit is 253 (`SCM_MAX_FD`).
pub(super) const MAX_DESCRIPTORS: usize = 64;
/// Where a list is continued in a next frame. The kernel queues a message of that size in one piece or not at all, so
/// that a side that dies in the middle of a send leaves no half of a frame behind.
const PAGE: usize = 30 * 1024;
/// The most letters of the other side's words that are kept.
const MAX_REASON: usize = 500;

/// The part of a frame that tells how to read the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) length: usize,
    pub(super) descriptors: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Message {
    Hello {},
    Offer {
        listeners: Vec<Offered>,
        more: bool,
    },
    Ready {
        taken: Vec<String>,
        left: Vec<String>,
        #[serde(default)]
        more: bool,
    },
    Go {},
    Serving {},
    Connections {
        entries: Vec<Entry>,
    },
    Taken {
        count: usize,
    },
    Done {},
    Alone {},
    Abort {
        reason: String,
    },
    Failed {
        reason: String,
    },
}

/// A listener; its descriptor comes with the frame, at the same place of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offered {
    pub(super) name: String,
    /// For people: what it is, the socket itself says.
    #[serde(default)]
    pub(super) address: String,
    /// Nobody else had the socket before it was offered: with the last word it is the successor's alone.
    #[serde(default)]
    pub(super) exclusive: bool,
}

/// A connection; its descriptor comes with the frame, at the same place of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) listener: String,
    pub(super) peer: String,
    #[serde(default)]
    pub(super) kernel_wait_us: Option<u64>,
    pub(super) since_handshake_us: u64,
    pub(super) accepted_ago_us: u64,
}

/// Why bytes are no frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FrameError {
    Magic,
    Version(u16),
    TooLong(usize),
    TooManyDescriptors(usize),
    UnknownKind(String),
    Body(String),
    /// The list says one number, the header another.
    Descriptors {
        said: usize,
        listed: usize,
    },
}

impl Header {
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Result<Self, FrameError> {
        let [m0, m1, m2, m3, v0, v1, d0, d1, l0, l1, l2, l3] = *bytes;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(FrameError::Magic);
        }
        let version = u16::from_be_bytes([v0, v1]);
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let descriptors = usize::from(u16::from_be_bytes([d0, d1]));
        if descriptors > MAX_DESCRIPTORS {
            return Err(FrameError::TooManyDescriptors(descriptors));
        }
        let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        if length > MAX_BODY {
            return Err(FrameError::TooLong(length));
        }
        Ok(Self { length, descriptors })
    }

    fn encode(self) -> Result<[u8; HEADER], FrameError> {
        let fitting = u32::try_from(self.length).ok().filter(|_| self.length <= MAX_BODY);
        let length = fitting.ok_or(FrameError::TooLong(self.length))?;
        let fitting = u16::try_from(self.descriptors).ok().filter(|_| self.descriptors <= MAX_DESCRIPTORS);
        let descriptors = fitting.ok_or(FrameError::TooManyDescriptors(self.descriptors))?;
        let mut bytes = [0; HEADER];
        let parts = MAGIC
            .into_iter()
            .chain(VERSION.to_be_bytes())
            .chain(descriptors.to_be_bytes())
            .chain(length.to_be_bytes());
        for (byte, part) in bytes.iter_mut().zip(parts) {
            *byte = part;
        }
        Ok(bytes)
    }
}

impl Message {
    /// The whole frame.
    pub(super) fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let body = serde_json::to_vec(self).map_err(|error| FrameError::Body(error.to_string()))?;
        let header = Header { length: body.len(), descriptors: self.descriptors() }.encode()?;
        Ok([&header, body.as_slice()].concat())
    }

    /// Reads a body that came behind this header.
    pub(super) fn decode(header: Header, body: &[u8]) -> Result<Self, FrameError> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow)]
            kind: Cow<'a, str>,
        }
        // serde takes a list for an object, field by field.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(FrameError::Body("it is not an object".into()));
        }
        let Kind { kind } = parse(body, serde_json::from_slice)?;
        if !KINDS.contains(&&*kind) {
            return Err(FrameError::UnknownKind(words(&kind)));
        }
        let message: Self = parse(body, serde_json::from_slice)?;
        let listed = message.descriptors();
        if listed != header.descriptors {
            return Err(FrameError::Descriptors { said: header.descriptors, listed });
        }
        Ok(match message {
            Self::Abort { reason } => Self::Abort { reason: words(&reason) },
            Self::Failed { reason } => Self::Failed { reason: words(&reason) },
            message => message,
        })
    }

    /// How many descriptors belong to it.
    pub(super) fn descriptors(&self) -> usize {
        match self {
            Self::Offer { listeners, .. } => listeners.len(),
            Self::Connections { entries } => entries.len(),
            _ => 0,
        }
    }

    /// Its kind, for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Hello {} => "hello",
            Self::Offer { .. } => "offer",
            Self::Ready { .. } => "ready",
            Self::Go {} => "go",
            Self::Serving {} => "serving",
            Self::Connections { .. } => "connections",
            Self::Taken { .. } => "taken",
            Self::Done {} => "done",
            Self::Alone {} => "alone",
            Self::Abort { .. } => "abort",
            Self::Failed { .. } => "failed",
        }
    }
}

/// As [`Message::name`] gives them and serde writes them.
const KINDS: [&str; 11] =
    ["hello", "offer", "ready", "go", "serving", "connections", "taken", "done", "alone", "abort", "failed"];

/// How many of the first of `items` go into one frame; at least one, if there is one.
pub(super) fn page<T: Serialize>(items: &[T]) -> usize {
    let mut room = PAGE;
    let fitting = items.iter().take(MAX_DESCRIPTORS).take_while(|item| {
        // What cannot be written is found when the frame is.
        let size = serde_json::to_vec(item).map_or(0, |bytes| bytes.len() + 1);
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    });
    fitting.count().max(1).min(items.len())
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("it does not begin as a message of a handover does"),
            Self::Version(version) => {
                write!(f, "it is of version {version} of the exchange, and this side speaks {VERSION}")
            }
            Self::TooLong(length) => write!(f, "it has {length} bytes, and {MAX_BODY} is the most"),
            Self::TooManyDescriptors(count) => {
                write!(f, "it comes with {count} descriptors, and {MAX_DESCRIPTORS} is the most")
            }
            Self::UnknownKind(kind) => write!(f, "its kind {kind:?} is not known"),
            Self::Body(what) => write!(f, "its body is wrong: {what}"),
            Self::Descriptors { said, listed } => {
                write!(f, "it comes with {said} descriptors and lists {listed}")
            }
        }
    }
}

fn parse<'a, T>(body: &'a [u8], by: impl FnOnce(&'a [u8]) -> serde_json::Result<T>) -> Result<T, FrameError> {
    by(body).map_err(|error| FrameError::Body(words(&error.to_string())))
}

/// Somebody else's words, so that they can stand in a log: short, and nothing that a terminal obeys.
fn words(text: &str) -> String {
    let letters = text.chars().take(MAX_REASON);
    letters.map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests;
