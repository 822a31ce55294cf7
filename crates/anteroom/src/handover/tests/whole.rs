//! Exchanges without trouble.

use std::{io::Read, net::TcpStream, time::Duration};

use anteroom_listener::{PeerAddr, Stream};

use super::fakes::{Play, answered, assert_owned_once, old};
use crate::handover::{Exported, HandoverErrorKind};

#[test]
fn three_hundred_listeners_and_five_hundred_waiting_connections_go_over() {
    let (old, clients) = old(300, 500);
    let play = Play::of(&old);
    let new = play.new.clone();
    let (given, taken) = play.run();
    taken.unwrap();
    let given = given.unwrap();
    assert_eq!((given.connections, given.kept.is_none()), (500, true));
    new.assert_alone(300, 500);
    let state = old.state();
    assert_eq!(state.handed_over, Some(vec![]));
    assert_eq!((state.room.len(), state.passed_on, state.over), (0, 500, 1));
    assert_eq!(state.failures, []);
    let new = new.state();
    for (number, listener) in new.listeners.iter().enumerate() {
        assert_eq!(listener.name(), format!("listener-{number}"));
        TcpStream::connect(listener.local_addr().tcp().unwrap()).unwrap();
        listener.accept().unwrap();
    }
    for (number, connection) in (0..).zip(&new.room) {
        let time = Duration::from_millis(number);
        assert_eq!(connection.listener, "listener-0");
        assert_eq!(connection.kernel_wait, Some(time));
        assert_eq!(connection.since_handshake, 2 * time);
        assert_eq!(connection.accepted_ago, time);
    }
    assert_eq!(answered(&new.room, &clients), (500, 0));
}

#[test]
fn a_client_that_waits_for_tcp_is_served_by_the_successor() {
    let (old, _) = old(1, 0);
    let address = old.state().listeners[0].local_addr().tcp().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    {
        let mut state = old.state();
        let accepted = state.listeners[0].accept().unwrap();
        state.room.push(Exported {
            listener: "listener-0".into(),
            kernel_wait: accepted.stream.kernel_wait(),
            stream: accepted.stream,
            peer: accepted.peer,
            since_handshake: Duration::ZERO,
            accepted_ago: Duration::ZERO,
        });
    }
    let queued = TcpStream::connect(address).unwrap();
    let play = Play::of(&old);
    let new = play.new.clone();
    let (given, _) = play.run();
    given.unwrap();
    let new = new.state();
    let connection = &new.room[0];
    assert_eq!(connection.peer, PeerAddr::Tcp(client.local_addr().unwrap()));
    assert!(matches!(connection.stream, Stream::Tcp(_)));
    anteroom_listener::write_now(&connection.stream, &[std::io::IoSlice::new(b"new")]).unwrap();
    let mut answer = [0; 3];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"new");
    // Whoever the kernel had queued is still there.
    let accepted = new.listeners[0].accept().unwrap();
    assert_eq!(accepted.peer, PeerAddr::Tcp(queued.local_addr().unwrap()));
}

#[test]
fn a_listener_can_be_left_and_its_connections_stay() {
    let (old, _clients) = old(2, 10);
    old.state().room.iter_mut().take(3).for_each(|connection| connection.listener = "listener-1".into());
    let mut play = Play::of(&old);
    play.leave = Some("listener-1");
    let new = play.new.clone();
    let (given, taken) = play.run();
    taken.unwrap();
    assert_eq!(given.unwrap().connections, 7);
    new.assert_alone(1, 7);
    assert_eq!(old.state().handed_over, Some(vec!["listener-1".into()]));
    assert_eq!(old.state().room.len(), 3);
    assert_owned_once(&old, &new);
}

#[test]
fn names_that_fill_many_messages_go_over() {
    let (old, _clients) = old(20, 20);
    let long = "n".repeat(9_000);
    {
        let mut state = old.state();
        let listeners = std::mem::take(&mut state.listeners);
        let renamed = listeners.into_iter().enumerate();
        state.listeners = renamed.map(|(number, one)| one.with_name(format!("{long}{number}"))).collect();
        state.room.iter_mut().for_each(|connection| connection.listener = format!("{long}7"));
    }
    let play = Play::of(&old);
    let new = play.new.clone();
    let (given, taken) = play.run();
    taken.unwrap();
    assert_eq!(given.unwrap().connections, 20);
    new.assert_alone(20, 20);
}

#[test]
fn a_name_that_no_message_can_carry_fails_and_changes_nothing() {
    let (old, _clients) = old(1, 5);
    let listener = old.state().listeners.remove(0).with_name("n".repeat(70_000));
    old.state().listeners.push(listener);
    let (given, taken) = Play::of(&old).run();
    assert!(matches!(given.unwrap_err().kind(), HandoverErrorKind::Malformed { .. }));
    assert!(matches!(taken.unwrap_err().kind(), HandoverErrorKind::Refused { .. }));
    old.assert_serves_on(1, 5);
}

#[test]
fn a_server_without_listeners_or_connections_hands_over_nothing() {
    let (old, _) = old(0, 0);
    let play = Play::of(&old);
    let new = play.new.clone();
    let (given, taken) = play.run();
    taken.unwrap();
    assert_eq!(given.unwrap().connections, 0);
    new.assert_alone(0, 0);
}
