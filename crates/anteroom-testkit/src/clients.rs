//! Clients, one or many.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use socket2::{Domain, Socket, Type};

/// So many connected clients, one after the other.
pub fn connect(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(address).expect("a client connects")).collect()
}

/// So many connected clients of a Unix socket, one after the other.
pub fn connect_unix(path: &Path, count: usize) -> Vec<UnixStream> {
    (0..count).map(|_| UnixStream::connect(path).expect("a client connects")).collect()
}

/// A client that has sent its first SYN and does not wait for the answer; it is non-blocking.
pub fn start_connecting(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.set_nonblocking(true).expect("non-blocking");
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_in_progress(&error) => {}
        Err(error) => panic!("connecting to {address}: {error}"),
    }
    socket
}

/// Whether the handshake of such a client is done.
pub fn has_connected(client: &Socket) -> bool {
    client.peer_addr().is_ok()
}

/// Ends a connection with a reset.
pub fn reset(client: impl Into<Socket>) {
    let client = client.into();
    client.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
}

fn is_in_progress(error: &io::Error) -> bool {
    // EINPROGRESS on Linux and on the BSDs; without libc here.
    matches!(error.raw_os_error(), Some(115 | 36))
}
