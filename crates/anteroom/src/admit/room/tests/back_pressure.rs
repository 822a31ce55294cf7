//! Nobody is refused for want of room: the acceptor asks how many may come.

use super::*;
use crate::admit::{FirstByte, WhenFull};

fn holding_back(places: usize, waiting: usize) -> Config {
    Config {
        when_full: WhenFull::BackPressure,
        max_connections: Some(places),
        max_waiting: waiting,
        ..plain()
    }
}

#[test]
fn who_refuses_the_oldest_has_always_room() {
    assert_eq!(Hall::new(&plain()).room.vacancies(0), usize::MAX);
    assert_eq!(Hall::new(&plain()).room.vacancies(7), 0, "there is no such lane");
}

#[test]
fn as_many_may_come_as_places_are_free_and_may_wait() {
    let mut hall = Hall::new(&holding_back(2, 1));
    for (item, vacancies) in [3, 2, 1, 0].into_iter().enumerate() {
        assert_eq!(hall.room.vacancies(0), vacancies);
        if vacancies > 0 {
            assert_eq!(hall.come(u32::try_from(item).unwrap()), Admission::Waits);
        }
    }
    assert_eq!(hall.take_all(), [0, 1]);
    assert_eq!(hall.room.vacancies(0), 0);
    hall.release(1);
    assert_eq!(hall.room.vacancies(0), 1);
}

#[test]
fn one_is_always_in_hand_and_refused_by_its_age_alone() {
    let mut hall = Hall::with(&holding_back(1, 0), &[LaneRules::default()], Some(1));
    hall.come(0);
    assert_eq!((hall.take_all(), hall.room.vacancies(0)), (vec![0], 1));
    assert_eq!(hall.come(1), Admission::Waits);
    assert_eq!((hall.room.vacancies(0), hall.take_from(0)), (0, Take::NoPlace));
    hall.pass(10_000);
    assert_eq!(hall.overdue(), [(1, Cause::TooOld)]);
    assert_eq!(hall.room.vacancies(0), 1);
}

#[test]
fn nobody_is_refused_for_another_even_when_one_too_many_comes() {
    let mut hall = Hall::with(&holding_back(1, 1), &[LaneRules::default()], Some(2));
    for item in 0..5 {
        assert_eq!(hall.come_from(1, item), Admission::Waits);
    }
    assert_eq!((hall.room.len(), hall.room.vacancies(0)), (5, 0));
}

#[test]
fn the_silent_count_as_if_they_waited_and_may_speak_without_harm() {
    let stage = FirstByte::within(millis(500)).max_silent(2);
    let mut hall = Hall::new(&Config { first_byte: Some(stage), ..holding_back(1, 2) });
    assert_eq!(hall.room.vacancies(0), 2);
    hall.come_silent(1, 0);
    hall.come_silent(1, 1);
    assert_eq!(hall.room.vacancies(0), 0, "no more may be silent");
    hall.speak(0);
    assert_eq!(hall.room.vacancies(0), 1);
    hall.come_silent(1, 2);
    assert_eq!((hall.speak(1), hall.speak(2), hall.room.vacancies(0)), (None, None, 0));
    assert_eq!(hall.take_all(), [0]);
    assert_eq!((hall.room.waiting_in(0), hall.room.vacancies(0)), (2, 0));
}

#[test]
fn the_sockets_bound_what_may_come() {
    let admin = LaneRules { set_aside: Some(2), ..LaneRules::default() };
    let mut hall = Hall::with(&holding_back(9, 9), &[LaneRules::default(), admin], Some(6));
    assert_eq!((hall.room.vacancies(0), hall.room.vacancies(1)), (4, 6));
    for item in 0..4 {
        hall.come(item);
    }
    assert_eq!((hall.room.vacancies(0), hall.room.vacancies(1)), (0, 2));
}
