//! What the waiting room promises, in virtual time, beside the simpler rules.

use super::*;
use std::time::Duration;

const SEED: u64 = 1;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn anteroom() -> Policy {
    Policy::Anteroom(Box::default())
}

fn overload(times: f64) -> Scenario {
    let length = secs(12);
    Scenario {
        measured: (secs(4), secs(10)),
        ..Scenario::new(vec![Crowd::poisson(1_000.0 * times, length)], length)
    }
}

fn one(scenario: &Scenario, policy: &Policy) -> Outcome {
    scenario.run(policy, SEED).unwrap().remove(0)
}

#[test]
fn a_run_is_the_same_again_from_its_seed() {
    let scenario = Scenario { slot: Some(secs(1)), ..overload(1.5) };
    for policy in [anteroom(), Policy::Fifo, Policy::Lifo, Policy::NoLimit] {
        assert_eq!(scenario.run(&policy, 7).unwrap(), scenario.run(&policy, 7).unwrap());
        assert_ne!(scenario.run(&policy, 7).unwrap(), scenario.run(&policy, 8).unwrap());
    }
}

#[test]
fn every_client_has_exactly_one_end() {
    for policy in [anteroom(), Policy::Fifo, Policy::Lifo, Policy::NoLimit] {
        let outcome = one(&overload(2.0), &policy);
        let refused: u64 = outcome.refused.values().sum();
        assert_eq!(outcome.came, outcome.answered + outcome.gave_up + refused, "{policy:?}");
        assert_eq!(u64::try_from(outcome.took.len()).unwrap(), outcome.answered);
    }
}

#[test]
fn at_twice_its_capacity_a_service_behind_anteroom_does_what_it_can_and_quickly() {
    let scenario = overload(2.0);
    let outcome = one(&scenario, &anteroom());
    assert!(scenario.goodput(&outcome) >= 0.95 * scenario.capacity(), "{}", scenario.goodput(&outcome));
    assert!(outcome.took(0.99).unwrap() <= Duration::from_millis(300), "{:?}", outcome.took(0.99));
    assert!(outcome.waste() < 0.01, "{}", outcome.waste());
}

#[test]
fn at_twice_its_capacity_a_plain_queue_and_no_limit_collapse() {
    let scenario = overload(2.0);
    for policy in [Policy::Fifo, Policy::NoLimit] {
        let outcome = one(&scenario, &policy);
        assert!(scenario.goodput(&outcome) < 0.05 * scenario.capacity(), "{policy:?}");
        assert!(outcome.waste() > 0.95, "{policy:?}: {}", outcome.waste());
    }
}

#[test]
fn below_its_capacity_nobody_is_refused_whatever_the_rule() {
    for policy in [anteroom(), Policy::Fifo, Policy::Lifo, Policy::NoLimit] {
        let outcome = one(&overload(0.8), &policy);
        assert_eq!(outcome.answered, outcome.came, "{policy:?}");
    }
}

fn course<'a>(courses: &'a [figures::Course], name: &str) -> &'a figures::Course {
    courses.iter().find(|course| course.name == name).unwrap()
}

fn recovered(slots: &[Slot]) -> Duration {
    let (release, width) = figures::stall_release();
    figures::recovered_after(slots, width, release, 0.99, release + secs(11)).unwrap()
}

#[test]
fn after_a_stall_newcomers_succeed_at_once_behind_anteroom_and_after_seconds_behind_the_plain_loop() {
    let courses = figures::stall(SEED).unwrap();
    assert!(recovered(&course(&courses, "Anteroom").clients.slots) <= Duration::from_millis(250));
    assert!(recovered(&course(&courses, "plain loop (FIFO)").clients.slots) > secs(5));
    assert!(recovered(&course(&courses, "no limit").clients.slots) > secs(5));
}

/// The table lies beside the plot in which both are drawn.
#[test]
fn what_was_measured_on_real_sockets_is_what_was_predicted() {
    let table = include_str!("../../../../docs/guide/overload/after-a-stall.csv");
    let measured = read_measured(table).unwrap();
    let courses = figures::stall(SEED).unwrap();
    let (release, width) = figures::stall_release();
    for (server, name) in [("anteroom", "Anteroom"), ("plain", "plain loop (FIFO)")] {
        let (_, slots) = measured.iter().find(|(measured, _)| measured == server).unwrap();
        let predicted = course(&courses, name);
        let answered: u32 = slots.iter().map(|slot| slot.answered).sum();
        let ratio = f64::from(answered) / predicted.clients.answered as f64;
        // A sleep of 20 ms takes up to 21 ms there.
        assert!((0.85..1.15).contains(&ratio), "{name}: measured {answered}, ratio {ratio}");
        let after = slots.iter().filter(|slot| (0.0..11.0).contains(&slot.begins));
        let slot = |slot: &Measured| Slot {
            came: slot.came.into(),
            answered: slot.answered.into(),
            ..Slot::default()
        };
        let after: Vec<_> = after.map(slot).collect();
        let really = figures::recovered_after(&after, width, Duration::ZERO, 0.99, secs(11)).unwrap();
        let difference = really.abs_diff(recovered(&predicted.clients.slots));
        assert!(difference <= secs(1), "{name}: {really:?}, release {release:?}");
    }
}

#[test]
fn one_source_that_takes_all_it_can_get_takes_its_share_and_nobody_else_notices() {
    let courses = figures::flood(SEED).unwrap();
    let most =
        |name| course(&courses, name).others.as_ref().unwrap().slots.iter().map(|slot| slot.open).max();
    // It takes another place while it holds at most 8 times those that are free: 44 and 6.
    assert_eq!(most("Anteroom"), Some(45));
    assert_eq!(course(&courses, "Anteroom").clients.success(), 1.0);
    assert_eq!(most("Anteroom, no share"), Some(50));
    let flooded = &course(&courses, "plain loop (FIFO)").clients.slots[20];
    assert_eq!((flooded.answered, flooded.came > 0), (0, true));
}

#[test]
fn the_numbers_behind_the_plots_and_their_bytes_are_the_same_again() {
    let drawn = || plots::goodput(&figures::loads(&[500.0, 2_000.0], SEED).unwrap()).unwrap();
    assert_eq!(drawn(), drawn());
    assert!(drawn().contains("Anteroom, order = fifo"));
}
