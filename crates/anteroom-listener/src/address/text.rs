//! The text form of an address: read, written, and what is said of one that is not.
//!
//! Owns the syntax. Pure: no name is looked up, no socket is touched.

use std::{
    convert::Infallible,
    ffi::OsString,
    fmt,
    net::{IpAddr, Ipv6Addr},
    os::unix::ffi::{OsStrExt, OsStringExt},
    str::FromStr,
};

use super::{Address, UnixAddress};

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(address) => write!(f, "unix:{address}"),
        }
    }
}

/// The name without the `unix:` in front.
impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => {
                let bytes = path.as_os_str().as_bytes();
                match bytes.strip_prefix(b"@") {
                    // A relative path that would read as an abstract name.
                    Some(rest) => {
                        f.write_str(r"\x40")?;
                        escape(rest, f)
                    }
                    None => escape(bytes, f),
                }
            }
            Self::Abstract(name) => {
                f.write_str("@")?;
                escape(name, f)
            }
            Self::Unnamed => Ok(()),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parsed = match text.strip_prefix("unix:") {
            Some(name) => unix(name).map(Self::Unix),
            None => text.parse().map(Self::Tcp).map_err(|_| why_not_tcp(text)),
        };
        parsed.map_err(|reason| AddressError { text: text.to_owned(), reason })
    }
}

/// A text that is not an address to listen on. `Display` says what is wrong and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    text: String,
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Empty,
    NoPort,
    NoIp,
    BadPort,
    HostName,
    LooksLikePath,
    BadEscape,
    NulInPath,
    Malformed,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            Reason::Empty => "it is empty; write 127.0.0.1:8000, [::1]:8000 or unix:/run/app.sock",
            Reason::NoPort => "it has no port; write 127.0.0.1:8000 or, for IPv6, [::1]:8000",
            Reason::NoIp => {
                "it has a port only; write 0.0.0.0:8000 or [::]:8000 for every address of this host"
            }
            Reason::BadPort => "its port is not a number from 0 to 65535",
            Reason::HostName => "names are not looked up; name an address, 127.0.0.1:8000 or [::1]:8000",
            Reason::LooksLikePath => "it looks like a path; a Unix socket is written unix:/run/app.sock",
            Reason::BadEscape => {
                r"after a backslash it needs another backslash or xNN with two hexadecimal digits"
            }
            Reason::NulInPath => "a path cannot hold a NUL byte",
            Reason::Malformed => "write 127.0.0.1:8000, [::1]:8000 or unix:/run/app.sock",
        };
        write!(f, "{:?} is not an address: {reason}", self.text)
    }
}

impl std::error::Error for AddressError {}

/// So that what converts without fail (a `SocketAddr`) goes where a text goes.
impl From<Infallible> for AddressError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<AddressError> for std::io::Error {
    fn from(error: AddressError) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, error)
    }
}

/// As its text.
#[cfg(feature = "serde")]
impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From its text.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn unix(name: &str) -> Result<UnixAddress, Reason> {
    if name.is_empty() {
        return Ok(UnixAddress::Unnamed);
    }
    if let Some(name) = name.strip_prefix('@') {
        return unescape(name).map(UnixAddress::Abstract);
    }
    let path = unescape(name)?;
    if path.contains(&0) {
        return Err(Reason::NulInPath);
    }
    Ok(UnixAddress::Path(OsString::from_vec(path).into()))
}

fn why_not_tcp(text: &str) -> Reason {
    if text.is_empty() {
        return Reason::Empty;
    }
    if text.starts_with(['/', '.']) {
        return Reason::LooksLikePath;
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<IpAddr>().is_ok() {
        return Reason::NoPort;
    }
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_port(text.strip_prefix(':').unwrap_or(text)) {
        return Reason::NoIp;
    }
    let Some((host, port)) = text.rsplit_once(':') else { return Reason::NoPort };
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_ip = match bracketed {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<IpAddr>().is_ok(),
    };
    if is_ip {
        return Reason::BadPort;
    }
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte));
    if is_name && host.bytes().any(|byte| byte.is_ascii_alphabetic() || byte == b'*') && is_port(port) {
        return Reason::HostName;
    }
    Reason::Malformed
}

fn escape(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' => f.write_str(r"\\")?,
                letter if letter.is_control() => {
                    let mut bytes = [0; 4];
                    for byte in letter.encode_utf8(&mut bytes).bytes() {
                        write!(f, r"\x{byte:02x}")?;
                    }
                }
                letter => fmt::Write::write_char(f, letter)?,
            }
        }
        for byte in chunk.invalid() {
            write!(f, r"\x{byte:02x}")?;
        }
    }
    Ok(())
}

fn unescape(text: &str) -> Result<Vec<u8>, Reason> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'\\') => bytes.push(b'\\'),
            Some(b'x') => {
                let mut digit = || {
                    let digit = char::from(rest.next()?).to_digit(16)?;
                    u8::try_from(digit).ok()
                };
                let (high, low) = digit().zip(digit()).ok_or(Reason::BadEscape)?;
                bytes.push(high * 16 + low);
            }
            _ => return Err(Reason::BadEscape),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use proptest::prelude::*;

    use super::*;

    fn reason(text: &str) -> Reason {
        text.parse::<Address>().unwrap_err().reason
    }

    #[test]
    fn an_address_that_is_not_one_says_why() {
        let table = [
            ("", Reason::Empty),
            ("127.0.0.1", Reason::NoPort),
            ("[::1]", Reason::NoPort),
            ("::1:80", Reason::NoPort),
            ("localhost", Reason::NoPort),
            (":8000", Reason::NoIp),
            ("8000", Reason::NoIp),
            ("127.0.0.1:65536", Reason::BadPort),
            ("127.0.0.1:http", Reason::BadPort),
            ("[::1]:", Reason::BadPort),
            ("localhost:80", Reason::HostName),
            ("*:80", Reason::HostName),
            ("example.org:443", Reason::HostName),
            ("/run/app.sock", Reason::LooksLikePath),
            ("./app.sock", Reason::LooksLikePath),
            ("http://127.0.0.1:80/", Reason::Malformed),
            ("127.0.0.256:80", Reason::Malformed),
            (r"unix:/a\b", Reason::BadEscape),
            (r"unix:@a\xg0", Reason::BadEscape),
            (r"unix:@a\x0", Reason::BadEscape),
            ("unix:/a\0b", Reason::NulInPath),
        ];
        for (text, expected) in table {
            assert_eq!(reason(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_host_name_is_told_to_be_an_address() {
        let error = "localhost:80".parse::<Address>().unwrap_err().to_string();
        assert!(error.contains("\"localhost:80\"") && error.contains("name an address"), "{error}");
    }

    #[test]
    fn a_name_is_read_by_its_prefix() {
        let unix = |text: &str| match text.parse::<Address>() {
            Ok(Address::Unix(address)) => address,
            other => panic!("{other:?}"),
        };
        assert_eq!(unix("unix:/run/x.sock"), UnixAddress::Path("/run/x.sock".into()));
        assert_eq!(unix("unix:@x"), UnixAddress::Abstract(b"x".to_vec()));
        assert_eq!(unix("unix:"), UnixAddress::Unnamed);
        assert_eq!(unix(r"unix:\x40x"), UnixAddress::Path("@x".into()));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn serde_goes_through_the_text() {
        let address: Address = serde_json::from_str("\"unix:@x\"").unwrap();
        assert_eq!(serde_json::to_string(&address).unwrap(), "\"unix:@x\"");
        let error = serde_json::from_str::<Address>("\"localhost:80\"").unwrap_err();
        assert!(error.to_string().contains("name an address"), "{error}");
    }

    proptest! {
        #[test]
        fn tcp_addresses_round_trip(ip: IpAddr, port: u16) {
            let address = Address::from((ip, port));
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn scoped_addresses_round_trip(ip: Ipv6Addr, port: u16, scope: u32) {
            let address = Address::from(SocketAddrV6::new(ip, port, 0, scope));
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn unix_names_round_trip_whatever_their_bytes(name: Vec<u8>) {
            let address = Address::Unix(UnixAddress::Abstract(name));
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn unix_paths_round_trip_whatever_their_bytes(path in prop::collection::vec(1u8.., 1..60)) {
            let address = Address::Unix(UnixAddress::Path(OsString::from_vec(path).into()));
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn no_text_panics_and_what_is_read_is_written_back_the_same(text: String) {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}
