//! Who goes first, and whose time is over.

use super::*;

const PATIENCE: Duration = Duration::from_millis(300);

fn adaptive() -> Config {
    Config { order: Order::ADAPTIVE, max_connections: Some(1), max_waiting: 99, ..plain() }
}

/// A hall whose only place is taken by 0 for ever, and whose order has become newest first.
fn overloaded() -> Hall {
    let mut hall = Hall::new(&adaptive());
    hall.come(0);
    assert_eq!(hall.take(), Some(0));
    hall.come(1);
    hall.pass(101);
    assert_eq!(hall.overdue(), []);
    hall.pass(100);
    assert_eq!(hall.overdue(), []);
    assert_eq!(hall.room.reordered().collect::<Vec<_>>(), [(0, true)]);
    hall
}

#[test]
fn the_healthy_are_taken_in_the_order_of_their_arrival() {
    let mut hall = Hall::new(&Config { max_connections: Some(9), order: Order::ADAPTIVE, ..plain() });
    for item in 0..3 {
        assert_eq!(hall.come(item), Admission::Waits);
    }
    assert_eq!(hall.take_all(), [0, 1, 2]);
    assert_eq!((hall.take_from(0), hall.room.open()), (Take::Empty, 3));
}

#[test]
fn in_overload_the_newest_is_served_first_and_the_hopeless_are_refused() {
    let mut hall = overloaded();
    hall.come(2);
    hall.come(3);
    hall.release(0);
    assert_eq!(hall.take(), Some(3));
    assert_eq!(hall.room.next_due(), Some(hall.now + millis(799)));
    hall.pass(798);
    assert_eq!(hall.overdue(), []);
    hall.pass(1);
    assert_eq!(hall.overdue(), [(1, Cause::Hopeless)]);
    hall.pass(201);
    assert_eq!(hall.overdue(), [(2, Cause::Hopeless)]);
}

#[test]
fn in_overload_who_was_hopeless_in_the_kernel_is_refused_at_the_door() {
    let mut hall = overloaded();
    assert_eq!(hall.come_aged(1_000, 2), Admission::Refused(2, Cause::Hopeless));
    assert_eq!(hall.come_aged(999, 3), Admission::Waits);
    hall.pass(1);
    assert_eq!(hall.overdue(), [(3, Cause::Hopeless)], "though another stands before it");
    hall.release(0);
    hall.come(4);
    hall.pass(1_000);
    assert_eq!(hall.take_from(0), Take::Late(4, Cause::Hopeless), "nobody looked meanwhile");
    assert_eq!(hall.take_from(0), Take::Late(1, Cause::Hopeless));
    assert_eq!(hall.take_from(0), Take::Empty);
}

#[test]
fn who_comes_after_a_quiet_time_is_not_hopeless() {
    let mut hall = overloaded();
    hall.release(0);
    assert_eq!(hall.take(), Some(1));
    hall.pass(5_000);
    assert_eq!(hall.come_aged(2_000, 2), Admission::Waits, "the overload is over");
}

#[test]
fn in_overload_those_who_stand_back_are_hopeless_too() {
    let share = Share { alpha: Some(1), ..Share::default() };
    let mut hall = Hall::new(&Config { share, max_connections: Some(4), ..adaptive() });
    for item in 0..5 {
        hall.come_from(1, item);
    }
    assert_eq!(hall.take_all(), [0, 1, 2]);
    hall.come_from(2, 5);
    assert_eq!(hall.take_all(), [5]);
    hall.come(6);
    hall.pass(101);
    hall.overdue();
    hall.pass(100);
    hall.overdue();
    hall.pass(799);
    let mut hopeless = hall.overdue();
    hopeless.sort_unstable_by_key(|&(item, _)| item);
    assert_eq!(hopeless, [3, 4, 6].map(|item| (item, Cause::Hopeless)));
}

#[test]
fn the_room_says_when_it_wants_to_be_looked_at() {
    let mut hall = Hall::new(&adaptive());
    hall.come(0);
    assert_eq!(hall.take(), Some(0));
    hall.come(1);
    let came = hall.now;
    let mut looks = Vec::new();
    while hall.room.len() > 0 {
        let due = hall.room.next_due().expect("somebody waits");
        looks.push(due.since(came));
        hall.now = due;
        hall.overdue();
    }
    let nano = Duration::from_nanos(1);
    assert_eq!(looks, [millis(100) + nano, millis(200) + nano, millis(1_000)]);
}

#[test]
fn when_nobody_has_waited_long_for_an_interval_the_order_is_that_of_arrival_again() {
    let mut hall = overloaded();
    hall.release(0);
    assert_eq!(hall.take(), Some(1));
    hall.pass(50);
    hall.release(1);
    hall.come(2);
    hall.come(3);
    assert_eq!(hall.take(), Some(3), "it is not over yet");
    hall.pass(50);
    hall.release(3);
    hall.come(4);
    assert_eq!(hall.take(), Some(2));
    assert_eq!(hall.room.reordered().collect::<Vec<_>>(), [(0, false)]);
    hall.pass(30);
    hall.come(5);
    hall.release(2);
    assert_eq!(hall.take(), Some(4));
}

#[test]
fn the_age_counts_from_the_handshake_and_an_old_one_is_refused_at_the_door() {
    let mut hall = Hall::new(&plain());
    assert_eq!(hall.come_aged(10_000, 1), Admission::Refused(1, Cause::TooOld));
    let left = Voice::SpokeAndClosed(PATIENCE);
    assert_eq!(hall.arrive_aged(0, None, left, 300, 2), Admission::Refused(2, Cause::ProbablyLeft));
    assert_eq!(hall.come_aged(9_999, 3), Admission::Waits);
    hall.pass(1);
    assert_eq!(hall.take_from(0), Take::Late(3, Cause::TooOld));
    assert_eq!((hall.take_from(0), hall.room.open()), (Take::Empty, 0));
}

#[test]
fn one_who_closes_while_waiting_is_refused_when_the_patience_ends() {
    let mut hall = Hall::new(&plain());
    hall.come(0);
    hall.come(1);
    let token = hall.token(1);
    hall.room.lose_patience(token, PATIENCE * 2);
    hall.room.lose_patience(token, PATIENCE);
    assert_eq!(hall.room.next_due(), Some(hall.now + PATIENCE));
    hall.pass(299);
    assert_eq!(hall.overdue(), []);
    hall.pass(1);
    assert_eq!(hall.overdue(), [(1, Cause::ProbablyLeft)]);
    assert_eq!(hall.room.leave(token, hall.now), None, "a token that has ended names nobody");
    hall.room.lose_patience(token, PATIENCE);
    check(&hall.room);
}

#[test]
fn a_patience_longer_than_the_longest_wait_changes_nothing() {
    let mut hall = Hall::new(&plain());
    hall.arrive(0, None, Voice::SpokeAndClosed(MAX_WAIT * 2), 1);
    hall.pass(10_000);
    assert_eq!(hall.overdue(), [(1, Cause::TooOld)]);
}

#[test]
fn who_has_left_is_never_handed_out() {
    let mut hall = Hall::new(&plain());
    for item in 0..3 {
        hall.come(item);
    }
    let token = hall.token(0);
    assert_eq!(hall.room.standing(token), Some(&0));
    assert_eq!(hall.room.leave(token, hall.now), Some(0));
    assert_eq!((hall.room.leave(token, hall.now), hall.room.standing(token)), (None, None));
    assert_eq!(hall.take_all(), [1, 2]);
}

#[test]
fn of_two_listeners_who_is_accepted_late_is_still_refused_by_its_own_deadline() {
    let mut hall = Hall::new(&plain());
    hall.come_aged(1_000, 1);
    hall.come_aged(5_000, 2);
    hall.pass(5_000);
    assert_eq!(hall.overdue(), [(2, Cause::TooOld)]);
    hall.pass(4_000);
    assert_eq!(hall.overdue(), [(1, Cause::TooOld)]);
}

#[test]
fn of_three_listeners_the_third_is_compared_with_everybody_before_it() {
    let mut hall = Hall::new(&plain());
    hall.come_aged(1_000, 1);
    hall.come_aged(5_000, 2);
    hall.come_aged(3_000, 3);
    hall.pass(5_000);
    assert_eq!(hall.overdue(), [(2, Cause::TooOld)]);
    assert_eq!(hall.room.next_due(), Some(hall.now + millis(2_000)));
    hall.pass(2_000);
    assert_eq!(hall.overdue(), [(3, Cause::TooOld)]);
}

#[test]
fn oldest_is_who_has_waited_longest_in_any_lane() {
    let mut hall = Hall::with(&plain(), &[LaneRules::default(); 2], None);
    assert_eq!(hall.room.oldest(), None);
    hall.come(0);
    hall.pass(5);
    hall.arrive_aged(1, None, Voice::Spoke, 9, 1);
    assert_eq!(hall.room.oldest(), Some(before(hall.now, millis(9))));
}
