//! A client that stays: it blocks its thread until it is connected, and may say where it comes from.
//!
//! Owns: connect with a source address and a bound.
//! Never: many at once; for that there are the loops and the crowd.

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

/// Connects from `source`. Connecting, and each read and write after it, takes `bound` at most.
///
/// # Errors
///
/// What the kernel says; `WouldBlock` or `TimedOut` when the bound is over.
pub fn connect_from(source: IpAddr, target: SocketAddr, bound: Duration) -> io::Result<TcpStream> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The kernel bounds a blocking connect by the send timeout (socket(7)).
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(bound))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(bound))?;
    rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
    rustix::net::connect(&socket, &target)?;
    Ok(TcpStream::from(socket))
}

/// Connects, sends `request`, and waits for the first byte of the answer.
///
/// # Errors
///
/// As [`connect_from`], and `UnexpectedEof` when the server closes without an answer.
pub fn ask(source: IpAddr, target: SocketAddr, request: &[u8], bound: Duration) -> io::Result<()> {
    let mut stream = connect_from(source, target, bound)?;
    stream.write_all(request)?;
    stream.read_exact(&mut [0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_server_sees_the_source_and_the_client_the_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let source: IpAddr = "127.0.9.4".parse().unwrap();
        let asking = std::thread::spawn(move || ask(source, target, b"x", Duration::from_secs(20)));
        let (mut stream, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), source);
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(b"y").unwrap();
        asking.join().unwrap().unwrap();
    }

    #[test]
    fn a_server_that_says_nothing_ends_the_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let source = "127.0.0.1".parse().unwrap();
        let asked = ask(source, listener.local_addr().unwrap(), b"x", Duration::from_millis(20));
        assert_eq!(asked.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
