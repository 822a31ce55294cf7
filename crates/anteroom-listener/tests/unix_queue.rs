//! The accept queue of a Unix listener, which only socket diagnosis tells.
#![cfg(all(target_os = "linux", not(anteroom_portable)))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{io, os::unix::net::UnixListener};

use anteroom_listener::{Address, Listener, Queue, UnixAddress};
use anteroom_testkit::{Scratch, connect_unix, exhaust_descriptors, isolated, ss_unix_queue, write_sysctl};
use socket2::{Domain, SockAddr, Socket, Type};

fn path(path: std::path::PathBuf) -> Address {
    Address::Unix(UnixAddress::Path(path))
}

fn read(queue: Queue) -> (Option<u32>, Option<u32>) {
    (queue.depth, queue.limit)
}

#[test]
fn a_unix_queue_holds_limit_plus_one_too() {
    let scratch = Scratch::new();
    let name = scratch.join("queue.sock");
    let listener = Listener::builder().backlog(4).bind(path(name.clone())).unwrap();
    assert_eq!(listener.backlog().effective, Some(4));
    let mut clients = Vec::new();
    for count in 0..=5 {
        assert_eq!(read(listener.queue()), (Some(count), Some(4)));
        if let Some(shown) = ss_unix_queue(name.to_str().unwrap()) {
            assert_eq!(shown, (count, 4), "ss");
        }
        if count < 5 {
            clients.extend(connect_unix(&name, 1));
        }
    }
    let sixth = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    sixth.set_nonblocking(true).unwrap();
    let error = sixth.connect(&SockAddr::unix(&name).unwrap()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "the sixth is turned away");
    assert_eq!(listener.queue().drops, None, "nobody counts them");
    assert_eq!(listener.depth(), None, "the cheap question is TCP's");
    assert_eq!(listener.census().unwrap(), None);
}

#[test]
fn a_unix_backlog_is_clamped_and_changed_like_a_tcp_one() {
    isolated(|| {
        write_sysctl("net.core.somaxconn", 16);
        let listener = Listener::builder().backlog(64).bind("unix:@anteroom-clamped").unwrap();
        assert!(listener.backlog().is_clamped());
        assert_eq!(read(listener.queue()), (Some(0), Some(16)));
        listener.set_backlog(8).unwrap();
        assert_eq!(read(listener.queue()), (Some(0), Some(8)));
        assert!(Listener::builder().backlog(64).strict_backlog().bind("unix:@anteroom-strict").is_err());
    });
}

#[test]
fn an_adopted_unix_listener_tells_its_queue() {
    let scratch = Scratch::new();
    let name = scratch.join("adopted.sock");
    let listener = Listener::try_from(UnixListener::bind(&name).unwrap()).unwrap();
    assert_eq!(listener.local_addr().path(), Some(name.as_path()));
    let _clients = connect_unix(&name, 2);
    assert_eq!(listener.queue().depth, Some(2));
    assert_eq!(listener.backlog().effective, listener.queue().limit);
    drop(listener);
    assert!(name.exists(), "the file is not ours to remove");
}

#[test]
fn the_queue_can_be_read_when_no_descriptor_is_left() {
    isolated(|| {
        let listener = Listener::builder().backlog(4).bind("unix:@anteroom-no-descriptor").unwrap();
        let name = SockAddr::unix("\0anteroom-no-descriptor").unwrap();
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.connect(&name).unwrap();
        let _taken = exhaust_descriptors(64);
        let error = listener.accept().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        assert_eq!(read(listener.queue()), (Some(1), Some(4)));
    });
}
