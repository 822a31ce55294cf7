//! How fast: the rate of a lane, and that of a source.

use super::*;
use crate::admit::Rate;

fn paced(rate: Rate) -> Hall {
    Hall::new(&Config { accept_rate: Some(rate), max_connections: None, ..plain() })
}

fn sources_paced(rate: Rate) -> Config {
    Config { share: Share { per_second: Some(rate), ..Share::unlimited() }, ..plain() }
}

#[test]
fn who_is_faster_than_the_rate_waits_for_it() {
    let mut hall = paced(Rate::per_second(10).burst(2));
    for item in 0..4 {
        hall.come(item);
    }
    assert_eq!(hall.take_all(), [0, 1]);
    assert_eq!(hall.take_from(0), Take::NoPlace);
    assert_eq!(hall.room.rate_allows(0), Some(hall.now + millis(100)));
    hall.pass(99);
    assert_eq!(hall.take(), None);
    hall.pass(1);
    assert_eq!(hall.take_all(), [2]);
    hall.pass(100);
    assert_eq!(hall.take_all(), [3]);
    assert_eq!(hall.room.rate_allows(0), None, "nobody waits");
}

#[test]
fn only_the_rate_is_told_not_the_want_of_a_place() {
    let rate = Some(Rate::per_second(10));
    let mut hall = Hall::new(&Config { accept_rate: rate, max_connections: Some(1), ..plain() });
    hall.come(0);
    hall.come(1);
    assert_eq!(hall.take_all(), [0]);
    assert_eq!(hall.room.rate_allows(0), None, "there is no place");
    hall.release(0);
    assert_eq!(hall.room.rate_allows(0), Some(hall.now + millis(100)));
}

#[test]
fn who_was_too_late_has_cost_the_others_no_turn() {
    let mut hall = paced(Rate::per_second(1));
    hall.come(0);
    hall.arrive(0, None, Voice::SpokeAndClosed(millis(5)), 1);
    hall.come(2);
    assert_eq!(hall.take_all(), [0]);
    hall.pass(1_000);
    assert_eq!(hall.take_from(0), Take::Late(1, Cause::ProbablyLeft));
    assert_eq!(hall.take_all(), [2]);
}

#[test]
fn a_ramp_begins_with_a_tenth_of_the_rate() {
    let mut hall = paced(Rate::per_second(100).ramp(Duration::from_secs(10)));
    for item in 0..9 {
        hall.come(item);
    }
    assert_eq!(hall.take_all(), [0]);
    assert_eq!(hall.room.rate_allows(0), Some(hall.now + millis(100)));
    hall.pass(10_000 - 1);
    hall.room.leave(hall.token(1), hall.now);
    assert_eq!(hall.take_all(), [2]);
}

#[test]
fn a_source_that_comes_too_often_is_refused_and_no_other() {
    let mut hall = Hall::new(&sources_paced(Rate::per_second(1).burst(2)));
    assert_eq!([0, 1].map(|item| hall.come_from(1, item)), [Admission::Waits, Admission::Waits]);
    assert_eq!(hall.come_from(1, 2), Admission::Refused(2, Cause::Rate));
    assert_eq!(hall.come_from(2, 3), Admission::Waits);
    assert_eq!(hall.come(4), Admission::Waits);
}

#[test]
fn refused_attempts_never_count_against_the_refused() {
    let mut hall = Hall::new(&sources_paced(Rate::per_second(1)));
    hall.come_from(1, 0);
    for item in 1..1_000 {
        hall.pass(if item == 999 { 2 } else { 1 });
        let admission = hall.come_from(1, item);
        if item < 999 {
            assert_eq!(admission, Admission::Refused(item, Cause::Rate));
        } else {
            assert_eq!(admission, Admission::Waits, "a second is over");
        }
    }
    let config = Config { max_connections: Some(1), max_waiting: 0, ..sources_paced(Rate::per_second(1)) };
    let mut full = Hall::new(&config);
    full.come(0);
    assert_eq!(full.take_all(), [0]);
    for item in 1..9 {
        assert_eq!(full.come_from(1, item), Admission::Refused(item, Cause::Full));
    }
    full.release(0);
    assert_eq!((full.come_from(1, 9), full.room.sources()), (Admission::Waits, 1));
}

#[test]
fn the_rate_of_a_source_is_remembered_when_it_has_left() {
    let mut hall = Hall::new(&sources_paced(Rate::per_second(1)));
    hall.come_from(1, 0);
    assert_eq!(hall.room.leave(hall.token(0), hall.now), Some(0));
    assert_eq!(hall.come_from(1, 1), Admission::Refused(1, Cause::Rate));
    hall.pass(1_000);
    assert_eq!((hall.come_from(1, 2), hall.room.sources()), (Admission::Waits, 1));
}
