//! The handover socket at its path: who is let in, one at a time, and whose the path is.

use std::{
    fs,
    io::Write,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Instant,
};

use anteroom_listener::Listener;

use super::fakes::{New, Old, PATIENCE, SHORT, nobody, old};
use crate::handover::{
    Estate, HandoverError, HandoverErrorKind, HandoverSocket, Predecessor,
    channel::Channel,
    message::Message,
    offer_on,
    steps::Side,
    succeed,
    succession::{Identity, Succession},
};

/// A directory of one test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("anteroom-door-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.join("handover.sock")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(old: &Old, path: &Path) -> Result<HandoverSocket, HandoverError> {
    let old = old.clone();
    offer_on(Arc::new(move || Box::new(old.clone()) as Box<dyn Estate>), path, PATIENCE)
}

/// Waits for what another thread brings about.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        thread::yield_now();
    }
}

/// The new side, from the path to the end, as a program would do it.
fn succeed_at(path: &Path) -> New {
    let mut predecessor = Predecessor::connect(path, PATIENCE).unwrap();
    let names: Vec<_> = predecessor.names().map(str::to_owned).collect();
    let new = New::default();
    new.state().listeners = names.iter().filter_map(|name| predecessor.take(name)).collect();
    succeed(predecessor, Box::new(new.clone()), Some(PATIENCE)).unwrap();
    eventually("the exchange is over", || new.is_over());
    new
}

#[test]
fn a_successor_that_connects_gets_everything_and_the_socket_is_gone() {
    let scratch = Scratch::new();
    let (old, _clients) = old(3, 70);
    let socket = open(&old, &scratch.path()).unwrap();
    assert_eq!(socket.path(), scratch.path());
    let metadata = fs::symlink_metadata(scratch.path()).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);

    succeed_at(&scratch.path()).assert_alone(3, 70);
    eventually("the old one has handed over", || old.state().over == 1);
    assert_eq!(old.state().handed_over, Some(vec![]));
    assert_eq!(old.state().failures, []);
    // The file is the successor's to replace.
    eventually("nobody is let in any more", || UnixStream::connect(scratch.path()).is_err());
    drop(socket);
}

#[test]
fn dropping_the_socket_removes_its_file() {
    let scratch = Scratch::new();
    let socket = open(&old(1, 0).0, &scratch.path()).unwrap();
    drop(socket);
    assert!(!scratch.path().exists());
    let error = Predecessor::connect(scratch.path(), PATIENCE).unwrap_err();
    assert_eq!(error.kind(), &HandoverErrorKind::Path);
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn one_who_only_looks_whether_anybody_listens_is_no_event() {
    let scratch = Scratch::new();
    let (old, _clients) = old(1, 5);
    let _socket = open(&old, &scratch.path()).unwrap();
    // As many as may speak at a time.
    for _ in 0..7 {
        UnixStream::connect(scratch.path()).unwrap();
    }
    succeed_at(&scratch.path()).assert_alone(1, 5);
    assert_eq!(old.state().failures, []);
}

#[test]
fn hostile_bytes_are_refused_in_words_and_a_successor_still_succeeds() {
    let scratch = Scratch::new();
    let (old, _clients) = old(2, 5);
    let _socket = open(&old, &scratch.path()).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/handover");
    let mut refused = 0;
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("valid-hello") || name == "refused-empty" {
            continue;
        }
        let mut guest = UnixStream::connect(scratch.path()).unwrap();
        // It may be sent away at the first wrong byte.
        let _ = guest.write_all(&fs::read(&file).unwrap());
        let _ = guest.shutdown(std::net::Shutdown::Write);
        refused += 1;
        eventually(&name, || old.state().failures.len() == refused);
        let (kind, reclaim) = old.state().failures.last().unwrap().clone();
        assert!(!reclaim, "{name}");
        let clear = matches!(
            kind,
            HandoverErrorKind::Malformed { .. }
                | HandoverErrorKind::OutOfOrder { .. }
                | HandoverErrorKind::Refused { .. }
        );
        assert!(clear, "{name}: {kind}");
    }
    assert_eq!(old.state().over, 0, "no exchange was begun");
    succeed_at(&scratch.path()).assert_alone(2, 5);
}

#[test]
fn a_second_successor_is_told_that_another_one_is_under_way() {
    let scratch = Scratch::new();
    let (old, _clients) = old(1, 5);
    let _socket = open(&old, &scratch.path()).unwrap();
    let first = Predecessor::connect(scratch.path(), PATIENCE).unwrap();
    let error = Predecessor::connect(scratch.path(), PATIENCE).unwrap_err();
    assert!(error.to_string().contains("refused: another handover is under way"), "{error}");
    let not_now = HandoverErrorKind::NotNow { reason: "another handover is under way" };
    eventually("it is noted", || old.state().failures.contains(&(not_now.clone(), false)));
    // The first one thinks better of it, and the old one notices that its listeners are let go.
    drop(first);
    eventually("the first is over", || old.state().over == 1);
    old.assert_serves_on(1, 5);
    let vanished = HandoverErrorKind::Vanished { status: None };
    assert!(old.state().failures.contains(&(vanished, true)));
    succeed_at(&scratch.path()).assert_alone(1, 5);
}

#[test]
fn a_server_that_drains_says_so() {
    let scratch = Scratch::new();
    let (old, _) = old(1, 0);
    old.state().draining = Some("it drains");
    let _socket = open(&old, &scratch.path()).unwrap();
    let error = Predecessor::connect(scratch.path(), PATIENCE).unwrap_err();
    assert!(error.to_string().contains("refused: it drains"), "{error}");
}

#[test]
fn a_successor_that_leaves_a_listener_out_is_refused_and_the_old_one_serves_on() {
    let scratch = Scratch::new();
    let (old, _clients) = old(2, 5);
    let _socket = open(&old, &scratch.path()).unwrap();
    let mut predecessor = Predecessor::connect(scratch.path(), PATIENCE).unwrap();
    let new = New::default();
    new.state().listeners.extend(predecessor.take("listener-1"));
    assert!(predecessor.take("listener-1").is_none(), "once each");
    assert!(predecessor.take("listener-7").is_none());
    succeed(predecessor, Box::new(new.clone()), None).unwrap();
    eventually("it is over", || old.state().over == 1);
    old.assert_serves_on(2, 5);
    let left_out = HandoverErrorKind::LeftOut { listener: "listener-0".into() };
    assert_eq!(old.state().failures, [(left_out, true)]);
    let refused = HandoverErrorKind::Refused { reason: "left out the listener listener-0".into() };
    assert_eq!(new.state().failed, Some(refused));
    assert!(!new.state().begun);
}

#[test]
fn somebody_else_s_path_is_left_alone() {
    let scratch = Scratch::new();
    let somebody = Listener::bind(format!("unix:{}", scratch.path().display()).as_str()).unwrap();
    let error = open(&old(1, 0).0, &scratch.path()).unwrap_err();
    assert_eq!(error.kind(), &HandoverErrorKind::Path);
    assert!(error.to_string().starts_with("cannot listen for successors"), "{error}");
    drop(somebody);
    fs::write(scratch.path(), "precious").unwrap();
    open(&old(1, 0).0, &scratch.path()).unwrap_err();
    assert_eq!(fs::read_to_string(scratch.path()).unwrap(), "precious");
}

#[test]
fn nobody_listens_for_longer_than_was_given() {
    let scratch = Scratch::new();
    let silent = Listener::bind(format!("unix:{}", scratch.path().display()).as_str()).unwrap();
    let error = Predecessor::connect(scratch.path(), SHORT).unwrap_err();
    assert_eq!(error.kind(), &HandoverErrorKind::TimedOut);
    // It has said hello, and then that it has lost patience.
    let mut guest = Channel::new(
        match silent.accept().unwrap().stream {
            anteroom_listener::Stream::Unix(stream) => stream.into(),
            other => panic!("{other:?}"),
        },
        Side::Old,
        PATIENCE,
    );
    assert_eq!(guest.receive().unwrap().0, Message::Hello {});
    assert!(matches!(guest.receive().unwrap().0, Message::Failed { .. }));
}

#[test]
fn a_chain_of_successors_keeps_one_path() {
    let scratch = Scratch::new();
    let (first, _clients) = old(1, 5);
    let _first_socket = open(&first, &scratch.path()).unwrap();
    let mut predecessor = Predecessor::connect(scratch.path(), PATIENCE).unwrap();
    // The second one listens for its own successors before it has succeeded itself.
    let (second, _) = old(1, 0);
    let second_socket = open(&second, &scratch.path()).unwrap();
    let new = New::default();
    new.state().listeners.extend(predecessor.take("listener-0"));
    let before = fs::symlink_metadata(scratch.path()).unwrap();
    succeed(predecessor, Box::new(new.clone()), None).unwrap();
    eventually("the second one has the path", || {
        let now = fs::symlink_metadata(scratch.path());
        now.is_ok_and(|now| {
            std::os::unix::fs::MetadataExt::ino(&now) != std::os::unix::fs::MetadataExt::ino(&before)
        })
    });
    eventually("the exchange is over", || new.is_over());
    new.assert_alone(1, 5);
    let mode = fs::symlink_metadata(scratch.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let third = succeed_at(&scratch.path());
    third.assert_alone(1, 0);
    eventually("the second has handed over", || second.state().handed_over.is_some());
    drop(second_socket);
    assert!(UnixStream::connect(scratch.path()).is_err(), "nobody listens behind the file");
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1, "and it is the only one");
}

#[test]
fn a_successor_that_fails_leaves_the_path_to_its_predecessor() {
    let scratch = Scratch::new();
    let (first, _clients) = old(1, 5);
    let _first_socket = open(&first, &scratch.path()).unwrap();
    let predecessor = Predecessor::connect(scratch.path(), PATIENCE).unwrap();
    let second_socket = open(&old(1, 0).0, &scratch.path()).unwrap();
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 2, "it waits beside");
    drop(predecessor);
    eventually("it has gone", || fs::read_dir(&scratch.0).unwrap().count() == 1);
    eventually("the first is over", || first.state().over == 1);
    drop(second_socket);
    succeed_at(&scratch.path()).assert_alone(1, 5);
}

#[test]
fn who_waits_beside_the_path_can_be_dropped() {
    let scratch = Scratch::new();
    let (first, _clients) = old(1, 5);
    let _first_socket = open(&first, &scratch.path()).unwrap();
    let probe = UnixStream::connect(scratch.path()).unwrap();
    let _under_way = Succession::begin(Identity::of(&probe, Some(&scratch.path())));
    drop(open(&old(1, 0).0, &scratch.path()).unwrap());
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
    drop(Succession::begin(nobody()));
}

#[test]
fn guests_beyond_the_most_wait_until_one_has_gone() {
    let scratch = Scratch::new();
    let (old, _clients) = old(1, 0);
    let _socket = open(&old, &scratch.path()).unwrap();
    let mut silent: Vec<_> = (0..8).map(|_| UnixStream::connect(scratch.path()).unwrap()).collect();
    let path = scratch.path();
    let ninth = thread::spawn(move || succeed_at(&path));
    silent.clear();
    ninth.join().unwrap().assert_alone(1, 0);
    assert_eq!(old.state().failures, []);
}
