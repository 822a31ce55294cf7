//! How listeners and connections end, and how accepting fails.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

use anteroom_listener::{AcceptErrorClass, Accepted, Listener, PeerState, Stream, reset_on_close, shut_down};
use anteroom_testkit::{BOUND, connect, eventually, eventually_gives};

/// Takes the next connection as soon as the kernel has it in the queue.
fn accept(listener: &Listener) -> Accepted {
    eventually_gives("a connection", BOUND, || listener.accept().ok())
}

fn pair() -> (TcpStream, Stream) {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let client = connect(listener.local_addr().tcp().unwrap(), 1).remove(0);
    client.set_read_timeout(Some(BOUND)).unwrap();
    (client, accept(&listener).stream)
}

fn read_to_end(mut client: &TcpStream) -> (Vec<u8>, Option<io::ErrorKind>) {
    let mut bytes = Vec::new();
    let end = client.read_to_end(&mut bytes).err().map(|error| error.kind());
    (bytes, end)
}

#[test]
fn out_of_descriptors_the_connection_stays_queued_and_the_listener_readable() {
    use anteroom_listener::{Event, Events, Poller};
    use anteroom_testkit::{exhaust_descriptors, isolated};
    isolated(|| {
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let poller = Poller::new().unwrap();
        poller.add_listener(&listener, 1).unwrap();
        let mut events = Events::with_capacity(4);
        // Outside Linux the registration itself wakes the poller.
        poller.wait(&mut events, Some(std::time::Duration::ZERO)).unwrap();

        let client = connect(listener.local_addr().tcp().unwrap(), 1);
        poller.wait(&mut events, Some(BOUND)).unwrap();
        let mut taken = exhaust_descriptors(64);
        for _ in 0..3 {
            let error = listener.accept().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            assert_eq!(AcceptErrorClass::of(&error), AcceptErrorClass::Descriptors);
            poller.wait(&mut events, Some(BOUND)).unwrap();
            assert_eq!(events.iter().collect::<Vec<_>>(), [Event::Listener(1)], "it is told again and again");
            #[cfg(not(anteroom_portable))]
            assert_eq!(listener.depth(), Some(1));
        }
        taken.pop();
        let accepted = accept(&listener);
        assert_eq!(accepted.peer.tcp(), Some(client[0].local_addr().unwrap()));
    });
}

#[test]
fn shutting_a_listener_down_wakes_who_is_blocked_in_accept() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    thread::scope(|scope| {
        // Whether the call is already under way makes no difference: it fails either way.
        let blocked = scope.spawn(|| listener.accept());
        shut_down(&listener).unwrap();
        let error = blocked.join().unwrap().unwrap_err();
        assert_eq!(AcceptErrorClass::of(&error), AcceptErrorClass::Listener, "{error}");
    });
}

#[test]
fn shutting_a_listener_down_destroys_its_queue() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let client = connect(listener.local_addr().tcp().unwrap(), 1).remove(0);
    client.set_read_timeout(Some(BOUND)).unwrap();
    shut_down(&listener).unwrap();
    assert_eq!(read_to_end(&client), (vec![], Some(io::ErrorKind::ConnectionReset)));
    let error = listener.accept().unwrap_err();
    assert_eq!(AcceptErrorClass::of(&error), AcceptErrorClass::Listener, "{error}");
    assert_eq!(listener.depth(), None, "it has no queue any more, which is not an empty one");
}

#[test]
fn closing_with_unread_bytes_resets_what_was_answered() {
    let (mut client, stream) = pair();
    client.write_all(b"request").unwrap();
    let Stream::Tcp(mut stream) = stream else { panic!("not TCP") };
    eventually("the request has come", BOUND, || stream.peek(&mut [0]).is_ok());
    stream.write_all(b"no").unwrap();
    drop(stream);
    let (_, end) = read_to_end(&client);
    assert_eq!(end, Some(io::ErrorKind::ConnectionReset));
}

#[test]
fn a_refusal_that_is_read_half_closes_and_reads_before_it_closes() {
    let (mut client, stream) = pair();
    client.write_all(b"request").unwrap();
    let Stream::Tcp(mut stream) = stream else { panic!("not TCP") };
    stream.set_nonblocking(false).unwrap();
    stream.write_all(b"no").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut request = [0; 7];
    stream.read_exact(&mut request).unwrap();
    drop(stream);
    assert_eq!(read_to_end(&client), (b"no".to_vec(), None));
}

#[test]
fn a_reset_is_a_reset_and_not_a_close() {
    let (client, stream) = pair();
    stream.reset();
    assert_eq!(read_to_end(&client), (vec![], Some(io::ErrorKind::ConnectionReset)));

    let (client, stream) = pair();
    reset_on_close(&stream).unwrap();
    drop(stream);
    assert_eq!(read_to_end(&client), (vec![], Some(io::ErrorKind::ConnectionReset)));
}

#[test]
fn a_reset_of_a_unix_socket_is_a_close() {
    let scratch = anteroom_testkit::Scratch::new();
    let name = scratch.join("reset.sock");
    let listener = Listener::bind(format!("unix:{}", name.display())).unwrap();
    let mut client = anteroom_testkit::connect_unix(&name, 1).remove(0);
    accept(&listener).stream.reset();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_connection_that_is_shut_down_ends_for_both() {
    let (client, stream) = pair();
    shut_down(&stream).unwrap();
    assert_eq!(read_to_end(&client), (vec![], None));
    drop(client);
    eventually("both directions are closed", BOUND, || stream.peer_state().unwrap() != PeerState::Open);
}
