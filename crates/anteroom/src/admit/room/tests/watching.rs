//! Who is watched for a hang-up, and from when on.

use super::*;

#[test]
fn each_is_given_to_be_watched_once_in_the_order_of_arrival() {
    let mut hall = Hall::new(&plain());
    for item in 0..4 {
        hall.come(item);
    }
    assert_eq!(hall.room.oldest_unwatched(), Some(hall.now));
    assert!(hall.room.next_to_watch(before(hall.now, millis(1))).is_none());
    assert_eq!(hall.room.next_to_watch(hall.now).map(|(_, &item)| item), Some(0));
    assert_eq!(hall.take_all(), [0, 1]);
    assert_eq!(hall.watched(), [2, 3]);
    assert_eq!(hall.room.oldest_unwatched(), None);
    hall.release(0);
    assert!(matches!(hall.take_from(0), Take::Ready { item: 2, is_watched: true, .. }));
}

#[test]
fn one_who_was_silent_is_watched_anew_when_it_has_spoken() {
    let stage = crate::admit::FirstByte::within(millis(500));
    let mut hall = Hall::new(&Config { first_byte: Some(stage), ..plain() });
    hall.come_silent(1, 1);
    assert!(hall.watched().is_empty(), "the silent are watched from the beginning");
    hall.speak(1);
    assert_eq!(hall.watched(), [1]);
}

#[test]
fn the_young_who_stand_back_keep_nobody_from_being_watched() {
    let share = Share { alpha: Some(1), ..Share::default() };
    let mut hall = Hall::new(&Config { share, max_connections: Some(4), max_waiting: 90, ..plain() });
    for item in 0..4 {
        hall.come_from(1, item);
    }
    assert_eq!((hall.take_all(), hall.watched()), (vec![0, 1, 2], vec![3]));
    hall.come_from(2, 10);
    let accepted = hall.now;
    hall.pass(5);
    hall.come_from(1, 4);
    assert_eq!(hall.room.oldest_unwatched(), Some(accepted), "4 stands back, and is younger");
    assert_eq!(hall.room.next_to_watch(accepted).map(|(_, &item)| item), Some(10));
    assert!(hall.room.next_to_watch(accepted).is_none());
    assert_eq!(hall.room.oldest_unwatched(), Some(hall.now));
    assert_eq!(hall.watched(), [4]);
}
