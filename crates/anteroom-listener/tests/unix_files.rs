//! The file of a Unix socket: made, guarded, replaced when dead, removed when ours.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{
    fs,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{PermissionsExt, symlink},
            net::{UnixDatagram, UnixListener, UnixStream},
        },
    },
    path::Path,
};

use anteroom_listener::{Address, BindErrorKind, Listener, UnixAddress};
use anteroom_testkit::{Scratch, descriptors, isolated};

fn at(path: &Path) -> Address {
    Address::Unix(UnixAddress::Path(path.to_owned()))
}

#[test]
fn the_file_is_there_while_the_listener_is() {
    let scratch = Scratch::new();
    let name = scratch.join("a.sock");
    let listener = Listener::bind(at(&name)).unwrap();
    assert_eq!(listener.local_addr(), &at(&name));
    assert_eq!(listener.name(), format!("unix:{}", name.display()));
    UnixStream::connect(&name).unwrap();
    listener.accept().unwrap();
    listener.close();
    assert!(!name.exists());
}

#[test]
fn the_file_has_the_mode_that_was_asked_for() {
    let scratch = Scratch::new();
    for mode in [0o600, 0o666, 0o777] {
        let name = scratch.join(&format!("{mode:o}.sock"));
        let _listener = Listener::builder().mode(mode).bind(at(&name)).unwrap();
        assert_eq!(fs::metadata(&name).unwrap().permissions().mode() & 0o777, mode);
    }
}

#[test]
fn the_file_stays_if_it_is_to_be_kept_or_the_listener_is_passed_on() {
    let scratch = Scratch::new();
    let kept = scratch.join("kept.sock");
    Listener::builder().keep_socket_file().bind(at(&kept)).unwrap().close();
    assert!(kept.exists());
    let passed = scratch.join("passed.sock");
    let fd = OwnedFd::from(Listener::bind(at(&passed)).unwrap());
    UnixStream::connect(&passed).unwrap();
    drop(fd);
    assert!(passed.exists());
}

#[test]
fn what_could_not_be_made_leaves_no_file() {
    let scratch = Scratch::new();
    let name = scratch.join("a.sock");
    // More than any kernel grants; where it does not tell what it granted, strict fails too.
    let strict = Listener::builder().backlog(u32::MAX).strict_backlog();
    for builder in [strict.clone(), strict.keep_socket_file()] {
        builder.bind(at(&name)).unwrap_err();
        assert!(!name.exists());
    }
}

#[test]
fn a_file_that_somebody_else_has_put_there_is_not_removed() {
    let scratch = Scratch::new();
    let name = scratch.join("a.sock");
    let first = Listener::bind(at(&name)).unwrap();
    // Renamed over, so that both exist at once and cannot have the same inode.
    let other = UnixListener::bind(scratch.join("b.sock")).unwrap();
    fs::rename(scratch.join("b.sock"), &name).unwrap();
    drop(first);
    UnixStream::connect(&name).unwrap();
    drop(other);
}

#[test]
fn a_dead_socket_s_file_is_replaced() {
    let scratch = Scratch::new();
    let name = scratch.join("a.sock");
    drop(UnixListener::bind(&name).unwrap());
    assert!(name.exists());
    let listener = Listener::bind(at(&name)).unwrap();
    UnixStream::connect(&name).unwrap();
    listener.accept().unwrap();
}

#[test]
fn a_living_one_is_not() {
    let scratch = Scratch::new();
    let name = scratch.join("a.sock");
    let first = Listener::builder().backlog(1).bind(at(&name)).unwrap();
    // The first attempt leaves a connection in the queue, so the later ones find it filling up, then full.
    for _ in 0..4 {
        let error = Listener::bind(at(&name)).unwrap_err();
        assert_eq!(error.kind(), &BindErrorKind::AddressInUse, "{error}");
        assert!(name.exists());
    }
    first.accept().unwrap();
    let datagrams = scratch.join("d.sock");
    let _datagrams = UnixDatagram::bind(&datagrams).unwrap();
    assert_eq!(Listener::bind(at(&datagrams)).unwrap_err().kind(), &BindErrorKind::AddressInUse);
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let scratch = Scratch::new();
    let file = scratch.join("precious");
    fs::write(&file, "precious").unwrap();
    let link = scratch.join("link.sock");
    drop(UnixListener::bind(scratch.join("dead.sock")).unwrap());
    symlink(scratch.join("dead.sock"), &link).unwrap();
    for path in [&file, &link, &scratch.path().to_owned()] {
        let error = Listener::bind(at(path)).unwrap_err();
        assert_eq!(error.kind(), &BindErrorKind::NotASocket, "{error}");
        assert!(path.symlink_metadata().is_ok());
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn the_file_is_found_again_from_another_directory() {
    isolated(|| {
        let scratch = Scratch::new();
        std::env::set_current_dir(scratch.path()).unwrap();
        let listener = Listener::bind("unix:relative.sock").unwrap();
        let name = scratch.join("relative.sock");
        assert!(name.exists());
        std::env::set_current_dir("/").unwrap();
        drop(listener);
        assert!(!name.exists());
    });
}

#[test]
fn a_name_that_cannot_be_bound_says_why() {
    for text in ["unix:", "unix:@", &format!("unix:/{}", "x".repeat(200))] {
        if text == "unix:@" && cfg!(target_os = "linux") {
            // An abstract name of no bytes is a name to Linux.
            continue;
        }
        let error = Listener::bind(text).unwrap_err();
        assert_eq!(error.kind(), &BindErrorKind::UnixName, "{error}");
    }
    let error = Listener::bind("unix:/no/such/directory/a.sock").unwrap_err();
    assert_eq!(error.kind(), &BindErrorKind::Other);
    assert!(error.to_string().ends_with("the directory of the socket does not exist"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_has_no_file() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("anteroom-{}", std::process::id());
    let listener = Listener::bind(format!("unix:@{name}")).unwrap();
    assert_eq!(listener.local_addr(), &Address::Unix(UnixAddress::Abstract(name.clone().into_bytes())));
    let to = std::os::unix::net::SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
    UnixStream::connect_addr(&to).unwrap();
    let accepted = listener.accept().unwrap();
    assert_eq!(&accepted.stream.local_addr().unwrap(), listener.local_addr());
    assert_eq!(Listener::bind(listener.local_addr()).unwrap_err().kind(), &BindErrorKind::AddressInUse);
}

#[test]
fn every_descriptor_is_given_back() {
    isolated(|| {
        let scratch = Scratch::new();
        let before = descriptors();
        for round in 0..10 {
            let name = scratch.join(&format!("{round}.sock"));
            let unix = Listener::bind(at(&name)).unwrap();
            let tcp = Listener::bind("127.0.0.1:0").unwrap();
            let _ = (unix.queue(), tcp.queue(), tcp.census());
            let _ = Listener::bind(at(&name));
            let _ = Listener::bind(tcp.local_addr());
        }
        assert_eq!(descriptors(), before);
    });
}
