//! Socket activation, in a child that a shell prepares as a service manager would.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    process::Command,
};

use anteroom_listener::{Address, Fence, Listener, activated};
use anteroom_testkit::{BOUND, Scratch, eventually_gives};
use socket2::SockRef;

use crate::again::{is_child, run};

/// What was passed as 0 and 1 becomes 3 and 4.
const TWO: &str = "exec 3<&0 4<&1 </dev/null >&2; export LISTEN_PID=$$ LISTEN_FDS=2";

#[test]
fn listeners_are_taken_in_order_named_non_blocking_and_close_on_exec() {
    const NAME: &str = "activation::listeners_are_taken_in_order_named_non_blocking_and_close_on_exec";
    if is_child(NAME) {
        let listeners = activated().unwrap();
        let names: Vec<_> = listeners.iter().map(Listener::name).collect();
        assert_eq!(names, ["http", "admin"]);
        for listener in &listeners {
            assert!(SockRef::from(listener).nonblocking().unwrap(), "they came blocking");
            assert!(!listener.is_exclusive(), "the manager has them too");
            assert_eq!(listener.fence().unwrap(), Fence::Shared);
        }
        let [tcp, unix] = <[Listener; 2]>::try_from(listeners.into_iter().collect::<Vec<_>>()).unwrap();
        assert!(matches!((tcp.local_addr(), unix.local_addr()), (Address::Tcp(_), Address::Unix(_))));
        eventually_gives("the client from before the start", BOUND, || tcp.accept().ok());
        assert_eq!(listed_in_a_child(&[&tcp, &unix]), 0);
        assert!(activated().unwrap().is_empty(), "once");
        assert!(std::env::var_os("LISTEN_FDS").is_some(), "the variables stay");
        return;
    }
    let scratch = Scratch::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(scratch.join("admin.sock")).unwrap();
    let _client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    run(NAME, &format!("{TWO} LISTEN_FDNAMES=http:admin"), tcp.into(), unix.into());
}

/// How many of them a process that is started now holds.
fn listed_in_a_child(listeners: &[&Listener]) -> usize {
    use std::os::{fd::AsFd, unix::fs::MetadataExt};
    let output = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_listed = |listener: &&&Listener| {
        let file = std::fs::File::from(listener.as_fd().try_clone_to_owned().unwrap());
        listing.contains(&format!("socket:[{}]", file.metadata().unwrap().ino()))
    };
    listeners.iter().filter(is_listed).count()
}

#[test]
fn without_names_they_are_called_by_their_addresses() {
    const NAME: &str = "activation::without_names_they_are_called_by_their_addresses";
    if is_child(NAME) {
        let listeners = activated().unwrap();
        assert_eq!(listeners.len(), 2);
        for listener in listeners {
            let address: SocketAddr = listener.name().parse().unwrap();
            assert_eq!(Some(address), listener.local_addr().tcp());
        }
        return;
    }
    let bind = || TcpListener::bind("127.0.0.1:0").unwrap().into();
    run(NAME, &format!("unset LISTEN_FDNAMES; {TWO}"), bind(), bind());
}

#[test]
fn what_was_meant_for_another_process_is_left_alone() {
    const NAME: &str = "activation::what_was_meant_for_another_process_is_left_alone";
    if is_child(NAME) {
        assert!(activated().unwrap().is_empty());
        return;
    }
    let bind = || TcpListener::bind("127.0.0.1:0").unwrap().into();
    run(NAME, &format!("{TWO} LISTEN_PID=1"), bind(), bind());
}

#[test]
fn a_process_that_was_not_activated_has_none() {
    // In this process nobody else asks: the children are processes of their own.
    assert!(activated().unwrap().is_empty());
}
