//! Rules that change while somebody is there.

use super::*;
use crate::admit::{FirstByte, WhenFull};

#[test]
fn a_smaller_bound_throws_nobody_out_and_lets_nobody_in() {
    let mut hall = Hall::new(&plain());
    for item in 0..6 {
        hall.come(item);
    }
    assert_eq!(hall.take_all(), [0, 1]);
    hall.set(&Config { max_connections: Some(1), max_waiting: 2, ..plain() });
    assert_eq!((hall.room.open(), hall.room.waiting_in(0)), (2, 4));
    hall.release(0);
    assert_eq!(hall.take_from(0), Take::NoPlace);
    assert_eq!(hall.come(6), Admission::WaitsInsteadOf(2, Cause::Full));
    assert_eq!(hall.room.waiting_in(0), 4);
    hall.release(1);
    assert_eq!(hall.take_all(), [3]);
    hall.set(&Config { max_connections: None, ..plain() });
    assert_eq!(hall.take_all(), [4, 5, 6]);
}

#[test]
fn a_deadline_that_has_moved_holds_for_those_who_are_there() {
    let mut hall = Hall::new(&plain());
    hall.come_aged(1_000, 0);
    hall.come_aged(2_000, 1);
    hall.arrive(0, None, Voice::SpokeAndClosed(millis(5_000)), 2);
    hall.set(&Config { max_wait: millis(2_500), ..plain() });
    assert_eq!(hall.room.next_due(), Some(hall.now + millis(500)));
    hall.pass(500);
    assert_eq!(hall.overdue(), [(1, Cause::TooOld)]);
    hall.set(&Config { max_wait: MAX_WAIT, ..plain() });
    hall.pass(4_500);
    assert_eq!(hall.overdue(), [(2, Cause::ProbablyLeft)]);
    hall.pass(4_000);
    assert_eq!(hall.overdue(), [(0, Cause::TooOld)]);
}

#[test]
fn without_the_first_byte_stage_the_silent_wait_like_the_others() {
    let stage = |time| Some(FirstByte::within(millis(time)).max_silent(9));
    let mut hall = Hall::new(&Config { first_byte: stage(500), ..plain() });
    for item in 0..3 {
        hall.come_silent(1, item);
    }
    // Out of order, so that its deadline stands apart.
    hall.arrive_aged(0, None, Voice::Silent, 100, 3);
    hall.set(&Config { first_byte: stage(800), ..plain() });
    assert_eq!(hall.room.next_due(), Some(hall.now + millis(700)));
    hall.pass(100);
    hall.set(&plain());
    assert_eq!((hall.room.silent(), hall.room.waiting_in(0)), (0, 4));
    assert_eq!(hall.room.next_due(), Some(hall.now + MAX_WAIT));
    assert_eq!(hall.take_all(), [0, 1]);
    hall.pass(10_000);
    assert_eq!(hall.overdue().len(), 2);
}

#[test]
fn an_order_that_is_fixed_again_has_nobody_hopeless() {
    let mut hall = Hall::new(&Config { order: Order::ADAPTIVE, ..plain() });
    for item in 0..4 {
        hall.come(item);
    }
    hall.take_all();
    hall.pass(101);
    hall.overdue();
    hall.pass(100);
    hall.overdue();
    assert_eq!(hall.room.reordered().collect::<Vec<_>>(), [(0, true)]);
    hall.set(&plain());
    assert_eq!(hall.room.reordered().collect::<Vec<_>>(), [(0, false)]);
    hall.pass(2_000);
    assert_eq!(hall.overdue(), []);
    hall.release(0);
    assert_eq!(hall.take_all(), [2]);
}

#[test]
fn who_stands_back_is_called_back_when_no_share_holds_any_more() {
    let share = Share { alpha: Some(1), ..Share::default() };
    let mut hall = Hall::new(&Config { share, max_connections: Some(4), ..plain() });
    for item in 0..5 {
        hall.come_from(1, item);
    }
    assert_eq!(hall.take_all(), [0, 1, 2]);
    hall.set(&Config { max_connections: Some(4), ..plain() });
    assert_eq!(hall.take_all(), [3]);
    for item in 0..4 {
        hall.release(item);
    }
    assert_eq!(hall.take_all(), [4]);
    hall.release(4);
    assert_eq!((hall.room.sources(), hall.room.open()), (0, 0));
}

#[test]
fn nobody_is_refused_for_another_from_the_change_to_back_pressure_on() {
    let mut hall = Hall::new(&plain());
    for item in 0..4 {
        hall.come(item);
    }
    hall.set(&Config { when_full: WhenFull::BackPressure, max_waiting: 1, ..plain() });
    assert_eq!(hall.room.vacancies(0), 0);
    assert_eq!(hall.take_all(), [0, 1]);
    hall.release(0);
    hall.release(1);
    assert_eq!(hall.room.vacancies(0), 1);
    assert_eq!(hall.come(4), Admission::Waits);
}
