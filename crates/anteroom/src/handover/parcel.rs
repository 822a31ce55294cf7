//! A connection on its way: what a message says of it, and the descriptor that goes along.
//!
//! Owns the two forms and the checks on what comes. Never reads or writes the connection's bytes.

use std::{
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use anteroom_listener::{PeerAddr, Stream};
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::{Exported, message::Entry};

/// The oldest that a connection can be said to be: a lie may not carry a server's reckoning past the beginning of its
/// clock.
const OLDEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How a peer without an address is written.
const UNIX: &str = "unix";

impl Entry {
    pub(super) fn of(connection: &Exported) -> Self {
        Self {
            listener: connection.listener.clone(),
            peer: match connection.peer.tcp() {
                Some(address) => address.to_string(),
                None => UNIX.to_owned(),
            },
            kernel_wait_us: connection.kernel_wait.map(micros),
            since_handshake_us: micros(connection.since_handshake),
            accepted_ago_us: micros(connection.accepted_ago),
        }
    }

    /// The connection again; `Err`: why it is none.
    pub(super) fn revive(self, descriptor: OwnedFd) -> Result<Exported, String> {
        let peer = match self.peer.as_str() {
            UNIX => PeerAddr::Unix,
            text => PeerAddr::Tcp(text.parse::<SocketAddr>().map_err(|_| "it has no address of a peer")?),
        };
        let stream = stream(descriptor, peer)?;
        Ok(Exported {
            listener: self.listener,
            stream,
            peer,
            kernel_wait: self.kernel_wait_us.map(duration),
            since_handshake: duration(self.since_handshake_us),
            accepted_ago: duration(self.accepted_ago_us),
        })
    }
}

fn stream(descriptor: OwnedFd, peer: PeerAddr) -> Result<Stream, String> {
    let socket = descriptor.as_fd();
    let not_a_socket = |_| "its descriptor is no socket".to_owned();
    if sockopt::socket_type(socket).map_err(not_a_socket)? != SocketType::STREAM {
        return Err("its socket is no stream".into());
    }
    if sockopt::socket_acceptconn(socket).map_err(not_a_socket)? {
        return Err("its socket is a listener".into());
    }
    let family = sockopt::socket_domain(socket).map_err(not_a_socket)?;
    // A task that finds nothing to read would block its worker.
    rustix::io::ioctl_fionbio(socket, true).map_err(|_| "its socket cannot be made non-blocking")?;
    match peer {
        PeerAddr::Tcp(_) if matches!(family, AddressFamily::INET | AddressFamily::INET6) => {
            Ok(Stream::Tcp(descriptor.into()))
        }
        PeerAddr::Unix if family == AddressFamily::UNIX => Ok(Stream::Unix(descriptor.into())),
        _ => Err("its socket is of another family than its peer".into()),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn duration(micros: u64) -> Duration {
    Duration::from_micros(micros).min(OLDEST)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, UdpSocket},
        os::unix::net::UnixStream,
    };

    use super::*;

    fn entry(peer: &str) -> Entry {
        Entry {
            listener: "public".into(),
            peer: peer.into(),
            kernel_wait_us: Some(u64::MAX),
            since_handshake_us: u64::MAX,
            accepted_ago_us: 7,
        }
    }

    #[test]
    fn a_connection_comes_out_as_it_went_in() {
        let (one, _other) = UnixStream::pair().unwrap();
        let connection = Exported {
            listener: "admin".into(),
            stream: Stream::Unix(one),
            peer: PeerAddr::Unix,
            kernel_wait: None,
            since_handshake: Duration::from_millis(1500),
            accepted_ago: Duration::from_micros(3),
        };
        let entry = Entry::of(&connection);
        let revived = entry.clone().revive(connection.stream.into()).unwrap();
        assert_eq!(Entry::of(&revived), entry);
        assert_eq!(revived.since_handshake, Duration::from_millis(1500));
    }

    #[test]
    fn what_is_no_connection_is_refused() {
        let unix = || OwnedFd::from(UnixStream::pair().unwrap().0);
        let udp = OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
        let listener = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let table = [
            ("127.0.0.1:1", unix(), "another family"),
            ("127.0.0.1:1", udp, "no stream"),
            ("127.0.0.1:1", listener, "a listener"),
            ("unix", file, "no socket"),
            ("nobody", unix(), "no address"),
            ("", unix(), "no address"),
        ];
        for (peer, descriptor, expected) in table {
            let why = entry(peer).revive(descriptor).unwrap_err();
            assert!(why.contains(expected), "{peer}: {why}");
        }
    }

    #[test]
    fn no_age_is_beyond_reckoning() {
        let (one, _other) = UnixStream::pair().unwrap();
        let revived = entry("unix").revive(one.into()).unwrap();
        assert_eq!(revived.since_handshake, OLDEST);
        assert_eq!(revived.kernel_wait, Some(OLDEST));
    }
}
