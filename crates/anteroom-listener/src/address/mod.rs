//! Where to listen: a TCP address or a Unix socket, as text and as value.
//!
//! Owns the two forms and what converts into them. Never looks up a name and never touches a socket, except to read
//! the address that the kernel gives for one.

mod text;

use std::{
    ffi::{OsStr, OsString},
    net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

pub use text::AddressError;

/// Where a listener listens.
///
/// | text | meaning |
/// |---|---|
/// | `127.0.0.1:8000`, `0.0.0.0:0` | TCP, IPv4; port 0 lets the kernel choose |
/// | `[::1]:8000`, `[fe80::1%2]:80` | TCP, IPv6, with a numeric scope where it needs one |
/// | `unix:/run/app.sock` | Unix stream socket with a file |
/// | `unix:@app` | Unix stream socket in Linux's abstract namespace |
/// | `unix:` | a Unix socket without a name; it cannot be bound |
///
/// `Display` gives the same text back. Bytes of a Unix name that are not printable text are written `\xNN`, a backslash
/// `\\`. (The flow label of an IPv6 address has no text form and is lost.)
///
/// Host names are refused: a listener must not depend on a name server, and one name can be several addresses.
///
/// # Examples
///
/// ```
/// use anteroom_listener::Address;
///
/// let address: Address = "[::]:8000".parse()?;
/// assert!(address.is_wildcard());
/// assert_eq!(address.to_string(), "[::]:8000");
/// assert!("localhost:80".parse::<Address>().is_err());
/// # Ok::<(), anteroom_listener::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A Unix stream socket.
    Unix(UnixAddress),
}

/// The name of a Unix socket (unix(7)).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnixAddress {
    /// A file in the file system.
    Path(PathBuf),
    /// A name in Linux's abstract namespace, without the leading NUL byte; any bytes.
    Abstract(Vec<u8>),
    /// No name: what an adopted socket that was never bound shows.
    Unnamed,
}

impl Address {
    /// The TCP address, if it is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether it means every address of this host: `0.0.0.0`, `::` or `::ffff:0.0.0.0`. TCP only.
    pub fn is_wildcard(&self) -> bool {
        self.tcp().is_some_and(|address| address.ip().to_canonical().is_unspecified())
    }

    /// The socket's file, if it has one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(UnixAddress::Path(path)) => Some(path),
            _ => None,
        }
    }

    /// Reads the address that the kernel gave; `None` for a family that is neither TCP's nor Unix.
    pub(crate) fn of_kernel(address: &socket2::SockAddr) -> Option<Self> {
        if let Some(tcp) = address.as_socket() {
            return Some(Self::Tcp(tcp));
        }
        if !address.is_unix() {
            return None;
        }
        if let Some(path) = address.as_pathname() {
            return Some(Self::Unix(UnixAddress::Path(path.to_owned())));
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(name) = address.as_abstract_namespace() {
            return Some(Self::Unix(UnixAddress::Abstract(name.to_owned())));
        }
        Some(Self::Unix(UnixAddress::Unnamed))
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<SocketAddrV4> for Address {
    fn from(address: SocketAddrV4) -> Self {
        Self::Tcp(address.into())
    }
}

impl From<SocketAddrV6> for Address {
    fn from(address: SocketAddrV6) -> Self {
        Self::Tcp(address.into())
    }
}

impl From<(IpAddr, u16)> for Address {
    fn from(address: (IpAddr, u16)) -> Self {
        Self::Tcp(address.into())
    }
}

impl From<UnixAddress> for Address {
    fn from(address: UnixAddress) -> Self {
        Self::Unix(address)
    }
}

impl From<&Address> for Address {
    fn from(address: &Address) -> Self {
        address.clone()
    }
}

impl TryFrom<&str> for Address {
    type Error = AddressError;

    fn try_from(text: &str) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl TryFrom<&String> for Address {
    type Error = AddressError;

    fn try_from(text: &String) -> Result<Self, AddressError> {
        text.parse()
    }
}

/// The path that names this socket for socket2: an abstract name has a NUL byte in front.
pub(crate) fn kernel_name(address: &UnixAddress) -> Option<OsString> {
    match address {
        UnixAddress::Path(path) if path.as_os_str().is_empty() => None,
        UnixAddress::Path(path) => Some(path.as_os_str().to_owned()),
        UnixAddress::Abstract(name) => Some(OsStr::from_bytes(&[b"\0", name.as_slice()].concat()).to_owned()),
        UnixAddress::Unnamed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_unspecified_address_is_a_wildcard() {
        for text in ["0.0.0.0:1", "[::]:1", "[::ffff:0.0.0.0]:1"] {
            assert!(text.parse::<Address>().unwrap().is_wildcard(), "{text}");
        }
        for text in ["127.0.0.1:1", "[::1]:1", "unix:/x", "unix:"] {
            assert!(!text.parse::<Address>().unwrap().is_wildcard(), "{text}");
        }
    }

    #[test]
    fn every_kind_of_value_becomes_an_address() {
        let tcp: SocketAddr = "127.0.0.1:80".parse().unwrap();
        assert_eq!(Address::from(tcp), Address::from((tcp.ip(), tcp.port())));
        assert_eq!(Address::try_from(String::from("127.0.0.1:80")), Ok(tcp.into()));
        assert_eq!(Address::try_from(&String::from("127.0.0.1:80")), Ok(tcp.into()));
        assert_eq!(Address::try_from("127.0.0.1:80"), Ok(tcp.into()));
        assert_eq!(Address::from(tcp).tcp(), Some(tcp));
        assert_eq!(Address::from(UnixAddress::Path("/x".into())).path(), Some(Path::new("/x")));
    }
}
