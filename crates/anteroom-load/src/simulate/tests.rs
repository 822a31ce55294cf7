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
