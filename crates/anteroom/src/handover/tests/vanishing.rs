//! Either side is killed at each of its steps: the other one serves on with all that it holds.

use super::fakes::{Play, answered, assert_owned_once, die_at, old};
use crate::handover::{
    HandoverErrorKind,
    message::MAX_DESCRIPTORS,
    steps::{Side, Step},
};

const LISTENERS: usize = 70;
const CONNECTIONS: usize = 150;

/// The steps of one side that every exchange comes to.
fn steps_of(side: Side) -> impl Iterator<Item = Step> {
    let in_trouble = [Step::GivingUp, Step::EarClosed, Step::LosingPatience, Step::DeafEar];
    let all = Step::ALL.iter().copied();
    all.filter(move |step| step.side() == side && !in_trouble.contains(step))
}

#[test]
fn when_the_old_one_dies_the_new_one_has_all_that_came() {
    for step in steps_of(Side::Old) {
        let (old, clients) = old(LISTENERS, CONNECTIONS);
        let mut play = Play::of(&old);
        let dying = old.clone();
        play.at_old = die_at(step, move || dying.die());
        let new = play.new.clone();
        let (_, taken) = play.run();
        let came = match step {
            Step::Began => {
                // Nothing had been offered: there is nothing to serve.
                assert!(matches!(taken.unwrap_err().kind(), HandoverErrorKind::Vanished { .. }));
                assert!(!new.state().begun);
                continue;
            }
            Step::SentConnections | Step::GotTaken | Step::LetGo => MAX_DESCRIPTORS,
            Step::SentDone | Step::GotAlone | Step::HandedOver => CONNECTIONS,
            _ => 0,
        };
        taken.unwrap();
        new.assert_alone(LISTENERS, came);
        assert_eq!(answered(&new.state().room, &clients), (came, CONNECTIONS - came), "{step:?}");
    }
}

#[test]
fn when_the_new_one_dies_the_old_one_serves_on_with_all_that_was_not_taken() {
    for step in steps_of(Side::New) {
        let (old, clients) = old(LISTENERS, CONNECTIONS);
        let mut play = Play::of(&old);
        let new = play.new.clone();
        play.at_new = die_at(step, {
            let new = new.clone();
            move || new.die()
        });
        let (given, _) = play.run();
        let taken = match step {
            Step::SentAlone => {
                // It had everything when it died, and had said so.
                assert!(given.is_ok());
                assert_eq!(old.state().room.len(), 0);
                continue;
            }
            // All who waited, but not the listeners.
            Step::GotDone => CONNECTIONS,
            Step::SentTaken | Step::Admitted => MAX_DESCRIPTORS,
            _ => 0,
        };
        let error = given.unwrap_err();
        assert!(matches!(error.kind(), HandoverErrorKind::Vanished { .. }), "{step:?}: {error}");
        old.assert_serves_on(LISTENERS, CONNECTIONS - taken);
        assert_owned_once(&old, &new);
        assert_eq!(answered(&old.state().room, &clients), (CONNECTIONS - taken, taken), "{step:?}");
    }
}
