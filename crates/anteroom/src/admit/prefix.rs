//! Blocks of IP addresses: written as text, matched by the longest.
//!
//! Owns the one form in which addresses are compared: IPv4 is its mapped IPv6 form, so that a client
//! of a dual-stack listener is who it is. Never decides what a match means.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A block of IP addresses, such as `10.0.0.0/8`, `2001:db8::/32`, or one address alone.
///
/// An IPv4 block is the same as its mapped IPv6 form: `10.0.0.0/8` holds `::ffff:10.1.2.3` too.
///
/// # Examples
/// ```
/// use anteroom::Prefix;
///
/// let block: Prefix = "10.0.0.0/8".parse()?;
/// assert!(block.contains("10.1.2.3".parse().unwrap()));
/// assert!(block.contains("::ffff:10.1.2.3".parse().unwrap()));
/// assert_eq!(block.to_string(), "10.0.0.0/8");
/// # Ok::<(), anteroom::PrefixError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    bits: u128,
    /// Of the IPv6 form: 96 more than is written for IPv4.
    len: u8,
}

/// The bits by which an IPv4 length is longer in the mapped form.
const MAPPED: u8 = 96;

impl Prefix {
    /// The block of `len` leading bits that `address` is in.
    ///
    /// # Errors
    /// `len` is longer than the address.
    pub fn of(address: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let (longest, before) = match address {
            IpAddr::V4(_) => (32, MAPPED),
            IpAddr::V6(_) => (128, 0),
        };
        if len > longest {
            return Err(PrefixError::new(
                format!("{address}/{len}"),
                format!("the length is at most {longest}"),
            ));
        }
        Ok(Self::cut(address, before + len))
    }

    /// Whether the address is in the block.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        mask(bits(address), self.len) == self.bits
    }

    /// `len` counts in the mapped form.
    fn cut(address: IpAddr, len: u8) -> Self {
        Self { bits: mask(bits(address), len), len }
    }
}

/// The address in the form in which all are compared.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
    .to_bits()
}

fn mask(bits: u128, len: u8) -> u128 {
    let beyond = 128_u32.saturating_sub(u32::from(len));
    bits & u128::MAX.checked_shl(beyond).unwrap_or(0)
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        Self::cut(address, 128)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let wrong = |problem: &str| PrefixError::new(text.to_owned(), problem.to_owned());
        let (address, len) = text.split_once('/').map_or((text, None), |(address, len)| (address, Some(len)));
        let address: IpAddr = address.parse().map_err(|_| wrong("write an address, or address/length"))?;
        let Some(len) = len else { return Ok(address.into()) };
        let len = len.parse().map_err(|_| wrong("the length is a number of bits"))?;
        let prefix = Self::of(address, len)?;
        if prefix.bits != bits(address) {
            return Err(wrong(&format!("it has bits beyond its length; write {prefix}")));
        }
        Ok(prefix)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from_bits(self.bits);
        match (address.to_ipv4_mapped(), self.len.checked_sub(MAPPED)) {
            (Some(v4), Some(32)) => write!(f, "{v4}"),
            (Some(v4), Some(len)) => write!(f, "{v4}/{len}"),
            _ if self.len == 128 => write!(f, "{address}"),
            _ => write!(f, "{address}/{}", self.len),
        }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no block of addresses, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixError {
    text: String,
    problem: String,
}

impl PrefixError {
    fn new(text: String, problem: String) -> Self {
        Self { text, problem }
    }
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, problem } = self;
        write!(f, "`{text}` is no block of addresses: {problem}")
    }
}

impl std::error::Error for PrefixError {}

/// Values of blocks, found by an address that is in them.
#[derive(Clone, Debug)]
pub(crate) struct Prefixes<V> {
    values: HashMap<Prefix, V>,
    /// The lengths that occur, longest first: a look-up costs one step each.
    lens: Vec<u8>,
}

impl<V: Copy> Prefixes<V> {
    pub(crate) fn new(entries: impl IntoIterator<Item = (Prefix, V)>) -> Self {
        let values: HashMap<_, _> = entries.into_iter().collect();
        let mut lens: Vec<_> = values.keys().map(|prefix| prefix.len).collect();
        lens.sort_unstable_by(|a, b| b.cmp(a));
        lens.dedup();
        Self { values, lens }
    }

    /// The value of the longest block that holds `address`.
    pub(crate) fn longest(&self, address: IpAddr) -> Option<V> {
        self.lens.iter().find_map(|&len| self.values.get(&Prefix::cut(address, len))).copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lens.is_empty()
    }
}

/// How much of an address tells one source from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grain {
    pub(crate) v4: u8,
    pub(crate) v6: u8,
}

/// Names a source: addresses that count as one. Two halves, because a `u128` would want an alignment
/// that costs the table a fifth of its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SourceKey(u64, u64);

impl Grain {
    /// The key of the source that an address belongs to.
    pub(crate) fn key(self, address: IpAddr) -> SourceKey {
        match address {
            IpAddr::V4(v4) => self.v4_key(v4),
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or_else(|| self.v6_key(v6), |v4| self.v4_key(v4)),
        }
    }

    /// The two halves of the masked mapped address.
    fn v4_key(self, address: Ipv4Addr) -> SourceKey {
        let beyond = 32_u32.saturating_sub(u32::from(self.v4));
        let bits = address.to_bits() & u32::MAX.checked_shl(beyond).unwrap_or(0);
        SourceKey(0, 0xffff_0000_0000 | u64::from(bits))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a u128")]
    fn v6_key(self, address: Ipv6Addr) -> SourceKey {
        let bits = mask(address.to_bits(), self.v6);
        SourceKey((bits >> 64) as u64, bits as u64)
    }
}

#[cfg(feature = "serde")]
mod text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::Prefix;

    impl Serialize for Prefix {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for Prefix {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            String::deserialize(from)?.parse().map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_block_is_read_and_written_as_people_write_it() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "192.0.2.1", "2001:db8::/32", "::1", "::/0"] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
        assert_eq!("::ffff:10.0.0.0/104".parse::<Prefix>().unwrap(), "10.0.0.0/8".parse().unwrap());
    }

    #[test]
    fn what_is_no_block_is_refused_with_what_to_write() {
        let problem = |text: &str| text.parse::<Prefix>().unwrap_err().to_string();
        assert!(problem("10.0.0.1/8").contains("write 10.0.0.0/8"), "{}", problem("10.0.0.1/8"));
        assert!(problem("10.0.0.0/33").contains("at most 32"));
        assert!(problem("::/129").contains("at most 128"));
        assert!(problem("ten").contains("address/length"));
        assert!(problem("::/x").contains("number of bits"));
    }

    #[test]
    fn the_longest_block_that_holds_an_address_is_the_one_that_counts() {
        let of = |text: &str| text.parse().unwrap();
        let blocks = Prefixes::new([(of("10.0.0.0/8"), 8), (of("10.1.0.0/16"), 16), (of("::/0"), 0)]);
        assert_eq!(blocks.longest(ip("10.1.2.3")), Some(16));
        assert_eq!(blocks.longest(ip("::ffff:10.2.2.3")), Some(8));
        assert_eq!(blocks.longest(ip("192.0.2.1")), Some(0));
        assert_eq!(Prefixes::new([(of("0.0.0.0/0"), ())]).longest(ip("2001:db8::1")), None);
    }

    #[test]
    fn addresses_of_one_grain_are_one_source_and_a_mapped_address_is_its_ipv4_self() {
        let grain = Grain { v4: 32, v6: 64 };
        let key = |text: &str| grain.key(ip(text));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1:2:3"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(
            Grain { v4: 24, v6: 64 }.key(ip("192.0.2.1")),
            Grain { v4: 24, v6: 64 }.key(ip("192.0.2.9"))
        );
    }
}
