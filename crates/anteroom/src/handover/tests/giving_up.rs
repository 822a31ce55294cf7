//! One side has no more time while the other is slow: whatever is under way at that moment, both agree on what was
//! said.

use std::{
    os::unix::net::UnixStream,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use super::{
    Fate, Hook,
    fakes::{New, Old, PATIENCE, Play, SHORT, assert_owned_once, old},
};
use crate::handover::{HandoverError, HandoverErrorKind, give::Given, message::MAX_DESCRIPTORS, steps::Step};

const CONNECTIONS: usize = 100;

/// One side waits at a step until the other has come to one of its own.
struct Meeting {
    waits_at: Step,
    until: Step,
    /// The other one waits there too, until the first has come to this step.
    then: Option<Step>,
}

impl Meeting {
    /// The hook of who waits, and the hook of the other.
    fn hooks(self) -> (Hook, Hook) {
        let (go, may_go) = sync_channel(1);
        let (there, is_there) = sync_channel(1);
        let slow = self.slow(may_go, there);
        let other = Hook::new(move |step| {
            if step == self.until {
                go.send(()).unwrap();
                if self.then.is_some() {
                    is_there.recv_timeout(PATIENCE).unwrap();
                }
            }
            Fate::Live
        });
        (slow, other)
    }

    fn slow(&self, may_go: Receiver<()>, there: SyncSender<()>) -> Hook {
        let (waits_at, then) = (self.waits_at, self.then);
        let mut has_waited = false;
        Hook::new(move |step| {
            if step == waits_at && !has_waited {
                has_waited = true;
                may_go.recv_timeout(PATIENCE).unwrap();
            }
            if Some(step) == then {
                // It is full after the first time, and nobody listens any more.
                let _ = there.try_send(());
            }
            Fate::Live
        })
    }
}

/// Which side waits for the other. The other's time is short.
enum Slow {
    Old,
    New,
}

/// How such an exchange went.
struct Played {
    old: Old,
    new: New,
    given: Result<Given, HandoverError>,
    _clients: Vec<UnixStream>,
}

fn play(slow: Slow, connections: usize, meeting: Meeting) -> Played {
    let (old, clients) = old(3, connections);
    let mut play = Play::of(&old);
    let hooks = meeting.hooks();
    match slow {
        Slow::Old => {
            (play.at_old, play.at_new) = hooks;
            play.new_within = SHORT;
        }
        Slow::New => {
            (play.at_new, play.at_old) = hooks;
            play.old_within = SHORT;
        }
    }
    let new = play.new.clone();
    let (given, _) = play.run();
    Played { old, new, given, _clients: clients }
}

/// Tells whoever waits once this has happened.
fn once(happened: impl Fn() -> bool + Send + 'static, go: SyncSender<()>) -> JoinHandle<()> {
    thread::spawn(move || {
        while !happened() {
            thread::yield_now();
        }
        go.send(()).unwrap();
    })
}

#[test]
fn the_old_one_gives_up_before_ready_and_the_new_one_accepts_nobody() {
    let (old, _clients) = old(3, CONNECTIONS);
    let mut play = Play::of(&old);
    let (go, may_go) = sync_channel(1);
    let meeting = Meeting { waits_at: Step::Started, until: Step::GivingUp, then: None };
    play.at_new = meeting.slow(may_go, sync_channel(1).0);
    play.old_within = SHORT;
    let new = play.new.clone();
    // Before ready there is no ear to close: the answer is the end of the old side itself.
    let watching = old.clone();
    let watcher = once(move || watching.state().over > 0, go);
    let (given, taken) = play.run();
    watcher.join().unwrap();
    taken.unwrap();
    assert_eq!(given.unwrap_err().kind(), &HandoverErrorKind::TimedOut);
    old.assert_serves_on(3, CONNECTIONS);
    let new = new.state();
    assert!(!new.begun);
    let refused = HandoverErrorKind::Refused { reason: "the other process did not answer in time".into() };
    assert_eq!(new.failed, Some(refused));
}

#[test]
fn serving_that_comes_at_the_last_moment_is_honoured() {
    let Played { old, new, given, .. } = play(
        Slow::New,
        CONNECTIONS,
        Meeting { waits_at: Step::Begun, until: Step::GivingUp, then: Some(Step::SentServing) },
    );
    // There is no ear left to pass anybody on, so they are served where they are.
    let given = given.unwrap();
    assert_eq!(given.connections, 0);
    assert_eq!(given.kept.unwrap().kind(), &HandoverErrorKind::TimedOut);
    assert_eq!(old.state().handed_over, Some(vec![]));
    assert_eq!(old.state().room.len(), CONNECTIONS);
    new.assert_alone(3, 0);
}

#[test]
fn serving_that_comes_too_late_is_not_heard_and_the_new_one_knows() {
    let Played { old, new, given, .. } =
        play(Slow::New, CONNECTIONS, Meeting { waits_at: Step::Begun, until: Step::EarClosed, then: None });
    assert_eq!(given.unwrap_err().kind(), &HandoverErrorKind::TimedOut);
    old.assert_serves_on(3, CONNECTIONS);
    let new = new.state();
    assert!(new.begun);
    assert!(matches!(new.failed, Some(HandoverErrorKind::Refused { .. })));
    assert_eq!(new.over, 0);
}

#[test]
fn taken_that_comes_at_the_last_moment_is_honoured() {
    let Played { old, new, given, .. } = play(
        Slow::New,
        CONNECTIONS,
        Meeting { waits_at: Step::GotConnections, until: Step::GivingUp, then: Some(Step::SentTaken) },
    );
    let given = given.unwrap();
    assert_eq!(usize::try_from(given.connections), Ok(MAX_DESCRIPTORS));
    assert_eq!(given.kept.unwrap().kind(), &HandoverErrorKind::TimedOut);
    assert_eq!(old.state().handed_over, Some(vec![]));
    assert_eq!(old.state().passed_on, MAX_DESCRIPTORS);
    assert_eq!(old.state().room.len(), CONNECTIONS - MAX_DESCRIPTORS);
    new.assert_alone(3, MAX_DESCRIPTORS);
    assert_owned_once(&old, &new);
}

#[test]
fn taken_that_comes_too_late_leaves_the_connections_where_they_were() {
    let Played { old, new, given, .. } = play(
        Slow::New,
        CONNECTIONS,
        Meeting { waits_at: Step::GotConnections, until: Step::EarClosed, then: None },
    );
    assert_eq!(given.unwrap_err().kind(), &HandoverErrorKind::TimedOut);
    old.assert_serves_on(3, CONNECTIONS);
    assert_eq!(old.state().passed_on, 0);
    let new_state = new.state();
    assert_eq!(new_state.room.len(), 0);
    assert!(matches!(new_state.failed, Some(HandoverErrorKind::Refused { .. })));
}

#[test]
fn the_new_one_gives_up_before_go_and_accepts_nobody() {
    let (old, _clients) = old(3, CONNECTIONS);
    let mut play = Play::of(&old);
    let (go, may_go) = sync_channel(1);
    let meeting = Meeting { waits_at: Step::GotReady, until: Step::SentReady, then: None };
    play.at_old = meeting.slow(may_go, sync_channel(1).0);
    play.new_within = SHORT;
    let new = play.new.clone();
    let watching = new.clone();
    let watcher = once(move || watching.state().failed.is_some(), go);
    let (given, _) = play.run();
    watcher.join().unwrap();
    assert!(!new.state().begun);
    assert_eq!(new.state().failed, Some(HandoverErrorKind::TimedOut));
    given.unwrap_err();
    old.assert_serves_on(3, CONNECTIONS);
}

#[test]
fn done_that_comes_at_the_last_moment_is_honoured() {
    let Played { old, new, given, .. } = play(
        Slow::Old,
        0,
        Meeting { waits_at: Step::HeldBack, until: Step::LosingPatience, then: Some(Step::SentDone) },
    );
    given.unwrap();
    assert_eq!(old.state().handed_over, Some(vec![]));
    new.assert_alone(3, 0);
}

#[test]
fn done_that_comes_too_late_is_not_heard_and_the_old_one_knows() {
    let Played { old, new, given, .. } =
        play(Slow::Old, 0, Meeting { waits_at: Step::HeldBack, until: Step::DeafEar, then: None });
    given.unwrap_err();
    old.assert_serves_on(3, 0);
    let new = new.state();
    assert_eq!(new.failed, Some(HandoverErrorKind::TimedOut));
    assert_eq!(new.over, 0);
}

#[test]
fn connections_that_come_to_a_deaf_ear_stay_where_they_were() {
    let Played { old, new, given, .. } = play(
        Slow::Old,
        CONNECTIONS,
        Meeting { waits_at: Step::Exported, until: Step::LosingPatience, then: Some(Step::SentConnections) },
    );
    given.unwrap_err();
    old.assert_serves_on(3, CONNECTIONS);
    assert_eq!(new.state().room.len(), 0);
    assert_eq!(new.state().failed, Some(HandoverErrorKind::TimedOut));
}

#[test]
fn alone_that_comes_at_the_last_moment_is_honoured() {
    let Played { old, new, given, .. } = play(
        Slow::New,
        0,
        Meeting { waits_at: Step::GotDone, until: Step::GivingUp, then: Some(Step::SentAlone) },
    );
    given.unwrap();
    assert_eq!(old.state().handed_over, Some(vec![]));
    new.assert_alone(3, 0);
}

#[test]
fn alone_that_comes_too_late_is_not_heard_and_the_new_one_knows() {
    let Played { old, new, given, .. } =
        play(Slow::New, 0, Meeting { waits_at: Step::GotDone, until: Step::EarClosed, then: None });
    assert_eq!(given.unwrap_err().kind(), &HandoverErrorKind::TimedOut);
    old.assert_serves_on(3, 0);
    let new = new.state();
    assert!(matches!(new.failed, Some(HandoverErrorKind::Refused { .. })));
    assert_eq!(new.over, 0);
}
