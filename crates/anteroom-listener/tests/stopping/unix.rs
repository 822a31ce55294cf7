//! The fence of a Unix listener: shut for reading.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
};

use anteroom_listener::{Accepted, Fence, Handshakes, Listener, Stream};
use anteroom_testkit::{BOUND, Scratch, connect_unix, eventually};

#[test]
fn new_clients_are_refused_and_the_queued_are_accepted() {
    let scratch = Scratch::new();
    let name = scratch.join("fenced.sock");
    let listener = Listener::bind(format!("unix:{}", name.display())).unwrap();
    let queued = connect_unix(&name, 5);
    assert_eq!(listener.fence().unwrap(), Fence::Set);
    assert_eq!(listener.fence().unwrap(), Fence::Set, "again changes nothing");
    assert!(listener.is_fenced());
    assert_eq!(listener.handshakes(), Handshakes::UnderWay(0));
    let refused = UnixStream::connect(&name).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    for mut client in &queued {
        let Stream::Unix(mut stream) = listener.accept().unwrap().stream else { panic!("not Unix") };
        client.write_all(b"late").unwrap();
        stream.set_nonblocking(false).unwrap();
        let mut data = [0; 4];
        stream.read_exact(&mut data).unwrap();
        assert_eq!(&data, b"late");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "as of any empty queue");
}

#[test]
fn it_cannot_be_lifted() {
    let scratch = Scratch::new();
    let name = scratch.join("lifted.sock");
    let listener = Listener::bind(format!("unix:{}", name.display())).unwrap();
    listener.lift_fence().unwrap();
    let _before = connect_unix(&name, 1);
    listener.fence().unwrap();
    assert_eq!(listener.lift_fence().unwrap_err().kind(), io::ErrorKind::Unsupported);
    assert!(listener.is_fenced());
    assert!(UnixStream::connect(&name).is_err());
}

#[cfg(all(target_os = "linux", not(anteroom_portable)))]
#[test]
fn a_fenced_one_is_readable_for_ever() {
    use anteroom_listener::{Event, Events, Poller};
    let scratch = Scratch::new();
    let listener = Listener::bind(format!("unix:{}", scratch.join("readable.sock").display())).unwrap();
    let poller = Poller::new().unwrap();
    poller.add_listener(&listener, 1).unwrap();
    listener.fence().unwrap();
    let mut events = Events::with_capacity(1);
    for _ in 0..3 {
        poller.wait(&mut events, Some(BOUND)).unwrap();
        assert_eq!(events.iter().collect::<Vec<_>>(), [Event::Listener(1)]);
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

/// Serves whoever is in the queue with a byte.
fn serve_queued(listener: &Listener) -> usize {
    let mut served = 0;
    loop {
        let stream = match listener.accept() {
            Ok(Accepted { stream: Stream::Unix(stream), .. }) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return served,
            other => panic!("accept: {other:?}"),
        };
        (&stream).write_all(b"!").unwrap();
        served += 1;
    }
}

/// Connects until it is refused, one at a time; every connection that could be made is served.
fn come_until_refused(name: &Path) -> usize {
    let mut connected = 0;
    while let Ok(mut stream) = UnixStream::connect(name) {
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream.read_exact(&mut [0]).expect("who could connect is served");
        connected += 1;
    }
    connected
}

#[test]
fn in_50_rounds_with_clients_arriving_none_is_lost() {
    const CLIENTS: usize = 4;
    let scratch = Scratch::new();
    for round in 1..=50 {
        let name = scratch.join(&format!("{round}.sock"));
        let listener = Listener::bind(format!("unix:{}", name.display())).unwrap();
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| come_until_refused(&name))).collect();
            let mut served = 0;
            eventually("clients are arriving", BOUND, || {
                served += serve_queued(&listener);
                served >= 5 * round
            });
            assert_eq!(listener.fence().unwrap(), Fence::Set);
            served += serve_queued(&listener);
            listener.close();
            let connected: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
            assert_eq!(connected, served, "round {round}");
        });
    }
}
