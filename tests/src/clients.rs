//! Clients: blocking sockets of one type for TCP and Unix, and the ways in which they leave.
//!
//! Owns nothing but the bound on every wait.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use anteroom::Address;
use socket2::{Domain, SockAddr, Socket, Type};

/// The longest that a client waits for anything: more than a busy machine needs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A client whose handshake is done.
///
/// # Panics
/// When nobody listens, or after [`PATIENCE`].
#[must_use]
pub fn connect(to: &Address) -> Socket {
    try_connect(to).unwrap_or_else(|error| panic!("connecting to {to}: {error}"))
}

/// A client that may be refused before it has seen that its handshake is done.
///
/// # Errors
/// Those of connect(2): `ConnectionReset` when the server reset the connection meanwhile.
///
/// # Panics
/// When there is no way to connect to the address.
pub fn try_connect(to: &Address) -> io::Result<Socket> {
    let (domain, name) = match (to.tcp(), to.path()) {
        (Some(address), _) => (Domain::for_address(address), SockAddr::from(address)),
        (None, Some(path)) => (Domain::UNIX, SockAddr::unix(path).expect("a short path")),
        (None, None) => panic!("no way to connect to {to}"),
    };
    let client = Socket::new(domain, Type::STREAM, None).expect("a socket");
    client.set_write_timeout(Some(PATIENCE)).expect("SO_SNDTIMEO");
    client.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
    // SO_SNDTIMEO bounds connect(2) too.
    client.connect(&name)?;
    Ok(client)
}

/// Comes, says nothing, and has to be turned away with a reset.
///
/// # Panics
/// When it is not.
pub fn is_turned_away(by: &Address) {
    let error = try_connect(by).and_then(|client| read_to_end(&client)).expect_err("it is turned away");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

/// The client's own address, as the server sees it.
#[must_use]
pub fn name_of(client: &Socket) -> String {
    let name = client.local_addr().expect("its address");
    name.as_socket().map_or_else(|| "unix".to_owned(), |address| address.to_string())
}

/// Sends a line.
pub fn send(mut client: &Socket, line: &str) {
    client.write_all(format!("{line}\n").as_bytes()).expect("the line is sent");
}

/// Sends no more, and reads on.
pub fn half_close(client: &Socket) {
    client.shutdown(Shutdown::Write).expect("the client half-closes");
}

/// Leaves with a reset.
pub fn reset(client: Socket) {
    client.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    drop(client);
}

/// The next line, without its end; empty at the server's end.
///
/// # Errors
/// A reset, or nothing within [`PATIENCE`].
pub fn next_line(client: &Socket) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line)?;
    line.truncate(line.trim_end().len());
    Ok(line)
}

/// All that comes until the server's end.
///
/// # Errors
/// A reset, or no end within [`PATIENCE`].
pub fn read_to_end(mut client: &Socket) -> io::Result<String> {
    let mut text = String::new();
    client.read_to_string(&mut text)?;
    Ok(text)
}

/// Sends a line and gives its answer.
///
/// # Errors
/// As [`next_line`].
pub fn ask(client: &Socket, line: &str) -> io::Result<String> {
    send(client, line);
    next_line(client)
}
