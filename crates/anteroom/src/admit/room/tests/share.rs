//! What one source may have, waiting and open.

use super::*;

fn sharing(alpha: u32, places: usize, waiting: usize) -> Config {
    let share = Share { alpha: Some(alpha), ..Share::default() };
    Config { share, max_connections: Some(places), max_waiting: waiting, ..plain() }
}

fn at_most(connections: usize) -> Config {
    Config { share: Share { max_per_source: Some(connections), ..Share::unlimited() }, ..plain() }
}

#[test]
fn a_source_that_is_alone_leaves_a_part_free_for_who_comes_later() {
    let mut hall = Hall::new(&sharing(1, 4, 4));
    for item in 0..5 {
        // It holds 0, 1, 2, 3, 4 of 8, and 8, 7, 6, 5, 4 are free.
        assert_eq!(hall.come_from(1, item), Admission::Waits);
    }
    assert_eq!(hall.come_from(1, 5), Admission::WaitsInsteadOf(0, Cause::Share), "its own oldest is first");
    for item in 6..8 {
        assert_eq!(hall.come_from(2, item), Admission::Waits);
    }
    assert_eq!(hall.come_from(2, 8), Admission::WaitsInsteadOf(1, Cause::Share), "of a source that has more");
    assert_eq!(hall.come_from(3, 9), Admission::Waits, "one was left for others");
    assert_eq!(hall.come_from(4, 10), Admission::WaitsInsteadOf(2, Cause::Full), "who holds nothing gets in");
}

#[test]
fn a_newcomer_over_its_share_is_refused_where_another_stands_first() {
    let mut hall = Hall::new(&sharing(1, 2, 2));
    hall.come_from(9, 0);
    hall.come_from(1, 1);
    hall.come_from(1, 2);
    assert_eq!(hall.come_from(1, 3), Admission::Refused(3, Cause::Share));
    assert_eq!((hall.room.len(), hall.room.sources()), (3, 2));
}

#[test]
fn those_without_a_source_and_the_exempt_are_held_to_nothing() {
    let exempt = vec!["192.0.2.7".parse().unwrap()];
    let share = Share { alpha: Some(1), max_per_source: Some(1), exempt, ..Share::default() };
    let mut hall = Hall::new(&Config { share, ..plain() });
    for item in 0..4 {
        assert_eq!(hall.come(item), Admission::Waits);
        assert_eq!(hall.come_from(7, item + 10), Admission::Waits);
    }
    assert_eq!(hall.room.sources(), 0);
}

#[test]
fn addresses_of_one_network_are_one_source() {
    let share = Share { max_per_source: Some(2), v4_prefix: 24, ..Share::unlimited() };
    let mut hall = Hall::new(&Config { share, ..plain() });
    hall.come_from(1, 0);
    hall.come(1);
    let v6 = |host: u16| Some(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]));
    for host in 0..2 {
        assert_eq!(hall.arrive(0, v6(host), Voice::Spoke, 2 + u32::from(host)), Admission::Waits);
    }
    assert_eq!(hall.arrive(0, v6(9), Voice::Spoke, 4), Admission::Refused(4, Cause::Share));
    assert_eq!(hall.come_from(2, 5), Admission::Waits);
    assert_eq!(hall.room.sources(), 2);
    assert_eq!(hall.come_from(3, 6), Admission::WaitsInsteadOf(0, Cause::Share));
}

#[test]
fn who_has_its_share_of_the_places_stands_back_for_the_others() {
    let mut hall = Hall::new(&sharing(1, 4, 20));
    for item in 0..5 {
        hall.come_from(1, item);
    }
    hall.pass(5);
    for item in 10..13 {
        hall.come_from(2, item);
    }
    assert_eq!(hall.take_all(), [0, 1, 2, 10], "of four places one source has three at the most");
    hall.release(10);
    assert_eq!(hall.take_all(), [11], "3 and 4 stand back");
    assert_eq!((hall.room.waiting_in(0), hall.room.standing_in(0)), (3, 3));
    hall.pass(5);
    assert_eq!(hall.room.oldest(), Some(before(hall.now, millis(5))), "only 12 is kept waiting by others");
}

#[test]
fn who_stood_back_is_called_back_when_its_source_has_fewer() {
    let mut hall = Hall::new(&sharing(1, 4, 20));
    for item in 0..6 {
        hall.come_from(1, item);
    }
    assert_eq!(hall.take_all(), [0, 1, 2]);
    assert_eq!(hall.take_from(0), Take::NoPlace);
    hall.release(1);
    assert_eq!(hall.take_all(), [3], "a place more is free, and it has one less");
    assert_eq!(hall.take_from(0), Take::NoPlace);
    hall.come_from(2, 9);
    assert_eq!(hall.take_all(), [9]);
}

#[test]
fn who_comes_while_others_of_its_source_stand_back_stands_behind_them() {
    let mut hall = Hall::new(&sharing(1, 4, 20));
    for item in 0..4 {
        hall.come_from(1, item);
    }
    assert_eq!(hall.take_all(), [0, 1, 2]);
    hall.come_from(1, 4);
    hall.release(0);
    hall.release(1);
    assert_eq!(hall.take_all(), [3, 4]);
}

#[test]
fn in_a_full_room_those_who_stand_back_go_before_those_who_wait() {
    let mut hall = Hall::new(&sharing(1, 4, 3));
    for item in 0..4 {
        hall.come_from(1, item);
    }
    assert_eq!(hall.take_all(), [0, 1, 2]);
    hall.come_from(2, 5);
    hall.come_from(3, 6);
    assert_eq!(hall.come_from(4, 7), Admission::Waits);
    assert_eq!(hall.come_from(5, 8), Admission::WaitsInsteadOf(3, Cause::Full), "3 stands back");
    assert_eq!(hall.come_from(6, 9), Admission::WaitsInsteadOf(5, Cause::Full));
}

#[test]
fn one_source_may_be_given_a_number() {
    let mut hall = Hall::new(&at_most(2));
    hall.come_from(1, 0);
    hall.come_from(1, 1);
    assert_eq!(hall.take_all(), [0, 1]);
    assert_eq!(hall.come_from(1, 2), Admission::Refused(2, Cause::Share), "the open count");
    assert_eq!(hall.come_from(2, 3), Admission::Waits);
    hall.release(0);
    assert_eq!(hall.come_from(1, 4), Admission::Waits);
}

#[test]
fn the_silent_have_their_share_too() {
    let stage = crate::admit::FirstByte::within(millis(500)).max_silent(4);
    let mut hall = Hall::new(&Config { first_byte: Some(stage), max_waiting: 0, ..sharing(1, 4, 0) });
    let mut come = |source, item| match hall.come_silent(source, item) {
        Admission::Silent(_, out) => out,
        other => panic!("{other:?}"),
    };
    for item in 0..3 {
        // It has 0, 1, 2 of the 4 who may be silent, and 4, 3, 2 are free.
        assert_eq!(come(1, item), None);
    }
    assert_eq!(come(1, 3), Some((0, Cause::Share)), "its own oldest is first");
    assert_eq!(come(2, 4), None);
    assert_eq!(come(2, 5), Some((1, Cause::Share)), "of a source that has more");
    assert_eq!(come(3, 6), Some((2, Cause::Silent)), "who holds nothing gets in");
    hall.speak(3);
    assert_eq!(hall.come_from(1, 7), Admission::Waits, "it has one of the 4 who may wait, and 3 are free");
}

#[test]
fn a_million_sources_leave_the_table_within_its_bound() {
    let config = Config {
        share: Share { per_second: Some(crate::admit::Rate::per_second(1)), ..Share::default() },
        max_connections: Some(1_000),
        max_waiting: 10,
        ..plain()
    };
    let mut room = Room::new(&[LaneRules::default()], config.rules(None), start(), 1);
    let now = start() + MAX_WAIT;
    let age = Age::accepted(now, None);
    for item in 0..1_000_000 {
        let from = Some(Ipv4Addr::from_bits(item).into());
        room.arrive(Arrival { lane: 0, age, from, voice: Voice::Spoke, is_moved: false, item }, now);
    }
    assert!(room.sources() <= crate::admit::share::MOST_SOURCES, "{}", room.sources());
    assert_eq!(room.len(), 1_010);
}

#[test]
fn one_of_many_rooms_knows_its_part_of_the_sources() {
    let lanes = [LaneRules::default()];
    let config = Config { share: Share::default(), max_waiting: 2_000, ..plain() };
    let mut room = Room::numbered(0, &lanes, 1_000, config.rules(None), start(), 1);
    let now = start() + MAX_WAIT;
    for item in 0..1_000 {
        let from = Some(Ipv4Addr::from_bits(item).into());
        let age = Age::accepted(now, None);
        room.arrive(Arrival { lane: 0, age, from, voice: Voice::Spoke, is_moved: false, item }, now);
    }
    assert_eq!(room.sources(), crate::admit::share::MOST_SOURCES / 1_000);
}

#[test]
fn of_those_who_may_go_in_the_one_who_has_waited_longest_does() {
    let mut hall = Hall::new(&sharing(8, 10, 90));
    for item in 0..9 {
        hall.come_from(1, item);
    }
    assert_eq!(hall.take_all(), (0..9).collect::<Vec<_>>());
    hall.come_from(1, 9);
    assert_eq!(hall.take_from(0), Take::NoPlace, "it holds nine, one is free");
    hall.pass(1);
    hall.come_from(2, 50);
    assert_eq!(hall.take_all(), [50]);
    // The tenth place is never given back, the others are those of source 1 and go round.
    hall.come_from(1, 10);
    hall.pass(1);
    hall.come_from(3, 51);
    hall.pass(1);
    hall.come_from(1, 11);
    let mut order = Vec::new();
    for item in 0..4 {
        hall.release(item);
        order.extend(hall.take_all());
    }
    assert_eq!(order, [9, 10, 51, 11]);
}

#[test]
fn whoever_is_moved_counts_for_its_source_and_is_not_asked() {
    let mut hall = Hall::with(&at_most(1), &[LaneRules::default(); 2], None);
    hall.come_from(1, 0);
    hall.arrive(1, Some(ip(1)), Voice::Spoke, 1);
    assert_eq!(hall.room.move_out(0, hall.now), Some(0));
    let age = Age::accepted(hall.now, None);
    let moved = Arrival { lane: 1, age, from: Some(ip(1)), voice: Voice::Spoke, is_moved: true, item: 0 };
    assert_eq!(hall.room.arrive(moved, hall.now), Admission::Waits);
    assert_eq!(hall.come_from(1, 2), Admission::Waits, "it has nobody in the lane that it left");
    let newcomer = hall.arrive(1, Some(ip(1)), Voice::Spoke, 3);
    assert_eq!(newcomer, Admission::WaitsInsteadOf(1, Cause::Share), "both count where they are");
}

#[test]
fn who_stands_back_is_not_moved() {
    let mut hall = Hall::new(&sharing(1, 4, 90));
    for item in 0..4 {
        hall.come_from(1, item);
    }
    assert_eq!(hall.take_all(), [0, 1, 2]);
    hall.come_from(2, 9);
    let moved: Vec<_> = std::iter::from_fn(|| hall.room.move_out(0, hall.now)).collect();
    assert_eq!((moved, hall.room.waiting_in(0)), (vec![9], 1));
}
