//! The service manager's socket.
//!
//! Owns one datagram socket, from the start on. Never waits for longer than a second, and never decides
//! what is told.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write as _};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sd_notify::NotifyState;

/// A manager that does not read in this time is told later.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the manager listens, and the socket to reach it by.
#[derive(Debug)]
pub(super) struct Manager {
    name: OsString,
    address: SocketAddr,
    socket: UnixDatagram,
}

impl Manager {
    /// The manager that `NOTIFY_SOCKET` names. `None` when it names none.
    ///
    /// # Errors
    /// It names something that is no address, or that cannot be reached.
    pub(super) fn of_process() -> io::Result<Option<Self>> {
        match std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) {
            None => Ok(None),
            Some(name) => Self::at(name).map(Some),
        }
    }

    pub(super) fn at(name: OsString) -> io::Result<Self> {
        let reach = || {
            let address = address(&name)?;
            let socket = UnixDatagram::unbound()?;
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.connect_addr(&address)?;
            Ok((address, socket))
        };
        match reach() {
            Ok((address, socket)) => Ok(Self { name, address, socket }),
            Err(source) => Err(unreachable(name, source)),
        }
    }

    /// Tells it these words in one message, in which a descriptor may go along.
    ///
    /// # Errors
    /// It cannot be reached, or did not read in time: nothing has been told.
    pub(super) fn tell(&self, words: &[NotifyState<'_>], along: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let mut text = String::new();
        for word in words {
            let _a_string_takes_everything = writeln!(text, "{word}");
        }
        let told = || {
            // Each time: a manager that has replaced its socket is found again.
            self.socket.connect_addr(&self.address)?;
            match along {
                None => self.socket.send(text.as_bytes()),
                Some(descriptor) => self.send_along(text.as_bytes(), descriptor),
            }
        };
        told().map(drop).map_err(|source| unreachable(self.name.clone(), source))
    }

    fn send_along(&self, text: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut along = SendAncillaryBuffer::new(&mut space);
        let descriptor = [descriptor];
        if !along.push(SendAncillaryMessage::ScmRights(&descriptor)) {
            return Err(io::Error::other("no room for a descriptor"));
        }
        Ok(sendmsg(&self.socket, &[IoSlice::new(text)], &mut along, SendFlags::NOSIGNAL)?)
    }
}

/// A path, or `@` and an abstract name (sd_notify(3)).
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(Path::new(name)),
        [b'@', rest @ ..] => abstract_address(rest),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract name")),
    }
}

#[cfg(any(target_os = "android", target_os = "linux"))]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;

    SocketAddr::from_abstract_name(name)
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

fn unreachable(name: OsString, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), Unreachable { name, source })
}

/// The manager could not be told.
#[derive(Debug)]
struct Unreachable {
    name: OsString,
    source: io::Error,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot reach the service manager at NOTIFY_SOCKET={}", Path::new(&self.name).display())
    }
}

impl Error for Unreachable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_be_reached_is_named_with_the_reason() {
        for (name, kind) in [
            ("/nowhere/at/all", io::ErrorKind::NotFound),
            ("@anteroom-nobody-is-here", io::ErrorKind::ConnectionRefused),
            ("vsock:2:1234", io::ErrorKind::InvalidInput),
        ] {
            let error = Manager::at(name.into()).unwrap_err();
            assert_eq!(error.kind(), kind, "{name}");
            assert!(error.to_string().ends_with(&format!("NOTIFY_SOCKET={name}")), "{error}");
            assert!(error.get_ref().and_then(Error::source).is_some(), "{name}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_message_arrives_whole_under_an_abstract_name() {
        let name = format!("@anteroom-manager-{}", std::process::id());
        let receiver = UnixDatagram::bind_addr(&address(OsStr::new(&name)).unwrap()).unwrap();
        let manager = Manager::at(name.into()).unwrap();
        manager.tell(&[NotifyState::Ready, NotifyState::Status("well")], None).unwrap();
        let mut message = [0; 64];
        let length = receiver.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1\nSTATUS=well\n");
        drop(receiver);
        assert_eq!(
            manager.tell(&[NotifyState::Watchdog], None).unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
    }
}
