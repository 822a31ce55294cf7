//! Sleeping on listeners and on parked peers.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{io, time::Duration};

use anteroom_listener::{Event, Events, Listener, Poller};
use anteroom_testkit::{BOUND, connect, eventually};

fn next(poller: &Poller, events: &mut Events) -> Vec<Event> {
    poller.wait(events, Some(BOUND)).unwrap();
    events.iter().collect()
}

fn now(poller: &Poller, events: &mut Events) -> Vec<Event> {
    poller.wait(events, Some(Duration::ZERO)).unwrap();
    // Outside Linux a changed registration wakes the poller.
    events.iter().filter(|event| *event != Event::Woken || !cfg!(anteroom_portable)).collect()
}

#[test]
fn a_listener_is_told_for_as_long_as_its_queue_is_not_empty() {
    let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(8));
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    poller.add_listener(&listener, 5).unwrap();
    assert_eq!(now(&poller, &mut events), []);
    let _client = connect(listener.local_addr().tcp().unwrap(), 1);
    for _ in 0..3 {
        assert_eq!(next(&poller, &mut events), [Event::Listener(5)]);
    }
    listener.accept().unwrap();
    assert_eq!(now(&poller, &mut events), []);
}

#[test]
fn a_paused_listener_is_quiet_until_it_is_resumed() {
    let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(8));
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    poller.add_listener(&listener, 5).unwrap();
    poller.pause_listener(&listener, 5).unwrap();
    let _client = connect(listener.local_addr().tcp().unwrap(), 1);
    assert_eq!(now(&poller, &mut events), []);
    poller.resume_listener(&listener, 5).unwrap();
    eventually("it is told again", BOUND, || now(&poller, &mut events) == [Event::Listener(5)]);
    poller.remove_listener(&listener).unwrap();
    assert_eq!(now(&poller, &mut events), []);
}

#[test]
fn a_broken_listener_is_told_so_that_accept_can_say_why() {
    let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(8));
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    poller.add_listener(&listener, 5).unwrap();
    assert_eq!(now(&poller, &mut events), []);
    anteroom_listener::shut_down(&listener).unwrap();
    assert_eq!(next(&poller, &mut events), [Event::Listener(5)]);
    #[cfg(all(target_os = "linux", not(anteroom_portable)))]
    {
        poller.pause_listener(&listener, 5).unwrap();
        assert_eq!(now(&poller, &mut events), [Event::Listener(5)], "a paused one tells it once");
        assert_eq!(now(&poller, &mut events), [], "and does not keep the poller awake");
    }
}

#[test]
fn a_registration_that_does_not_fit_is_refused() {
    let poller = Poller::new().unwrap();
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(poller.add_listener(&listener, 1 << 63)), io::ErrorKind::InvalidInput);
    assert_eq!(kind(poller.add_listener(&listener, (1 << 63) - 1)), io::ErrorKind::InvalidInput);
    assert_eq!(kind(poller.pause_listener(&listener, 1)), io::ErrorKind::NotFound);
    assert_eq!(kind(poller.remove_listener(&listener)), io::ErrorKind::NotFound);
    poller.add_listener(&listener, 1).unwrap();
    assert_eq!(kind(poller.add_listener(&listener, 1)), io::ErrorKind::AlreadyExists);
}

#[test]
fn a_listener_that_is_added_while_another_thread_sleeps_ends_the_sleep() {
    let poller = Poller::new().unwrap();
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let _client = connect(listener.local_addr().tcp().unwrap(), 1);
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            let mut events = Events::with_capacity(8);
            while !next(&poller, &mut events).contains(&Event::Listener(2)) {
                assert!(events.iter().next().is_some(), "it slept through the whole bound");
            }
        });
        poller.add_listener(&listener, 2).unwrap();
        sleeper.join().unwrap();
    });
}

#[cfg(not(all(target_os = "linux", not(anteroom_portable))))]
#[test]
fn elsewhere_peers_cannot_be_watched_and_there_is_no_descriptor() {
    let poller = Poller::new().unwrap();
    let (here, _there) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_eq!(poller.watch_peer(&here, 1).unwrap_err().kind(), io::ErrorKind::Unsupported);
    assert_eq!(poller.watch_bytes(&here, 1).unwrap_err().kind(), io::ErrorKind::Unsupported);
    assert_eq!(poller.unwatch_peer(&here).unwrap_err().kind(), io::ErrorKind::Unsupported);
    assert!(poller.as_fd().is_none());
}

#[cfg(all(target_os = "linux", not(anteroom_portable)))]
mod peers {
    use std::{
        io::Write,
        net::{Shutdown, TcpStream},
        os::unix::net::UnixStream,
    };

    use anteroom_listener::{HungUp, PeerState, Stream, Unread};
    use anteroom_testkit::{eventually_gives, reset};

    use super::*;

    /// Clients, and the accepted ends, in the same order.
    fn parked(count: usize) -> (Vec<TcpStream>, Vec<Stream>) {
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let clients = connect(listener.local_addr().tcp().unwrap(), count);
        let streams = (0..count)
            .map(|_| eventually_gives("a connection", BOUND, || listener.accept().ok()).stream)
            .collect();
        (clients, streams)
    }

    fn peer(token: u64, how: HungUp) -> Event {
        Event::Peer { token, how }
    }

    #[test]
    fn bytes_are_no_event_and_leaving_is_one() {
        const PARKED: u64 = 500;
        let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(1_024));
        let (mut clients, streams) = parked(500);
        for (token, stream) in (0..PARKED).zip(&streams) {
            poller.watch_peer(stream, token).unwrap();
        }
        for client in &mut clients {
            client.write_all(b"request").unwrap();
        }
        // Had bytes been events, they would have come before this one.
        clients[17].shutdown(Shutdown::Write).unwrap();
        assert_eq!(next(&poller, &mut events), [peer(17, HungUp::HalfClosed)]);
        reset(clients.remove(400));
        assert_eq!(next(&poller, &mut events), [peer(400, HungUp::Reset)]);
        assert_eq!(now(&poller, &mut events), [], "each is told once");
    }

    #[test]
    fn who_left_before_is_told_at_once() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(8));
        let (clients, streams) = parked(1);
        drop(clients);
        eventually("the FIN is here", BOUND, || streams[0].peer_state().unwrap() != PeerState::Open);
        poller.watch_peer(&streams[0], 9).unwrap();
        assert_eq!(now(&poller, &mut events), [peer(9, HungUp::HalfClosed)]);
    }

    #[test]
    fn who_is_not_watched_any_more_is_not_told() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(8));
        let (mut clients, streams) = parked(2);
        for (token, stream) in (0..).zip(&streams) {
            poller.watch_peer(stream, token).unwrap();
        }
        poller.unwatch_peer(&streams[0]).unwrap();
        assert_eq!(poller.unwatch_peer(&streams[0]).unwrap_err().kind(), io::ErrorKind::NotFound);
        reset(clients.remove(0));
        reset(clients.remove(0));
        assert_eq!(next(&poller, &mut events), [peer(1, HungUp::Reset)]);
    }

    #[test]
    fn a_unix_peer_that_closes_is_told_from_one_that_half_closes() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(8));
        let ((here, gone), (there, half)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        poller.watch_peer(&here, 1).unwrap();
        poller.watch_peer(&there, 2).unwrap();
        drop(gone);
        assert_eq!(next(&poller, &mut events), [peer(1, HungUp::Closed)]);
        half.shutdown(Shutdown::Write).unwrap();
        assert_eq!(next(&poller, &mut events), [peer(2, HungUp::HalfClosed)]);
    }

    #[test]
    fn what_does_not_fit_comes_with_the_next_wait() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(0));
        let (clients, streams) = parked(3);
        for (token, stream) in (0..).zip(&streams) {
            poller.watch_peer(stream, token).unwrap();
        }
        clients.into_iter().for_each(reset);
        let mut told: Vec<_> = (0..3).flat_map(|_| next(&poller, &mut events)).collect();
        told.sort_by_key(|event| match event {
            Event::Peer { token, .. } => *token,
            other => unreachable!("{other:?}"),
        });
        assert_eq!(told, [0, 1, 2].map(|token| peer(token, HungUp::Reset)));
    }

    #[test]
    fn a_token_with_the_listeners_bit_is_refused() {
        let (here, _there) = UnixStream::pair().unwrap();
        let poller = Poller::new().unwrap();
        assert_eq!(poller.watch_peer(&here, 1 << 63).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(poller.watch_bytes(&here, 1 << 63).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn bytes_are_told_to_who_asked_for_them_once_for_each_arrival() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(8));
        let (mut clients, streams) = parked(2);
        poller.watch_bytes(&streams[0], 0).unwrap();
        poller.watch_peer(&streams[1], 1).unwrap();
        assert_eq!(now(&poller, &mut events), [], "nobody has sent");
        clients[1].write_all(b"unasked").unwrap();
        for _ in 0..3 {
            clients[0].write_all(b"request").unwrap();
            assert_eq!(next(&poller, &mut events), [Event::Bytes { token: 0 }]);
            assert_eq!(now(&poller, &mut events), [], "unread bytes do not keep the poller awake");
        }
    }

    #[test]
    fn bytes_that_came_before_are_told_at_once() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(8));
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(b"x").unwrap();
        poller.watch_bytes(&there, 3).unwrap();
        assert_eq!(now(&poller, &mut events), [Event::Bytes { token: 3 }]);

        let (mut clients, streams) = parked(1);
        let Stream::Tcp(stream) = &streams[0] else { unreachable!("a TCP listener") };
        clients[0].write_all(b"x").unwrap();
        eventually("the byte is here", BOUND, || stream.peek(&mut [0]).is_ok());
        poller.watch_bytes(stream, 4).unwrap();
        assert_eq!(now(&poller, &mut events), [Event::Bytes { token: 4 }]);
    }

    /// What is told of a client that was watched from its first moment, up to its hang-up.
    fn told_of(leave: impl FnOnce(TcpStream) -> Option<TcpStream>) -> Vec<Event> {
        let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(8));
        let (mut clients, mut streams) = parked(1);
        let (client, stream) = (clients.remove(0), streams.remove(0));
        poller.watch_bytes(&stream, 6).unwrap();
        let _kept = leave(client);
        let mut told = Vec::new();
        while !told.iter().any(|event| matches!(event, Event::Peer { .. })) {
            let more = next(&poller, &mut events);
            assert!(!more.is_empty(), "the hang-up was not told, only {told:?}");
            told.extend(more);
        }
        told
    }

    #[test]
    fn who_is_watched_for_bytes_and_hangs_up_is_told_as_with_watch_peer() {
        assert_eq!(told_of(|_closed| None), [peer(6, HungUp::HalfClosed)]);
        assert_eq!(
            told_of(|client| {
                client.shutdown(Shutdown::Write).unwrap();
                Some(client)
            }),
            [peer(6, HungUp::HalfClosed)]
        );
        assert_eq!(
            told_of(|client| {
                reset(client);
                None
            }),
            [peer(6, HungUp::Reset)]
        );
    }

    #[test]
    fn a_hang_up_behind_bytes_is_a_hang_up() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(8));
        let (mut clients, streams) = parked(1);
        clients[0].write_all(b"request").unwrap();
        drop(clients);
        let left = PeerState::HalfClosed(Unread::Bytes);
        eventually("both are here", BOUND, || streams[0].peer_state().unwrap() == left);
        poller.watch_bytes(&streams[0], 6).unwrap();
        assert_eq!(now(&poller, &mut events), [peer(6, HungUp::HalfClosed)]);
    }

    #[test]
    fn a_socket_is_watched_in_one_way_at_a_time() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(8));
        let (mut here, there) = UnixStream::pair().unwrap();
        poller.watch_bytes(&there, 1).unwrap();
        assert_eq!(poller.watch_peer(&there, 1).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(poller.watch_bytes(&there, 1).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        poller.unwatch_peer(&there).unwrap();
        assert_eq!(poller.unwatch_peer(&there).unwrap_err().kind(), io::ErrorKind::NotFound);
        here.write_all(b"x").unwrap();
        assert_eq!(now(&poller, &mut events), []);
        poller.watch_peer(&there, 2).unwrap();
        assert_eq!(now(&poller, &mut events), [], "now bytes are no event");
        drop(here);
        assert_eq!(next(&poller, &mut events), [peer(2, HungUp::Closed)]);
    }
}
