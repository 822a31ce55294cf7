//! Upgrades with real children: this very program, told by a variable to be a successor.

use std::{
    env,
    future::Future,
    io::{Read, Write},
    net::TcpStream,
    os::{fd::OwnedFd, unix::net::UnixStream},
    pin::pin,
    process::{Command, Stdio},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use anteroom_listener::Stream;

use super::fakes::{New, PATIENCE, SHORT, old};
use crate::handover::{HandoverErrorKind, Predecessor, succeed, upgrade};

/// By this variable the child knows what to be.
const ROLE: &str = "ANTEROOM_TEST_ROLE";

fn program(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "handover::tests::upgrades::the_new_program", "--nocapture"]);
    command.env(ROLE, role).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Not a test of its own: what a child does.
#[test]
fn the_new_program() {
    let Ok(role) = env::var(ROLE) else { return };
    let mut predecessor = Predecessor::inherited().unwrap().expect("somebody started this");
    assert!(Predecessor::inherited().unwrap().is_none(), "only the first call finds it");
    let new = New::default();
    let names: Vec<_> = predecessor.names().map(str::to_owned).collect();
    for name in &names {
        if role == "leaves the first out" && name == "listener-0" {
            continue;
        }
        new.state().listeners.extend(predecessor.take(name));
    }
    succeed(predecessor, Box::new(new.clone()), None).unwrap();
    while !new.is_over() {
        thread::yield_now();
    }
    let failed = new.state().failed.take();
    assert_eq!(failed, None, "the test's runner ends with 101 for it");
    for connection in new.state().room.drain(..) {
        let Stream::Unix(mut stream) = connection.stream else { panic!("a Unix socket") };
        stream.write_all(b"waited").unwrap();
    }
    let listeners = std::mem::take(&mut new.state().listeners);
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Ok(accepted) = listeners[0].accept() {
            let Stream::Tcp(mut stream) = accepted.stream else { panic!("a TCP socket") };
            stream.write_all(b"queued").unwrap();
            return;
        }
        thread::yield_now();
    }
    panic!("nobody came");
}

#[test]
fn a_new_program_takes_the_listeners_and_who_waits() {
    let (old, clients) = old(3, 2);
    let address = old.state().listeners[0].local_addr().tcp().unwrap();
    let mut queued = TcpStream::connect(address).unwrap();
    let upgraded = upgrade(Box::new(old.clone()), program("serves"), PATIENCE).wait().unwrap();
    assert_eq!(upgraded.handed_over(), 2);
    assert!(upgraded.kept().is_none());
    assert_eq!(old.state().handed_over, Some(vec![]));
    assert_eq!(old.state().over, 1);
    assert_eq!(old.state().failures, []);
    for mut client in &clients {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"waited");
    }
    let mut answer = [0; 6];
    queued.set_read_timeout(Some(PATIENCE)).unwrap();
    queued.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"queued");
    // It was left alone, so it is this test's to reap.
    let pid = rustix::process::Pid::from_raw(i32::try_from(upgraded.pid()).unwrap()).unwrap();
    let (_, status) =
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(0));
}

#[test]
fn a_program_that_ends_at_once_changes_nothing_and_its_end_is_told() {
    let (old, _clients) = old(2, 3);
    let error = upgrade(Box::new(old.clone()), Command::new("false"), PATIENCE).wait().unwrap_err();
    let vanished = HandoverErrorKind::Vanished { status: Some("exit status: 1".into()) };
    assert_eq!(error.kind(), &vanished, "{error}");
    old.assert_serves_on(2, 3);
    assert_eq!(old.state().failures, [(vanished, true)]);
}

#[test]
fn a_program_that_is_not_there_changes_nothing() {
    let (old, _clients) = old(2, 3);
    let upgrade = upgrade(Box::new(old.clone()), Command::new("/nowhere/to/be/found"), PATIENCE);
    let error = upgrade.wait().unwrap_err();
    assert_eq!(error.kind(), &HandoverErrorKind::Spawn);
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::NotFound);
    old.assert_serves_on(2, 3);
}

#[test]
fn a_program_that_hangs_is_killed_and_changes_nothing() {
    let (old, _clients) = old(2, 3);
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut command = Command::new("sleep");
    command.arg("600").stdout(OwnedFd::from(theirs));
    let error = upgrade(Box::new(old.clone()), command, SHORT).wait().unwrap_err();
    assert_eq!(error.kind(), &HandoverErrorKind::TimedOut);
    old.assert_serves_on(2, 3);
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(ours.read(&mut [0]).unwrap(), 0, "nobody has the other end any more");
}

#[test]
fn a_program_that_lacks_a_listener_is_refused_and_reaped() {
    let (old, _clients) = old(2, 3);
    let upgrade = upgrade(Box::new(old.clone()), program("leaves the first out"), PATIENCE);
    let error = upgrade.wait().unwrap_err();
    assert_eq!(error.kind(), &HandoverErrorKind::LeftOut { listener: "listener-0".into() });
    old.assert_serves_on(2, 3);
}

#[test]
fn a_server_that_drains_starts_nobody() {
    let (old, _) = old(1, 0);
    old.state().draining = Some("it drains");
    let error = upgrade(Box::new(old.clone()), Command::new("/nowhere"), PATIENCE).wait().unwrap_err();
    assert_eq!(error.kind(), &HandoverErrorKind::NotNow { reason: "it drains" });
    assert_eq!(old.state().over, 0, "nothing was begun");
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn an_upgrade_can_be_awaited_without_any_runtime() {
    let (old, _) = old(1, 0);
    let mut upgrade = pin!(upgrade(Box::new(old), Command::new("false"), PATIENCE));
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let answer = loop {
        match upgrade.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => break answer,
            Poll::Pending => thread::park_timeout(PATIENCE),
        }
    };
    assert!(matches!(answer.unwrap_err().kind(), HandoverErrorKind::Vanished { .. }));
}

#[test]
fn a_dropped_upgrade_goes_on() {
    let (old, _) = old(1, 0);
    drop(upgrade(Box::new(old.clone()), Command::new("false"), PATIENCE));
    let start = Instant::now();
    while old.state().over == 0 {
        assert!(start.elapsed() < PATIENCE, "it is not over");
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(old.state().failures.len(), 1);
}
