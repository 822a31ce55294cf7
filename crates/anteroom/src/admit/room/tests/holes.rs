//! Holes that were there once, each as the history that went through it.

use super::*;
use crate::admit::{EarlyRefusal, FirstByte, Rate};

/// Everybody behind one proxy: the law has to see its overload as it sees that of many sources.
#[test]
fn a_source_that_is_alone_is_under_the_law_of_the_order_too() {
    let config = Config {
        max_connections: Some(10),
        max_waiting: 100,
        order: Order::ADAPTIVE,
        share: Share::default(),
        ..plain()
    };
    let mut hall = Hall::new(&config);
    for item in 0..60 {
        hall.come_from(1, item);
    }
    let open = hall.take_all();
    assert_eq!(open.len(), 9);
    for item in 60..64 {
        hall.pass(101);
        hall.overdue();
        hall.come_from(1, item);
    }
    hall.release(open[0]);
    assert_eq!(hall.take(), Some(63), "it stands for 400 ms: the newest has the best chance");
    hall.pass(4_000);
    assert!(!hall.overdue().is_empty(), "somebody is hopeless");
}

/// Raising a rate, or lowering its burst, must not shut the lane for as long as the old burst lasted.
#[test]
fn a_rate_that_is_raised_lets_nobody_wait_for_the_debts_of_the_old_one() {
    let slow = Rate::per_second(1).burst(60);
    let mut hall =
        Hall::new(&Config { max_connections: None, max_waiting: 99, accept_rate: Some(slow), ..plain() });
    for item in 0..70 {
        hall.come(item);
    }
    assert_eq!(hall.take_all().len(), 60);
    hall.set(&Config {
        max_connections: None,
        max_waiting: 99,
        accept_rate: Some(Rate::per_second(1_000)),
        ..plain()
    });
    hall.pass(1_000);
    assert!(hall.take().is_some(), "a thousand a second were asked for, and nobody passes for a minute");
}

fn a_flood_leaves_another_source_alone(hall: &mut Hall) {
    hall.come_from(2, 1_000);
    for item in 0..200 {
        let admission = hall.come_from(1, item);
        assert!(
            !matches!(admission, Admission::WaitsInsteadOf(1_000, _)),
            "a flooder at {item} evicts another source"
        );
    }
}

/// The places of the silent are no places of those who wait.
#[test]
fn the_places_of_the_silent_give_nobody_a_greater_share_of_the_others() {
    let config = Config {
        max_connections: Some(10),
        max_waiting: 90,
        share: Share::default(),
        first_byte: Some(FirstByte::within(millis(5_000))),
        ..plain()
    };
    let mut hall = Hall::new(&config);
    a_flood_leaves_another_source_alone(&mut hall);
}

/// The defaults, behind a service that limits by `poll_ready`: no `max_connections`.
#[test]
fn without_a_limit_of_places_a_source_has_no_more_than_its_share_of_the_room() {
    let config = Config { max_connections: None, max_waiting: 90, share: Share::default(), ..plain() };
    let mut hall = Hall::with(&config, &[LaneRules::default()], Some(20_000));
    a_flood_leaves_another_source_alone(&mut hall);
}

/// A source is looked up before somebody is refused for it; that may forget it.
#[test]
fn a_source_that_is_forgotten_while_it_is_let_in_is_counted_all_the_same() {
    let share = Share { max_per_source: Some(1), ..Share::default() };
    let config = Config { max_connections: Some(9), max_waiting: 0, share, ..plain() };
    let mut hall = Hall::new(&config);
    let other = |number: u32| Some(IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + number)));
    // 256 that hold nothing are remembered, this one as the first of them.
    for number in 0..256 {
        hall.arrive(0, other(number), Voice::Spoke, number);
        let item = hall.take().expect("a place is free");
        hall.release(item);
    }
    for number in 300..309 {
        hall.arrive(0, other(number), Voice::Spoke, number);
    }
    assert!(matches!(
        hall.arrive(0, other(0), Voice::Spoke, 1_000),
        Admission::WaitsInsteadOf(300, Cause::Full)
    ));
    let admission = hall.arrive(0, other(0), Voice::Spoke, 1_001);
    assert!(
        !matches!(admission, Admission::WaitsInsteadOf(301, _)),
        "one source has two of one: {admission:?}"
    );
}

/// Most clients have not sent anything when they are accepted: they must not get round the chance.
#[test]
fn who_was_silent_is_refused_early_as_others_are() {
    let config = Config {
        max_connections: Some(1),
        max_waiting: 50,
        first_byte: Some(FirstByte::within(millis(5_000))),
        refuse_early: Some(EarlyRefusal::between(5, 10)),
        ..plain()
    };
    let mut hall = Hall::new(&config);
    for item in 0..40 {
        hall.come_silent(1, item);
        hall.speak(item);
    }
    assert!(
        hall.room.waiting_in(0) <= 11,
        "{} wait, and from 10 on all are refused",
        hall.room.waiting_in(0)
    );
}

/// A derived budget may come to less than what the lanes set aside.
#[test]
fn lanes_that_set_aside_more_than_there_is_do_not_shut_each_other_out() {
    let own = LaneRules { set_aside: Some(1_000), ..LaneRules::default() };
    let mut hall = Hall::with(&Config { max_waiting: 50, ..plain() }, &[own, own], Some(800));
    assert_eq!(hall.arrive(0, None, Voice::Spoke, 0), Admission::Waits, "nobody is there at all");
    assert_eq!(hall.arrive(1, None, Voice::Spoke, 1), Admission::Waits);
}
