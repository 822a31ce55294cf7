//! A listener from the first call to the last: bind, connect, accept, look, end.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::fd::OwnedFd,
};

use anteroom_listener::{
    Address, Batch, BatchEnd, Event, Events, Listener, Listeners, PeerState, Poller, Stream,
};
use anteroom_testkit::{BOUND, eventually_gives};

#[test]
fn a_connection_goes_through_every_part() {
    let listener = Listener::builder().name("smoke").backlog(16).bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().tcp().unwrap();
    let poller = Poller::new().unwrap();
    poller.add_listener(&listener, 3).unwrap();

    let mut client = TcpStream::connect(address).unwrap();
    let mut events = Events::with_capacity(8);
    poller.wait(&mut events, Some(BOUND)).unwrap();
    // Outside Linux the registration itself wakes first.
    if !events.iter().any(|event| event == Event::Listener(3)) {
        poller.wait(&mut events, Some(BOUND)).unwrap();
    }
    assert!(events.iter().any(|event| event == Event::Listener(3)));

    let mut batch = Batch::new();
    assert!(matches!(batch.fill(8, || listener.accept()), BatchEnd::Empty));
    let connection = batch.classify().next().unwrap();
    assert_eq!(connection.state, PeerState::Open);
    assert_eq!(connection.peer.tcp(), Some(client.local_addr().unwrap()));
    assert_eq!(connection.stream.local_addr().unwrap(), Address::Tcp(address));
    assert_eq!(connection.kernel_wait.is_none(), cfg!(anteroom_portable));

    let Stream::Tcp(mut stream) = connection.stream else { panic!("a TCP listener gives TCP streams") };
    client.write_all(b"x").unwrap();
    stream.set_nonblocking(false).unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x");
    poller.remove_listener(&listener).unwrap();
    listener.close();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_listener_survives_the_way_through_a_descriptor() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().clone();
    let client = TcpStream::connect(address.tcp().unwrap()).unwrap();
    let again = Listener::adopt(OwnedFd::from(listener)).unwrap().with_name("again");
    assert_eq!((again.local_addr(), again.name()), (&address, "again"));
    let accepted = eventually_gives("a connection", BOUND, || again.accept().ok());
    assert_eq!(accepted.peer.tcp(), Some(client.local_addr().unwrap()));
    assert_eq!(Listeners::from(again).len(), 1);
}
