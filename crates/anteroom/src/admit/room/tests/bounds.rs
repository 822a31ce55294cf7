//! The numbers that are never passed: places, waiting, sockets.

use super::*;
use crate::admit::{EarlyRefusal, Rate};

#[test]
fn a_full_lane_refuses_whoever_has_waited_longest_in_it_and_nobody_else() {
    let mut hall = Hall::with(&Config { max_connections: None, ..plain() }, &[LaneRules::default(); 2], None);
    hall.arrive(1, None, Voice::Spoke, 99);
    for item in 0..9 {
        assert_eq!(hall.come(item), Admission::Waits);
    }
    assert_eq!(hall.come(9), Admission::WaitsInsteadOf(0, Cause::Full));
    assert_eq!((hall.room.waiting_in(0), hall.room.waiting_in(1)), (9, 1));
}

#[test]
fn no_lane_takes_the_places_of_another() {
    let mut hall = Hall::with(&plain(), &[LaneRules::default(); 2], None);
    for item in 0..3 {
        hall.come(item);
    }
    hall.arrive(1, None, Voice::Spoke, 9);
    assert_eq!(hall.take_all(), [0, 1]);
    assert_eq!(hall.take_from(0), Take::NoPlace);
    assert!(matches!(hall.take_from(1), Take::Ready { item: 9, .. }));
    assert_eq!((hall.room.open(), hall.take_from(1)), (3, Take::Empty));
}

#[test]
fn a_lane_has_the_numbers_that_it_was_given() {
    let own = LaneRules { max_connections: Some(1), max_waiting: Some(0), set_aside: None };
    let mut hall = Hall::with(&plain(), &[own, LaneRules::default()], None);
    assert_eq!(hall.come(1), Admission::Waits);
    assert_eq!(hall.come(2), Admission::WaitsInsteadOf(1, Cause::Full));
    assert_eq!(hall.take_all(), [2]);
    assert_eq!(hall.come(3), Admission::Refused(3, Cause::Full));
}

#[test]
fn without_a_place_nobody_is_taken_until_one_is_given_back() {
    let mut hall = Hall::new(&plain());
    for item in 1..=3 {
        hall.come(item);
    }
    assert_eq!(hall.take_all(), [1, 2]);
    assert_eq!((hall.take_from(0), hall.room.can_take(0, hall.now)), (Take::NoPlace, false));
    hall.release(1);
    assert!(hall.room.can_take(0, hall.now));
    assert_eq!(hall.take_all(), [3]);
}

#[test]
fn a_burst_may_be_larger_than_what_may_wait_by_the_places_that_are_free() {
    let mut hall = Hall::new(&Config { max_connections: Some(5), max_waiting: 2, ..plain() });
    for item in 0..7 {
        assert_eq!(hall.come(item), Admission::Waits);
    }
    assert_eq!(hall.come(7), Admission::WaitsInsteadOf(0, Cause::Full));
    assert_eq!(hall.take_all(), [1, 2, 3, 4, 5]);
    assert_eq!(hall.come(8), Admission::WaitsInsteadOf(6, Cause::Full));
    assert_eq!((hall.room.waiting_in(0), hall.room.open()), (2, 5));
}

#[test]
fn where_nobody_may_wait_the_free_places_are_still_for_everybody() {
    let mut hall = Hall::new(&Config { max_waiting: 0, ..plain() });
    for item in 0..2 {
        assert_eq!(hall.come(item), Admission::Waits);
    }
    assert_eq!(hall.take_all(), [0, 1]);
    assert_eq!(hall.come(2), Admission::Refused(2, Cause::Full));
    hall.release(0);
    assert_eq!(hall.come(3), Admission::Waits);
    assert_eq!(hall.take_all(), [3]);
}

#[test]
fn without_a_limit_on_places_everybody_is_handed_out() {
    let mut hall = Hall::new(&Config { max_connections: None, max_waiting: 1, ..plain() });
    for item in 0..100 {
        assert_eq!(hall.come(item), Admission::Waits);
        assert_eq!(hall.take(), Some(item));
    }
    assert_eq!(hall.room.open(), 100);
}

#[test]
fn beyond_the_sockets_whoever_has_waited_longest_goes_or_the_newcomer_where_nobody_waits() {
    let mut hall = Hall::with(&plain(), &[LaneRules::default()], Some(3));
    for item in 0..3 {
        hall.come(item);
    }
    assert_eq!(hall.take_all(), [0, 1]);
    assert_eq!(hall.come(3), Admission::WaitsInsteadOf(2, Cause::Resources));
    hall.release(0);
    assert_eq!(hall.take_all(), [3]);
    assert_eq!(hall.come(4), Admission::Waits);
    hall.release(1);
    assert_eq!(hall.take_all(), [4]);
    let mut full = Hall::with(&plain(), &[LaneRules::default()], Some(1));
    full.come(0);
    assert_eq!(full.take_all(), [0]);
    assert_eq!(full.come(1), Admission::Refused(1, Cause::Resources));
}

#[test]
fn what_is_set_aside_for_a_lane_no_other_takes() {
    let admin = LaneRules { set_aside: Some(2), ..LaneRules::default() };
    let mut hall = Hall::with(&plain(), &[LaneRules::default(), admin], Some(5));
    for item in 0..3 {
        assert_eq!(hall.come(item), Admission::Waits);
    }
    assert_eq!(hall.come(3), Admission::WaitsInsteadOf(0, Cause::Resources));
    for item in 10..12 {
        assert_eq!(hall.arrive(1, None, Voice::Spoke, item), Admission::Waits);
    }
    assert_eq!(hall.arrive(1, None, Voice::Spoke, 12), Admission::WaitsInsteadOf(10, Cause::Resources));
    assert_eq!(hall.room.len(), 5);
}

#[test]
fn early_refusal_counts_those_who_wait_beyond_the_free_places() {
    let early = EarlyRefusal::between(2, 2);
    let mut hall = Hall::new(&Config { refuse_early: Some(early), ..plain() });
    for item in 0..4 {
        assert_eq!(hall.come(item), Admission::Waits);
    }
    assert_eq!(hall.come(4), Admission::Refused(4, Cause::Early));
    assert_eq!(hall.take_all(), [0, 1]);
    assert_eq!(hall.come(5), Admission::Refused(5, Cause::Early));
    hall.release(0);
    assert_eq!(hall.come(6), Admission::Waits);
}

#[test]
fn a_lane_that_nobody_serves_turns_everybody_away() {
    let mut hall = Hall::with(&plain(), &[LaneRules::default(); 2], None);
    hall.come(1);
    hall.come(2);
    hall.arrive(1, None, Voice::Spoke, 3);
    let turned_away: Vec<_> = std::iter::from_fn(|| hall.room.turn_away(0, hall.now)).collect();
    assert_eq!((turned_away, hall.room.len()), (vec![1, 2], 1));
}

#[test]
fn what_a_lane_is_ready_for_is_served_at_once_and_nobody_is_refused_for_it() {
    let mut hall = Hall::new(&Config { max_connections: Some(3), max_waiting: 9, ..plain() });
    assert_eq!(hall.room.ready(0, hall.now), 3);
    hall.come(1);
    assert_eq!(hall.room.ready(0, hall.now), 2, "who waits has a claim");
    assert_eq!(hall.take_all(), [1]);
    for item in 2..4 {
        assert_eq!(hall.come(item), Admission::Waits);
    }
    assert_eq!((hall.take_all(), hall.room.ready(0, hall.now)), (vec![2, 3], 0));
    let hall = Hall::new(&Config { max_connections: None, max_waiting: 2, ..plain() });
    assert_eq!(hall.room.ready(0, hall.now), 2, "nobody is refused for whom it is given");
    let mut hall = Hall::new(&Config { accept_rate: Some(Rate::per_second(1).burst(1)), ..plain() });
    hall.come(1);
    assert_eq!((hall.take_all(), hall.room.ready(0, hall.now)), (vec![1], 0), "the rate is used up");
}
