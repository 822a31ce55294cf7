//! A last word to a client whose request nobody read.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

use std::{
    io::{self, IoSlice, Read, Write},
    mem::MaybeUninit,
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
};

use anteroom_listener::{Listener, PeerState, Stream, discard_now, half_close, write_now};
use anteroom_testkit::{BOUND, connect, eventually, eventually_gives, reset};
use socket2::{Domain, SockRef, Socket, Type};

const REQUEST: usize = 64 * 1024;
const REPLY: usize = 64 * 1024;
const ROUNDS: usize = 20;

/// A client with a small buffer, so that the reply is still on its way when the server is done with it.
fn slow_client(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.connect(&address.into()).unwrap();
    let client = TcpStream::from(socket);
    client.set_read_timeout(Some(BOUND)).unwrap();
    client.set_write_timeout(Some(BOUND)).unwrap();
    client
}

fn accept(listener: &Listener) -> Stream {
    eventually_gives("a connection", BOUND, || listener.accept().ok()).stream
}

fn tcp_pair() -> (TcpStream, Stream) {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let client = connect(listener.local_addr().tcp().unwrap(), 1).remove(0);
    (client, accept(&listener))
}

fn unix_pair() -> (UnixStream, Stream) {
    let (client, server) = UnixStream::pair().unwrap();
    (client, Stream::Unix(server))
}

/// Throws away until the peer's end; gives how much it was.
fn discard_to_the_end(stream: &Stream, most: usize) -> usize {
    let mut total = 0;
    eventually("the end", BOUND, || match discard_now(stream, most) {
        Ok(0) => true,
        Ok(count) => {
            assert!(count <= most);
            total += count;
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
            false
        }
    });
    total
}

/// How many bytes wait, up to ten.
fn bytes_here(stream: &Stream) -> usize {
    SockRef::from(stream).peek(&mut [MaybeUninit::uninit(); 10]).unwrap_or(0)
}

fn would_block(result: &io::Result<usize>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// One client that sends its whole request and reads only after the server's last act; gives what it read, and how that
/// ended. What the server keeps it discards meanwhile.
fn round(listener: &Listener, last_act: impl FnOnce(Stream) -> Option<Stream>) -> (usize, io::Result<()>) {
    let mut client = slow_client(listener.local_addr().tcp().unwrap());
    client.write_all(&[b'q'; REQUEST]).unwrap();
    let stream = accept(listener);
    eventually("the request is here", BOUND, || bytes_here(&stream) > 0);
    let reply = vec![b'r'; REPLY];
    assert_eq!(write_now(&stream, &[IoSlice::new(&reply)]).unwrap(), REPLY, "it fits into the send buffer");
    let kept = last_act(stream);
    std::thread::scope(|scope| {
        let discarding = kept.map(|stream| scope.spawn(move || discard_to_the_end(&stream, usize::MAX)));
        let mut read = Vec::new();
        let end = client.read_to_end(&mut read).map(drop);
        assert!(read.iter().all(|byte| *byte == b'r'));
        // Only now the server sees the client's end.
        drop(client);
        if let Some(discarding) = discarding {
            assert_eq!(discarding.join().unwrap(), REQUEST);
        }
        (read.len(), end)
    })
}

#[test]
fn a_reply_survives_an_unread_request_if_it_is_half_closed_and_discarded() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    for _ in 0..ROUNDS {
        let (read, end) = round(&listener, |stream| {
            half_close(&stream).unwrap();
            Some(stream)
        });
        assert_eq!((read, end.map_err(|error| error.kind())), (REPLY, Ok(())));
    }
}

#[test]
fn a_plain_close_destroys_it() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    for _ in 0..ROUNDS {
        let (read, end) = round(&listener, |stream| {
            drop(stream);
            None
        });
        assert!(read < REPLY, "it was read whole");
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn no_more_is_thrown_away_than_was_asked_for() {
    fn check<C: Write>((mut client, stream): (C, Stream)) {
        assert!(would_block(&discard_now(&stream, 8)), "nothing is there");
        client.write_all(b"0123456789").unwrap();
        eventually("the bytes are here", BOUND, || bytes_here(&stream) == 10);
        assert_eq!(discard_now(&stream, 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(discard_now(&stream, 8).unwrap(), 8);
        let mut rest = [0; 8];
        assert_eq!(anteroom_listener::read_now(&stream, &mut &mut rest[..]).unwrap(), 2);
        assert_eq!(&rest[..2], b"89");
        assert!(would_block(&discard_now(&stream, 8)), "and nothing is there again");
        drop(client);
        assert_eq!(discard_to_the_end(&stream, 8), 0);
    }
    check(tcp_pair());
    check(unix_pair());
}

#[test]
fn much_is_thrown_away_whole_and_then_the_end_is_told() {
    fn check<C: Write>((mut client, stream): (C, Stream)) {
        client.write_all(&[b'q'; 50_000]).unwrap();
        drop(client);
        assert_eq!(discard_to_the_end(&stream, 17_000), 50_000);
        assert_eq!(discard_now(&stream, 1).unwrap(), 0, "the end stays the end");
    }
    check(tcp_pair());
    check(unix_pair());
}

/// Whether the kernel knows the flag for such a socket or not.
#[cfg(all(target_os = "linux", not(anteroom_portable)))]
#[test]
fn bytes_of_a_multipath_client_are_thrown_away_too() {
    let listener = match Listener::builder().mptcp().bind("127.0.0.1:0") {
        Ok(listener) => listener,
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{error}");
            return eprintln!("skipped: {error}");
        }
    };
    let client = Socket::new(Domain::IPV4, Type::STREAM, Some(socket2::Protocol::MPTCP)).unwrap();
    client.connect(&listener.local_addr().tcp().unwrap().into()).unwrap();
    let stream = accept(&listener);
    assert!(would_block(&discard_now(&stream, 8)), "nothing is there");
    (&client).write_all(&[b'q'; 50_000]).unwrap();
    drop(client);
    assert_eq!(discard_to_the_end(&stream, 17_000), 50_000);
}

#[test]
fn a_blocking_socket_is_not_waited_for() {
    let (_client, stream) = tcp_pair();
    SockRef::from(&stream).set_nonblocking(false).unwrap();
    assert!(would_block(&discard_now(&stream, 1)));
    let (_client, stream) = unix_pair();
    assert!(would_block(&discard_now(&stream, 1)));
}

#[test]
fn after_half_closing_the_peer_reads_the_end_and_can_still_send() {
    fn check<C: Read + Write>((mut client, stream): (C, Stream)) {
        half_close(&stream).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        client.write_all(b"still here").unwrap();
        drop(client);
        assert_eq!(discard_to_the_end(&stream, 64), 10);
    }
    check(tcp_pair());
    check(unix_pair());
}

#[test]
fn of_a_peer_that_has_reset_both_are_errors() {
    let (client, stream) = tcp_pair();
    reset(client);
    eventually("the reset is here", BOUND, || stream.peer_state().unwrap() == PeerState::Reset);
    assert_eq!(half_close(&stream).unwrap_err().kind(), io::ErrorKind::NotConnected);
    assert_eq!(discard_now(&stream, 8).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}
