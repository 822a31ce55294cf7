//! One socket that a parent names in a variable, by its number and its inode.

use std::{
    env,
    fs::File,
    io,
    net::TcpListener,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{fs::MetadataExt, net::UnixStream},
    },
};

use anteroom_listener::{Listener, inherited_socket};
use socket2::SockRef;

use crate::again::{is_child, run};

const VARIABLE: &str = "ANTEROOM_TEST_SOCKET";

fn inode(socket: impl AsFd) -> u64 {
    File::from(socket.as_fd().try_clone_to_owned().unwrap()).metadata().unwrap().ino()
}

/// What was passed as 0 becomes 5, under the variable with this inode.
fn passed_as_five(inode: impl std::fmt::Display) -> String {
    format!("exec 5<&0 </dev/null >&2; export {VARIABLE}=5:{inode}")
}

fn unused() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

#[test]
fn it_is_taken_once_and_close_on_exec() {
    const NAME: &str = "single::it_is_taken_once_and_close_on_exec";
    if is_child(NAME) {
        let fd = inherited_socket(VARIABLE).unwrap().unwrap();
        assert_eq!(fd.as_raw_fd(), 5);
        let listener = Listener::adopt(fd).unwrap();
        assert!(SockRef::from(&listener).nonblocking().unwrap(), "it came blocking");
        assert!(inherited_socket(VARIABLE).unwrap().is_none(), "once");
        drop(listener);
        return assert!(inherited_socket(VARIABLE).unwrap().is_none(), "nothing is open there");
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    run(NAME, &passed_as_five(inode(&listener)), listener.into(), unused());
}

#[test]
fn another_socket_under_the_same_number_is_left_alone() {
    const NAME: &str = "single::another_socket_under_the_same_number_is_left_alone";
    if is_child(NAME) {
        return assert!(inherited_socket(VARIABLE).unwrap().is_none());
    }
    let (meant, other) = UnixStream::pair().unwrap();
    run(NAME, &passed_as_five(inode(&meant)), other.into(), unused());
}

#[test]
fn a_process_further_down_has_the_variable_and_not_the_socket() {
    const NAME: &str = "single::a_process_further_down_has_the_variable_and_not_the_socket";
    if is_child(NAME) {
        return assert!(inherited_socket(VARIABLE).unwrap().is_none());
    }
    let (meant, _peer) = UnixStream::pair().unwrap();
    let script = format!("{}; exec 5<&-", passed_as_five(inode(&meant)));
    run(NAME, &script, meant.into(), unused());
}

#[test]
fn without_the_variable_there_is_none_and_nonsense_is_an_error() {
    const NAME: &str = "single::without_the_variable_there_is_none_and_nonsense_is_an_error";
    if is_child(NAME) {
        assert_eq!(env::var(VARIABLE).unwrap(), "five");
        let error = inherited_socket(VARIABLE).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        return assert!(
            error.to_string().contains(VARIABLE) && error.to_string().contains("five"),
            "{error}"
        );
    }
    assert!(inherited_socket(VARIABLE).unwrap().is_none());
    run(NAME, &format!("exec >&2; export {VARIABLE}=five"), unused(), unused());
}
