//! What the refused see.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a refused client sees.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Refusal {
    /// A reset (RST): cheap, and unambiguous. On Unix sockets a close. The default.
    Reset,
    /// A close: FIN, or RST where the client had sent something (`tcp(7)`).
    Close,
    /// These bytes, then a close that does not destroy them: what the client has sent and nobody read
    /// is read away first, within the bounds of [`Farewell`]. Who is refused because nobody is there
    /// to read it ([`ProbablyLeft`](crate::Cause::ProbablyLeft)), because it said nothing
    /// ([`Silent`](crate::Cause::Silent)) or because it is not welcome
    /// ([`Denied`](crate::Cause::Denied)) sees a reset, and so does who comes when the farewell is full.
    Reply(Reply),
}

/// The bytes of [`Refusal::Reply`]; at most 8 KiB, so that they fit into the buffer of a new socket.
///
/// # Examples
/// ```
/// let busy = anteroom::Reply::new("BUSY come back later\r\n");
/// assert_eq!(busy.as_bytes().len(), 22);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Reply(Arc<[u8]>);

impl Reply {
    /// The longest reply.
    pub(crate) const LONGEST: usize = 8 * 1024;

    /// A reply of these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into().into())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({:?})", String::from_utf8_lossy(&self.0))
    }
}

/// The bounds of the stage in which refused clients read their [`Reply`]: it costs a descriptor and
/// some system calls each, on the acceptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Farewell {
    /// Connections in it at the same time (default 256), and at most a quarter of the descriptors that
    /// there are. Who comes beyond that is reset.
    pub max: usize,
    /// Bytes that are read away from each before it is closed all the same (default 256 KiB).
    pub bytes: usize,
    /// How long each may take to close its side (default 1 s).
    #[cfg_attr(feature = "serde", serde(with = "super::duration"))]
    pub within: Duration,
}

impl Default for Farewell {
    fn default() -> Self {
        Self { max: 256, bytes: 256 * 1024, within: Duration::from_secs(1) }
    }
}

#[cfg(feature = "serde")]
mod text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error};

    use super::Reply;

    impl Serialize for Reply {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.serialize_str(std::str::from_utf8(self.as_bytes()).map_err(S::Error::custom)?)
        }
    }

    impl<'de> Deserialize<'de> for Reply {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            String::deserialize(from).map(Self::new)
        }
    }
}
