//! What is known of a client that left while it waited in the accept queue.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

use std::{
    io::{self, Read, Write},
    mem::MaybeUninit,
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
};

use anteroom_listener::{Accepted, Batch, Listener, PeerAddr, PeerState, Stream, Unread};
use anteroom_testkit::{BOUND, Scratch, connect, eventually, eventually_gives, reset};
use socket2::SockRef;

/// The ways to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Stay,
    StayAndSend,
    Close,
    SendAndClose,
    HalfClose,
    SendAndHalfClose,
    Reset,
    SendAndReset,
}

use Way::*;

const ALL: [Way; 8] =
    [Stay, StayAndSend, Close, SendAndClose, HalfClose, SendAndHalfClose, Reset, SendAndReset];

impl Way {
    fn sends(self) -> bool {
        matches!(self, StayAndSend | SendAndClose | SendAndHalfClose | SendAndReset)
    }
}

/// Does it; gives the client back if it still holds its end.
fn leave(mut client: TcpStream, way: Way) -> Option<TcpStream> {
    if way.sends() {
        client.write_all(b"request").unwrap();
    }
    match way {
        Stay | StayAndSend => Some(client),
        HalfClose | SendAndHalfClose => {
            client.shutdown(Shutdown::Write).unwrap();
            Some(client)
        }
        Close | SendAndClose => None,
        Reset | SendAndReset => {
            reset(client);
            None
        }
    }
}

fn leave_unix(mut client: UnixStream, way: Way) -> Option<UnixStream> {
    if way.sends() {
        client.write_all(b"request").unwrap();
    }
    match way {
        Close | SendAndClose | Reset | SendAndReset => None,
        HalfClose | SendAndHalfClose => {
            client.shutdown(Shutdown::Write).unwrap();
            Some(client)
        }
        Stay | StayAndSend => Some(client),
    }
}

/// What the crate promises for TCP.
fn expected(way: Way) -> PeerState {
    match way {
        Stay | StayAndSend => PeerState::Open,
        Close | HalfClose => PeerState::HalfClosed(Unread::Nothing),
        // Behind unread bytes poll(2) alone shows no hang-up.
        SendAndClose | SendAndHalfClose if cfg!(anteroom_portable) => PeerState::Open,
        SendAndClose | SendAndHalfClose => PeerState::HalfClosed(Unread::Bytes),
        Reset | SendAndReset => PeerState::Reset,
    }
}

/// Whether bytes wait to be read. On Linux a reset leaves what came before it to be read.
fn expected_unread(way: Way) -> Unread {
    if way.sends() { Unread::Bytes } else { Unread::Nothing }
}

/// What it promises for Unix sockets, where a full close is known.
fn expected_of_unix(way: Way) -> PeerState {
    match way {
        Close | Reset if !cfg!(anteroom_portable) => PeerState::Closed(Unread::Nothing),
        SendAndClose | SendAndReset if !cfg!(anteroom_portable) => PeerState::Closed(Unread::Bytes),
        // A hang-up is shown, but not of which kind.
        SendAndClose | SendAndReset => PeerState::HalfClosed(Unread::Bytes),
        Close | Reset => PeerState::HalfClosed(Unread::Nothing),
        way => expected(way),
    }
}

fn tcp(listener: &Listener) -> SocketAddr {
    listener.local_addr().tcp().unwrap()
}

/// Takes the next connection as soon as the kernel has it in the queue.
fn accept(listener: &Listener) -> Accepted {
    eventually_gives("a connection", BOUND, || listener.accept().ok())
}

fn has_bytes(stream: &Stream) -> bool {
    SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]).is_ok_and(|count| count > 0)
}

/// A client that left in this way while it was queued, accepted after that is known to the kernel.
fn accept_after(listener: &Listener, way: Way) -> (Accepted, SocketAddr, Option<TcpStream>) {
    let client = TcpStream::connect(tcp(listener)).unwrap();
    let address = client.local_addr().unwrap();
    let kept = leave(client, way);
    let accepted = accept(listener);
    eventually("the kernel knows how the client left", BOUND, || {
        accepted.stream.peer_state().unwrap() == expected(way)
    });
    (accepted, address, kept)
}

#[test]
fn a_client_that_left_keeps_its_place_and_is_accepted_without_an_error() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let mut addresses = Vec::new();
    let mut kept = Vec::new();
    for way in ALL {
        let client = TcpStream::connect(tcp(&listener)).unwrap();
        addresses.push(client.local_addr().unwrap());
        kept.push(leave(client, way));
    }
    #[cfg(not(anteroom_portable))]
    eventually("they are all in the queue", BOUND, || {
        listener.depth() == Some(u32::try_from(ALL.len()).unwrap())
    });
    for address in addresses {
        // In the order in which they came, with the address that each had.
        assert_eq!(accept(&listener).peer, PeerAddr::Tcp(address));
    }
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn every_way_to_leave_is_told_on_ipv4_and_on_ipv6() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let listener = Listener::bind(bind).unwrap();
        for way in ALL {
            let (accepted, address, _kept) = accept_after(&listener, way);
            assert_eq!(accepted.peer, PeerAddr::Tcp(address), "{way:?}");
            assert_eq!(
                PeerState::of(&accepted.stream).unwrap(),
                expected(way),
                "asking takes nothing away: {way:?}"
            );
        }
    }
}

#[test]
fn one_look_at_a_batch_sees_what_many_looks_see() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let mut kept = Vec::new();
    for _ in 0..20 {
        for way in ALL {
            kept.extend(leave(TcpStream::connect(tcp(&listener)).unwrap(), way));
        }
    }
    let mut batch = Batch::new();
    let mut accepted = Vec::new();
    for _ in 0..20 * ALL.len() {
        accepted.push(accept(&listener));
    }
    let alone = |accepted: &[Accepted]| -> Vec<_> {
        accepted.iter().map(|connection| connection.stream.peer_state().unwrap()).collect()
    };
    let all: Vec<_> = (0..20).flat_map(|_| ALL).map(expected).collect();
    eventually("the kernel knows how all left", BOUND, || alone(&accepted) == all);
    for (way, accepted) in (0..20).flat_map(|_| ALL).zip(&accepted) {
        eventually("what was sent has come", BOUND, || !way.sends() || has_bytes(&accepted.stream));
    }
    let mut accepted = accepted.into_iter();
    batch.fill(all.len(), || Ok(accepted.next().unwrap()));
    let together: Vec<_> = batch.classify().collect();
    let states: Vec<_> = together.iter().map(|connection| connection.state).collect();
    assert_eq!(states, all);
    for (way, connection) in (0..20).flat_map(|_| ALL).zip(&together) {
        assert_eq!((way, connection.unread), (way, expected_unread(way)));
        assert_eq!(
            connection.stream.peer_state().unwrap(),
            expected(way),
            "asking takes nothing away: {way:?}"
        );
    }
}

/// One that is alone is looked at in another way.
#[test]
fn one_that_is_alone_in_its_batch_is_told_as_in_company() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let mut batch = Batch::new();
    for way in ALL {
        let (accepted, address, _client) = accept_after(&listener, way);
        eventually("what was sent has come", BOUND, || !way.sends() || has_bytes(&accepted.stream));
        let mut alone = Some(accepted);
        batch.fill(1, || Ok(alone.take().unwrap()));
        let told: Vec<_> = batch.classify().collect();
        let [told] = &told[..] else { panic!("there is one: {told:?}") };
        assert_eq!(
            (told.state, told.unread, told.peer),
            (expected(way), expected_unread(way), PeerAddr::Tcp(address))
        );
        assert_eq!(
            told.kernel_wait.is_some(),
            cfg!(all(target_os = "linux", not(anteroom_portable))),
            "{way:?}"
        );
        assert_eq!(told.stream.peer_state().unwrap(), expected(way), "asking takes nothing away: {way:?}");
    }
}

/// poll(2) refuses to look at more sockets than the process may have open.
#[test]
fn when_the_look_fails_nobody_is_lost_and_nothing_is_known() {
    anteroom_testkit::isolated(|| {
        let (clients, servers): (Vec<_>, Vec<_>) = (0..32).map(|_| UnixStream::pair().unwrap()).unzip();
        clients.iter().for_each(|mut client| client.write_all(b"request").unwrap());
        drop(clients);
        anteroom_testkit::limit_descriptors(16);
        let mut servers =
            servers.into_iter().map(|server| Accepted::new(Stream::Unix(server), PeerAddr::Unix));
        let mut batch = Batch::new();
        batch.fill(32, || Ok(servers.next().unwrap()));
        let seen: Vec<_> = batch.classify().map(|connection| (connection.state, connection.unread)).collect();
        assert_eq!(seen, [(PeerState::Open, Unread::Nothing); 32]);
    });
}

#[test]
fn a_reset_leaves_no_address_to_ask_for_and_an_error_that_looking_does_not_take() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let (accepted, address, _) = accept_after(&listener, Reset);
    assert_eq!(accepted.peer, PeerAddr::Tcp(address), "the address that accept gave is right");
    let socket = SockRef::from(&accepted.stream);
    assert_eq!(socket.peer_addr().unwrap_err().kind(), io::ErrorKind::NotConnected);
    assert_eq!(socket.take_error().unwrap().unwrap().kind(), io::ErrorKind::ConnectionReset);
    #[cfg(not(anteroom_portable))]
    assert_eq!(
        PeerState::of(&accepted.stream).unwrap(),
        PeerState::Closed(Unread::Nothing),
        "when the error was taken, what is left is that both directions are closed"
    );
}

/// CLOSE_WAIT does not prove that the client left.
#[test]
fn only_writing_tells_a_closed_client_from_a_half_closed_one() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    for (left, waits) in [(Close, HalfClose), (SendAndClose, SendAndHalfClose)] {
        let (gone, _, _) = accept_after(&listener, left);
        let (there, _, client) = accept_after(&listener, waits);
        assert_eq!(gone.stream.peer_state().unwrap(), there.stream.peer_state().unwrap());

        let (Stream::Tcp(mut gone), Stream::Tcp(mut there)) = (gone.stream, there.stream) else {
            panic!("not TCP")
        };
        there.write_all(b"!").unwrap();
        let mut byte = [0];
        client.unwrap().read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"!", "the half-closed client reads its answer");
        gone.write_all(b"!").unwrap();
        eventually("the closed one answers with a reset", BOUND, || {
            PeerState::of(&gone).unwrap() == PeerState::Reset
        });
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_kernel_shows_both_as_close_wait() {
    use anteroom_testkit::{TcpState, tcp_sockets};
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    for way in [Close, HalfClose] {
        let (accepted, address, _kept) = accept_after(&listener, way);
        let mut lines = tcp_sockets().into_iter();
        let line = lines.find(|socket| socket.local == tcp(&listener) && socket.peer == address).unwrap();
        assert_eq!(line.state, TcpState::CloseWait, "{way:?}");
        drop(accepted);
    }
}

#[test]
fn on_a_unix_socket_a_full_close_is_known() {
    let scratch = Scratch::new();
    let name = scratch.join("left.sock");
    let listener = Listener::bind(format!("unix:{}", name.display())).unwrap();
    let mut kept = Vec::new();
    for way in ALL {
        // Nothing is deferred on a Unix socket: the state is there when the call returns.
        kept.push(leave_unix(UnixStream::connect(&name).unwrap(), way));
    }
    let mut batch = Batch::new();
    batch.fill(ALL.len(), || listener.accept());
    for (way, connection) in ALL.into_iter().zip(batch.classify()) {
        assert_eq!((way, connection.state), (way, expected_of_unix(way)));
        assert_eq!((way, connection.unread), (way, expected_unread(way)));
        assert_eq!(connection.peer, PeerAddr::Unix);
        assert_eq!(connection.kernel_wait, None);
    }
}

/// A multipath socket reports the state ESTABLISHED after a FIN; poll tells the truth.
#[cfg(all(target_os = "linux", not(anteroom_portable)))]
#[test]
fn a_multipath_client_that_left_is_told_by_poll() {
    use socket2::{Domain, Protocol, Socket, Type};
    let listener = match Listener::builder().mptcp().bind("127.0.0.1:0") {
        Ok(listener) => listener,
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{error}");
            return eprintln!("skipped: {error}");
        }
    };
    for way in ALL {
        let client = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).unwrap();
        client.connect(&tcp(&listener).into()).unwrap();
        let address = client.local_addr().unwrap().as_socket().unwrap();
        let _kept = leave(client.into(), way);
        let accepted = accept(&listener);
        assert_eq!(accepted.peer, PeerAddr::Tcp(address));
        eventually(&format!("multipath: {way:?}"), BOUND, || {
            accepted.stream.peer_state().unwrap() == expected(way)
                && (!way.sends() || has_bytes(&accepted.stream))
        });
        let (mut batch, mut one) = (Batch::new(), Some(accepted));
        batch.fill(1, || Ok(one.take().unwrap()));
        let unread: Vec<_> = batch.classify().map(|connection| connection.unread).collect();
        // Linux 6.18 counts the end that the reset stands for as one more byte.
        assert!(way == Reset || unread == [expected_unread(way)], "multipath: {way:?} {unread:?}");
    }
}

#[test]
fn clients_of_a_dual_stack_show_their_mapped_address() {
    let listener = Listener::builder().dual_stack().bind("[::]:0").unwrap();
    let mut to = tcp(&listener);
    to.set_ip("127.0.0.1".parse().unwrap());
    let client = connect(to, 1).remove(0);
    let peer = accept(&listener).peer.tcp().unwrap();
    assert!(peer.is_ipv6());
    assert_eq!((peer.ip().to_canonical(), peer.port()), {
        let address = client.local_addr().unwrap();
        (address.ip(), address.port())
    });
}
