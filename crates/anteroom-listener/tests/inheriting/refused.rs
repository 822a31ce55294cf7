//! What is passed by mistake: the error says which descriptor it was, and what to change.

use std::{
    fs::File,
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
};

use anteroom_listener::{ActivationErrorKind, activated};
use socket2::{Domain, Socket, Type};

use crate::again::{is_child, run};

/// A good listener as 3, named `web`, and something else as 4, named `odd`.
const TWO: &str = "exec 3<&0 4<&1 </dev/null >&2; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:odd";

fn good() -> OwnedFd {
    TcpListener::bind("127.0.0.1:0").unwrap().into()
}

/// In the child: the error is about descriptor 4 and speaks of this.
fn expect(kind: ActivationErrorKind, words: &str) {
    let error = activated().unwrap_err();
    assert_eq!((error.kind(), error.descriptor(), error.name()), (kind, Some(4), Some("odd")));
    let text = error.to_string();
    assert!(text.contains("descriptor 4 (odd)") && text.contains(words), "{text}");
    let error = std::io::Error::from(error);
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(activated().unwrap().is_empty(), "it holds what was passed; nothing is left for a second call");
}

#[test]
fn a_datagram_socket() {
    const NAME: &str = "refused::a_datagram_socket";
    if is_child(NAME) {
        return expect(ActivationErrorKind::Datagram, "ListenStream= instead of ListenDatagram=");
    }
    run(NAME, TWO, good(), UdpSocket::bind("127.0.0.1:0").unwrap().into());
}

#[test]
fn a_connection() {
    const NAME: &str = "refused::a_connection";
    if is_child(NAME) {
        return expect(ActivationErrorKind::Connection, "Accept=no");
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (connection, _) = listener.accept().unwrap();
    run(NAME, TWO, good(), connection.into());
    drop(client);
}

#[test]
fn a_file() {
    const NAME: &str = "refused::a_file";
    if is_child(NAME) {
        return expect(ActivationErrorKind::NotASocket, "not a socket");
    }
    run(NAME, TWO, good(), File::open("/dev/null").unwrap().into());
}

#[test]
fn a_socket_of_sequenced_packets() {
    const NAME: &str = "refused::a_socket_of_sequenced_packets";
    if is_child(NAME) {
        return expect(ActivationErrorKind::NotAStream, "ListenStream=");
    }
    let socket = Socket::new(Domain::UNIX, Type::from(libc::SOCK_SEQPACKET), None).unwrap();
    run(NAME, TWO, good(), socket.into());
}

#[test]
fn a_socket_on_which_nobody_called_listen() {
    const NAME: &str = "refused::a_socket_on_which_nobody_called_listen";
    if is_child(NAME) {
        return expect(ActivationErrorKind::NotListening, "does not listen");
    }
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    run(NAME, TWO, good(), socket.into());
}

#[test]
fn a_descriptor_that_is_not_open() {
    const NAME: &str = "refused::a_descriptor_that_is_not_open";
    if is_child(NAME) {
        return expect(ActivationErrorKind::NotOpen, "not open");
    }
    run(NAME, &format!("{TWO}; exec 4<&-"), good(), good());
}

#[test]
fn a_descriptor_that_this_process_opened() {
    const NAME: &str = "refused::a_descriptor_that_this_process_opened";
    if is_child(NAME) {
        // Nothing was passed as 4, so that the next to be opened is it.
        let mut opened = Vec::new();
        while opened.last().is_none_or(|file: &File| std::os::fd::AsRawFd::as_raw_fd(file) < 4) {
            opened.push(File::open("/dev/null").unwrap());
        }
        expect(ActivationErrorKind::NotInherited, "was not passed");
        return assert!(opened.iter().all(|file| file.metadata().is_ok()), "and it stays open");
    }
    run(NAME, &format!("{TWO}; exec 4<&-"), good(), good());
}

#[test]
fn names_that_do_not_fit_the_number() {
    const NAME: &str = "refused::names_that_do_not_fit_the_number";
    if is_child(NAME) {
        let error = activated().unwrap_err();
        assert_eq!((error.kind(), error.descriptor()), (ActivationErrorKind::Variable, None));
        return assert!(error.to_string().contains("LISTEN_FDNAMES is \"one\""), "{error}");
    }
    run(NAME, &format!("{TWO} LISTEN_FDNAMES=one"), good(), good());
}
