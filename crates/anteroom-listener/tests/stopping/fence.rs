//! The fence of a TCP listener: nobody new comes in, and nobody on the way is turned back.

use std::{
    io::{Read, Write},
    time::Duration,
};

use anteroom_listener::{Builder, Fence, Handshakes, Listener, Stream};
use anteroom_testkit::{BOUND, connect, eventually, has_connected, start_connecting};

use crate::{
    accept, address,
    deaf::{deaf, give_ear},
};

fn each_family() -> [Listener; 3] {
    let bind = |builder: Builder, address: &str| builder.bind(address).unwrap();
    [
        bind(Listener::builder(), "127.0.0.1:0"),
        bind(Listener::builder(), "[::1]:0"),
        bind(Listener::builder().dual_stack(), "[::]:0"),
    ]
}

/// Where clients find it: a dual-stack listener over IPv4.
fn reachable(listener: &Listener) -> std::net::SocketAddr {
    let mut to = address(listener);
    if to.ip().is_unspecified() {
        to.set_ip("127.0.0.1".parse().unwrap());
    }
    to
}

fn drops(listener: &Listener) -> u64 {
    listener.queue().drops.unwrap()
}

#[test]
fn the_queued_are_served_and_what_they_send_later_arrives() {
    for listener in each_family() {
        let mut clients = connect(reachable(&listener), 3);
        assert_eq!(listener.fence().unwrap(), Fence::Set);
        for client in &mut clients {
            client.write_all(b"before").unwrap();
            let Stream::Tcp(mut stream) = accept(&listener).stream else { panic!("not TCP") };
            client.write_all(b" after").unwrap();
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(BOUND)).unwrap();
            let mut data = [0; 12];
            stream.read_exact(&mut data).unwrap();
            assert_eq!(&data, b"before after");
            stream.write_all(b"answer").unwrap();
            client.read_exact(&mut data[..6]).unwrap();
        }
    }
}

#[test]
fn a_new_syn_is_dropped_and_comes_in_at_its_retry_when_the_fence_is_lifted() {
    for listener in each_family() {
        let before = drops(&listener);
        listener.fence().unwrap();
        assert_eq!(listener.fence().unwrap(), Fence::Set, "again changes nothing");
        let client = start_connecting(reachable(&listener));
        eventually("its SYN is dropped, and counted as such", BOUND, || drops(&listener) > before);
        assert!(!has_connected(&client));
        assert_eq!((listener.depth(), listener.handshakes()), (Some(0), Handshakes::UnderWay(0)));
        assert_eq!(listener.deferral(), Duration::ZERO);
        assert!(client.take_error().unwrap().is_none(), "it is not refused: it waits");
        listener.lift_fence().unwrap();
        assert!(!listener.is_fenced());
        accept(&listener);
        eventually("it is in", BOUND, || has_connected(&client));
        listener.lift_fence().unwrap();
    }
}

#[test]
fn a_handshake_under_way_finishes() {
    for listener in each_family() {
        let client = deaf(reachable(&listener));
        eventually("it is under way", BOUND, || listener.handshakes() == Handshakes::UnderWay(1));
        listener.fence().unwrap();
        give_ear(&client);
        let accepted = accept(&listener);
        assert!(has_connected(&client));
        let peer = accepted.peer.tcp().unwrap();
        assert_eq!(peer.port(), client.local_addr().unwrap().as_socket().unwrap().port());
        assert!(listener.handshakes().is_none_under_way());
    }
}

#[test]
fn clients_that_defer_accept_holds_back_come_in_after_the_fence() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = Listener::builder().defer_accept(Duration::from_secs(30)).bind(address).unwrap();
        let clients = connect(reachable(&listener), 5);
        assert_eq!(listener.depth(), Some(0), "connected, silent, and not in the queue");
        assert_eq!(listener.handshakes(), Handshakes::UnderWay(5));
        let deferral = listener.deferral();
        assert!(deferral >= Duration::from_secs(30), "the kernel rounds up: {deferral:?}");
        listener.fence().unwrap();
        assert_eq!(listener.deferral(), deferral, "for those who were there before");
        let mut ports: Vec<_> = (0..5).map(|_| accept(&listener).peer.tcp().unwrap().port()).collect();
        ports.sort_unstable();
        let mut expected: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap().port()).collect();
        expected.sort_unstable();
        assert_eq!(ports, expected);
        assert_eq!(listener.handshakes(), Handshakes::UnderWay(0));

        listener.lift_fence().unwrap();
        let _silent = connect(reachable(&listener), 1);
        assert_eq!(listener.handshakes(), Handshakes::UnderWay(1), "and deferring is as it was");
        assert_eq!(listener.depth(), Some(0));
    }
}

#[test]
fn a_listener_that_was_adopted_and_declared_exclusive_is_fenced() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = Listener::try_from(listener).unwrap().exclusive();
    assert_eq!(listener.fence().unwrap(), Fence::Set);
    let before = drops(&listener);
    let _client = start_connecting(reachable(&listener));
    eventually("its SYN is dropped", BOUND, || drops(&listener) > before);
}

#[test]
fn after_it_was_reclaimed_a_listener_is_fenced() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    drop(listener.share().unwrap());
    assert_eq!(listener.fence().unwrap(), Fence::Shared);
    listener.reclaim();
    assert_eq!(listener.fence().unwrap(), Fence::Set);
}
