//! The other side is no program of this library, or lies: a clear error, and nothing has changed.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, UdpSocket},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use super::{
    Hook,
    fakes::{self, New, PATIENCE, SHORT, nobody, old, start_giving, start_taking},
};
use crate::handover::{
    HandoverError, HandoverErrorKind, Predecessor,
    channel::Channel,
    message::{Entry, MAX_DESCRIPTORS, Message, Offered},
    steps::Side,
};

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/handover");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect()
}

fn offer(names: &[&str], more: bool) -> Message {
    let offered = |name: &&str| Offered { name: (*name).into(), address: String::new(), exclusive: false };
    Message::Offer { listeners: names.iter().map(offered).collect(), more }
}

fn listener() -> OwnedFd {
    TcpListener::bind("127.0.0.1:0").unwrap().into()
}

/// What a new side makes of a predecessor that acts so and then closes.
fn offered_by(act: impl FnOnce(&mut Channel)) -> Result<Predecessor, HandoverError> {
    let (one, other) = UnixStream::pair().unwrap();
    let mut channel = Channel::new(one.into(), Side::Old, PATIENCE);
    act(&mut channel);
    drop(channel);
    Predecessor::listen_to(Channel::new(other.into(), Side::New, PATIENCE), nobody())
}

/// What an old side makes of a successor that acts so and then closes; it must serve on.
fn asked_by(act: impl FnOnce(&mut Channel)) -> HandoverError {
    let (old, _clients) = old(2, 3);
    let (one, other) = UnixStream::pair().unwrap();
    let giving = start_giving(&old, one, PATIENCE, Hook::default());
    let mut channel = Channel::new(other.into(), Side::New, PATIENCE);
    act(&mut channel);
    drop(channel);
    let error = giving.join().unwrap().unwrap_err();
    old.assert_serves_on(2, 3);
    assert_eq!(old.state().passed_on, 0);
    error
}

fn is_malformed(error: &HandoverError, words: &str) -> bool {
    matches!(error.kind(), HandoverErrorKind::Malformed { .. }) && error.to_string().contains(words)
}

fn is_out_of_order(error: &HandoverError, came: &str) -> bool {
    matches!(error.kind(), HandoverErrorKind::OutOfOrder { got, .. } if *got == came)
}

fn raw(socket: &mut UnixStream, bytes: &[u8]) {
    // The other side may have closed at the first wrong byte.
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
}

#[test]
fn no_file_of_the_corpus_is_an_offer_that_can_be_taken() {
    for (name, bytes) in corpus() {
        let (mut one, other) = UnixStream::pair().unwrap();
        raw(&mut one, &bytes);
        let answer = Predecessor::listen_to(Channel::new(other.into(), Side::New, PATIENCE), nobody());
        if name.ends_with("valid-offer-empty") {
            assert_eq!(answer.unwrap().names().count(), 0);
        } else {
            // Those with descriptors come without them.
            let error = answer.unwrap_err();
            assert!(!matches!(error.kind(), HandoverErrorKind::TimedOut), "{name}: {error}");
        }
    }
}

#[test]
fn no_file_of_the_corpus_moves_an_old_side() {
    for (name, bytes) in corpus() {
        let (old, _clients) = old(2, 3);
        let (one, mut other) = UnixStream::pair().unwrap();
        let giving = start_giving(&old, one, PATIENCE, Hook::default());
        raw(&mut other, &bytes);
        let error = giving.join().unwrap().unwrap_err();
        assert!(!matches!(error.kind(), HandoverErrorKind::TimedOut), "{name}: {error}");
        old.assert_serves_on(2, 3);
    }
}

#[test]
fn an_offer_with_descriptors_that_do_not_fit_is_refused() {
    let one = listener();
    let fits = |channel: &mut Channel| channel.send(&offer(&["a"], false), &[one.as_fd()]).unwrap();
    assert_eq!(offered_by(fits).unwrap().names().collect::<Vec<_>>(), ["a"]);

    let missing = |channel: &mut Channel| channel.send(&offer(&["a", "b"], false), &[one.as_fd()]).unwrap();
    let error = offered_by(missing).unwrap_err();
    assert!(is_malformed(&error, "1 descriptors came with a message that says 2"), "{error}");

    let over = |channel: &mut Channel| channel.send(&offer(&[], false), &[one.as_fd()]).unwrap();
    let error = offered_by(over).unwrap_err();
    assert!(is_malformed(&error, "1 descriptors came with a message that says 0"), "{error}");

    let twice = |channel: &mut Channel| {
        channel.send(&offer(&["a", "a"], false), &[one.as_fd(), one.as_fd()]).unwrap();
    };
    let error = offered_by(twice).unwrap_err();
    assert!(is_malformed(&error, "twice"), "{error}");
}

#[test]
fn more_descriptors_than_a_message_may_have_are_cut_off_and_refused() {
    let (one, other) = UnixStream::pair().unwrap();
    let frame = offer(&["a"], false).encode().unwrap();
    let descriptors = vec![one.as_fd(); MAX_DESCRIPTORS + 20];
    let mut space = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(200))];
    let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
    assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&descriptors)));
    let bytes = [std::io::IoSlice::new(&frame)];
    rustix::net::sendmsg(&one, &bytes, &mut control, rustix::net::SendFlags::empty()).unwrap();
    let answer = Predecessor::listen_to(Channel::new(other.into(), Side::New, PATIENCE), nobody());
    let error = answer.unwrap_err();
    assert!(is_malformed(&error, "cut off"), "{error}");
}

#[test]
fn an_offer_of_what_does_not_listen_is_refused_and_closed() {
    let (mut kept, passed) = UnixStream::pair().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    for descriptor in [passed.as_fd(), udp.as_fd()] {
        let wrong = |channel: &mut Channel| channel.send(&offer(&["a"], false), &[descriptor]).unwrap();
        let error = offered_by(wrong).unwrap_err();
        assert_eq!(error.kind(), &HandoverErrorKind::Descriptor { listener: "a".into() });
        assert!(std::error::Error::source(&error).is_some());
    }
    drop(passed);
    kept.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(kept.read(&mut [0]).unwrap(), 0, "the copy that was passed is closed too");
}

#[test]
fn offers_without_end_or_out_of_order_are_refused() {
    let error = offered_by(|channel| channel.send(&offer(&[], true), &[]).unwrap()).unwrap_err();
    assert!(is_malformed(&error, "empty part"), "{error}");
    for (message, name) in [(Message::Go {}, "go"), (Message::Done {}, "done"), (Message::Hello {}, "hello")]
    {
        let error = offered_by(|channel| channel.send(&message, &[]).unwrap()).unwrap_err();
        assert!(is_out_of_order(&error, name), "{error}");
    }
    let half = |channel: &mut Channel| channel.send(&offer(&["a"], true), &[listener().as_fd()]).unwrap();
    let error = offered_by(half).unwrap_err();
    assert!(matches!(error.kind(), HandoverErrorKind::Vanished { .. }), "{error}");
}

/// A new side that has the offer and waits for `Go`, and a predecessor that acts so.
fn started_by(within: Duration, act: impl FnOnce(&mut Channel) + Send) -> New {
    let (one, other) = UnixStream::pair().unwrap();
    let mut channel = Channel::new(one.into(), Side::Old, PATIENCE);
    channel.send(&offer(&["a"], false), &[listener().as_fd()]).unwrap();
    let new = New::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            start_taking(&new, Channel::new(other.into(), Side::New, PATIENCE), None, within).unwrap();
        });
        assert!(matches!(channel.receive().unwrap().0, Message::Ready { .. }));
        act(&mut channel);
        if within == PATIENCE {
            drop(channel);
        } else {
            // Silent, and there: the end is the other side's.
            assert!(matches!(channel.receive().unwrap().0, Message::Failed { .. }));
        }
    });
    new
}

#[test]
fn what_is_not_go_makes_nobody_accept() {
    for message in [offer(&["a"], false), Message::Done {}, Message::Serving {}] {
        let (descriptors, count) = (listener(), message.descriptors());
        let attached = vec![descriptors.as_fd(); count];
        let new = started_by(PATIENCE, |channel| channel.send(&message, &attached).unwrap());
        let new = new.state();
        assert!(!new.begun);
        assert!(matches!(new.failed, Some(HandoverErrorKind::OutOfOrder { .. })));
    }
    let new = started_by(SHORT, |_| {});
    assert!(!new.state().begun);
    assert_eq!(new.state().failed, Some(HandoverErrorKind::TimedOut));
}

#[test]
fn go_again_or_connections_that_are_none_end_a_new_side_that_serves() {
    let entry = |listener: &str, peer: &str| Entry {
        listener: listener.into(),
        peer: peer.into(),
        kernel_wait_us: None,
        since_handshake_us: 0,
        accepted_ago_us: 0,
    };
    let (mut kept, passed) = UnixStream::pair().unwrap();
    let connections = |entry| Message::Connections { entries: vec![entry] };
    let table = [
        (Message::Go {}, "go came where"),
        (Message::Ready { taken: vec![], left: vec![], more: false }, "ready came where"),
        (connections(entry("b", "unix")), "a listener that was not taken"),
        (connections(entry("a", "127.0.0.1:1")), "the descriptor that came for a"),
    ];
    for (message, words) in table {
        let attached = vec![passed.as_fd(); message.descriptors()];
        let new = started_by(PATIENCE, |channel| {
            channel.send(&Message::Go {}, &[]).unwrap();
            assert_eq!(channel.receive().unwrap().0, Message::Serving {});
            channel.send(&message, &attached).unwrap();
            assert!(matches!(channel.receive().unwrap().0, Message::Failed { .. }));
        });
        let new = new.state();
        assert!(new.begun);
        assert_eq!((new.room.len(), new.over), (0, 0));
        let failed = new.failed.as_ref().unwrap().to_string();
        assert!(failed.contains(words), "{failed}");
    }
    drop(passed);
    kept.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(kept.read(&mut [0]).unwrap(), 0, "no copy of what was refused is left");
}

fn ready(taken: &[&str], left: &[&str]) -> Message {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Message::Ready { taken: names(taken), left: names(left), more: false }
}

#[test]
fn an_answer_that_does_not_fit_the_offer_is_refused() {
    let (a, b) = ("listener-0", "listener-1");
    let table = [
        (ready(&[a], &[]), "left out the listener listener-1"),
        (ready(&[], &[]), "left out the listener listener-0"),
        (ready(&[a, "c"], &[]), "left out the listener listener-1"),
        (ready(&[a, b, "c"], &[]), "more listeners than were offered"),
        (ready(&[a], &[a]), "left out the listener listener-1"),
        (Message::Ready { taken: vec![], left: vec![], more: true }, "empty part"),
        (Message::Serving {}, "serving came where ready was awaited"),
        (Message::Taken { count: 0 }, "taken came where ready was awaited"),
        (Message::Abort { reason: "no".into() }, "refused: no"),
        (Message::Failed { reason: "the port is taken".into() }, "refused: the port is taken"),
    ];
    for (message, words) in table {
        let error = asked_by(|channel| {
            assert!(matches!(channel.receive().unwrap().0, Message::Offer { .. }));
            channel.send(&message, &[]).unwrap();
            assert!(matches!(channel.receive().unwrap().0, Message::Abort { .. }));
        });
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn descriptors_where_none_belong_are_refused_and_closed() {
    let (mut kept, passed) = UnixStream::pair().unwrap();
    let error = asked_by(|channel| {
        channel.receive().unwrap();
        channel.send(&ready(&["listener-0", "listener-1"], &[]), &[passed.as_fd()]).unwrap();
        assert!(matches!(channel.receive().unwrap().0, Message::Abort { .. }));
    });
    assert!(is_malformed(&error, "1 descriptors came with a message that says 0"), "{error}");
    drop(passed);
    kept.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(kept.read(&mut [0]).unwrap(), 0);
}

#[test]
fn answers_out_of_order_give_everything_back() {
    let to_serving = |channel: &mut Channel| {
        channel.receive().unwrap();
        channel.send(&ready(&["listener-0", "listener-1"], &[]), &[]).unwrap();
        assert_eq!(channel.receive().unwrap().0, Message::Go {});
    };
    let error = asked_by(|channel| {
        to_serving(channel);
        channel.send(&ready(&["listener-0", "listener-1"], &[]), &[]).unwrap();
        assert!(matches!(channel.receive().unwrap().0, Message::Abort { .. }));
    });
    assert!(is_out_of_order(&error, "ready"), "{error}");
    for wrong in [Message::Taken { count: 2 }, Message::Taken { count: usize::MAX }, Message::Serving {}] {
        let error = asked_by(|channel| {
            to_serving(channel);
            channel.send(&Message::Serving {}, &[]).unwrap();
            assert!(matches!(channel.receive().unwrap().0, Message::Connections { .. }));
            channel.send(&wrong, &[]).unwrap();
            assert!(matches!(channel.receive().unwrap().0, Message::Abort { .. }));
        });
        assert!(is_malformed(&error, "connections of 3") || is_out_of_order(&error, "serving"), "{error}");
    }
}

#[test]
fn a_silent_successor_has_no_more_time_than_was_given() {
    let (old, _clients) = fakes::old(2, 3);
    let (one, other) = UnixStream::pair().unwrap();
    let error = start_giving(&old, one, SHORT, Hook::default()).join().unwrap().unwrap_err();
    assert_eq!(error.kind(), &HandoverErrorKind::TimedOut);
    old.assert_serves_on(2, 3);
    // It learns why.
    let mut channel = Channel::new(other.into(), Side::New, PATIENCE);
    assert!(matches!(channel.receive().unwrap().0, Message::Offer { .. }));
    assert!(matches!(channel.receive().unwrap().0, Message::Abort { .. }));
}
