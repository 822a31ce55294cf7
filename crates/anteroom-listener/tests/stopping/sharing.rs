//! Who else holds the socket, and that a socket which others hold is never fenced.

use std::net::TcpListener;

use anteroom_listener::{Fence, Listener};
use anteroom_testkit::{Scratch, connect, connect_unix};

#[test]
fn what_was_bound_here_is_exclusive_until_it_is_passed_on() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    assert!(listener.is_exclusive());
    let other = listener.share().unwrap();
    assert!(!listener.is_exclusive());
    drop(other);
    assert!(!listener.is_exclusive(), "only a declaration makes it so again");
    listener.reclaim();
    assert!(listener.is_exclusive());
}

#[test]
fn what_was_adopted_is_exclusive_only_when_declared_so() {
    let adopt = || Listener::try_from(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let listener = adopt();
    assert!(!listener.is_exclusive());
    drop(listener.share().unwrap());
    listener.reclaim();
    assert!(!listener.is_exclusive(), "it was not before either");
    assert!(listener.exclusive().is_exclusive());
    assert!(adopt().with_name("renamed").exclusive().is_exclusive());
}

#[test]
fn a_shared_tcp_listener_is_not_fenced_and_takes_new_clients() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let successor = Listener::adopt(listener.share().unwrap()).unwrap();
    assert_eq!(listener.fence().unwrap(), Fence::Shared);
    assert_eq!(successor.fence().unwrap(), Fence::Shared);
    assert!(!listener.is_fenced() && !successor.is_fenced());
    let client = connect(super::address(&listener), 1).remove(0);
    assert_eq!(super::accept(&successor).peer.tcp(), Some(client.local_addr().unwrap()));
}

#[test]
fn a_shared_unix_listener_is_not_fenced_and_takes_new_clients() {
    let scratch = Scratch::new();
    let name = scratch.join("shared.sock");
    let listener = Listener::bind(format!("unix:{}", name.display())).unwrap();
    let successor = Listener::adopt(listener.share().unwrap()).unwrap();
    assert_eq!(listener.fence().unwrap(), Fence::Shared);
    let _client = connect_unix(&name, 1);
    super::accept(&successor);
}

#[test]
fn a_fenced_listener_is_not_passed_on() {
    let scratch = Scratch::new();
    let listener = Listener::bind(format!("unix:{}", scratch.join("fenced.sock").display())).unwrap();
    assert_eq!(listener.fence().unwrap(), Fence::Set);
    assert_eq!(listener.share().unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
    assert!(listener.is_exclusive());
}
