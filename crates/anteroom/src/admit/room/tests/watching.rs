//! Who is watched for a hang-up, and from when on.

use super::*;

#[test]
fn each_is_given_to_be_watched_once_in_the_order_of_arrival() {
    let mut hall = Hall::new(&plain());
    for item in 0..4 {
        hall.come(item);
    }
    assert_eq!(hall.room.oldest_unwatched(), Some(hall.now));
    assert!(hall.room.next_to_watch(hall.now - millis(1)).is_none());
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
