//! The first-byte stage: who is silent stands outside, for a while.

use super::*;
use crate::admit::FirstByte;

fn listening() -> Config {
    Config { first_byte: Some(FirstByte::within(millis(500)).max_silent(3)), ..plain() }
}

fn silent(admission: &Admission<u32>) -> Token {
    match admission {
        Admission::Silent(token, None) => *token,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_the_stage_a_silent_one_waits_like_the_others() {
    let mut hall = Hall::new(&plain());
    assert_eq!(hall.come_silent(1, 1), Admission::Waits);
    assert_eq!(hall.take_all(), [1]);
}

#[test]
fn a_silent_one_is_handed_out_only_when_it_has_spoken() {
    let mut hall = Hall::new(&listening());
    let token = silent(&hall.come_silent(1, 1));
    assert!(hall.room.is_silent(token));
    assert_eq!((hall.room.silent(), hall.room.waiting_in(0), hall.room.standing_in(0)), (1, 0, 1));
    assert_eq!(hall.take_from(0), Take::Empty);
    hall.pass(499);
    assert_eq!(hall.speak(1), None);
    assert!(!hall.room.is_silent(token));
    assert_eq!((hall.room.silent(), hall.room.waiting_in(0)), (0, 1));
    assert_eq!(hall.speak(1), None, "once is enough");
    assert!(matches!(hall.take_from(0), Take::Ready { item: 1, is_watched: false, .. }));
}

#[test]
fn the_silent_are_refused_by_their_deadline_which_counts_from_the_handshake() {
    let mut hall = Hall::new(&listening());
    let aged = hall.arrive_aged(0, None, Voice::Silent, 100, 1);
    silent(&aged);
    hall.come_silent(1, 2);
    assert_eq!(hall.room.next_due(), Some(hall.now + millis(400)));
    hall.pass(400);
    assert_eq!(hall.overdue(), [(1, Cause::Silent)]);
    hall.pass(100);
    assert_eq!(hall.overdue(), [(2, Cause::Silent)]);
    assert_eq!(
        hall.arrive_aged(0, None, Voice::Silent, 500, 3),
        Admission::Refused(3, Cause::Silent),
        "it has been silent for long enough in the kernel"
    );
}

#[test]
fn the_wait_of_one_who_was_silent_counts_from_its_first_byte() {
    let mut hall = Hall::new(&listening());
    hall.come_silent(1, 1);
    hall.pass(400);
    hall.speak(1);
    assert_eq!(hall.room.next_due(), Some(hall.now + MAX_WAIT));
    hall.pass(9_999);
    assert_eq!(hall.overdue(), []);
    hall.pass(1);
    assert_eq!(hall.overdue(), [(1, Cause::TooOld)]);
}

#[test]
fn when_too_many_are_silent_the_one_that_has_been_longest_goes() {
    let mut hall = Hall::new(&listening());
    for item in 1..=3 {
        silent(&hall.come_silent(1, item));
    }
    assert!(matches!(hall.come_silent(1, 4), Admission::Silent(_, Some((1, Cause::Silent)))));
    assert_eq!(hall.come(5), Admission::Waits);
    assert_eq!((hall.room.silent(), hall.room.waiting_in(0)), (3, 1));
}

#[test]
fn one_who_speaks_where_the_room_is_full_has_the_longest_waiting_refused() {
    let mut hall = Hall::new(&Config { max_connections: Some(1), max_waiting: 1, ..listening() });
    hall.come_silent(1, 1);
    for item in 2..=3 {
        hall.come(item);
    }
    assert_eq!(hall.speak(1), Some((2, Cause::Full)));
    assert_eq!(hall.take_all(), [3]);
    assert_eq!(hall.room.waiting_in(0), 1);
}

#[test]
fn one_who_speaks_where_nobody_may_wait_is_itself_refused() {
    let mut hall = Hall::new(&Config { max_connections: Some(1), max_waiting: 0, ..listening() });
    hall.come(0);
    assert_eq!(hall.take_all(), [0]);
    hall.come_silent(1, 1);
    assert_eq!(hall.speak(1), Some((1, Cause::Full)));
    assert_eq!(hall.room.len(), 0);
}

#[test]
fn the_silent_hold_sockets_and_go_first_when_there_are_none() {
    let mut hall = Hall::with(&listening(), &[LaneRules::default()], Some(3));
    hall.come(0);
    hall.come_silent(1, 1);
    hall.come(2);
    assert_eq!(hall.come(3), Admission::WaitsInsteadOf(1, Cause::Resources));
    assert_eq!(hall.come(4), Admission::WaitsInsteadOf(0, Cause::Resources));
}

#[test]
fn a_silent_one_that_leaves_is_gone() {
    let mut hall = Hall::new(&listening());
    let token = silent(&hall.come_silent(1, 1));
    assert_eq!(hall.room.leave(token, hall.now), Some(1));
    assert_eq!((hall.room.silent(), hall.room.sources()), (0, 0));
    assert_eq!(hall.room.speak(token, hall.now), None);
    check(&hall.room);
}

#[test]
fn one_who_spoke_and_closed_in_one_breath_keeps_its_patience() {
    let mut hall = Hall::new(&listening());
    let token = silent(&hall.come_silent(1, 1));
    hall.pass(100);
    hall.room.speak(token, hall.now);
    hall.room.lose_patience(token, millis(300));
    check(&hall.room);
    hall.pass(300);
    assert_eq!(hall.overdue(), [(1, Cause::ProbablyLeft)]);
}
