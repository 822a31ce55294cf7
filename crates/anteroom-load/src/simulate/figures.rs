//! The numbers behind the plots of the guide.
//!
//! Owns: the scenarios and which rules are compared in them.
//! Never: draws.

use super::{Crowd, Outcome, Patience, Pattern, Policy, Scenario, Slot, Wants};
use crate::{client::Leaving, stall::AfterAStall};
use anteroom::{Config, ConfigError, Order, Share};
use std::time::Duration;

/// A rule under its name.
pub type Named = (&'static str, Policy);

/// Rules or scenarios by their names, with what they came to.
pub type Series<T> = Vec<(&'static str, Vec<T>)>;

/// One rule at one load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Clients who came per second.
    pub offered: f64,
    /// Clients who were answered per second.
    pub goodput: f64,
    /// From the coming to the answer: the median of the answered, and what 99 of 100 had it within, in seconds.
    pub took: Option<(f64, f64)>,
    /// The share of the services that were for somebody who had left, if any has ended.
    pub waste: Option<f64>,
}

/// One rule through a scenario that changes with time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// The name of the rule.
    pub name: &'static str,
    /// What those who want an answer met.
    pub clients: Outcome,
    /// What the others met, if there are any.
    pub others: Option<Outcome>,
}

/// Loads from one client per second to a million, closer to each other where it matters: the capacity is 1,000.
pub const LOADS: [f64; 21] = [
    1.0,
    10.0,
    100.0,
    300.0,
    500.0,
    700.0,
    800.0,
    900.0,
    950.0,
    1_000.0,
    1_050.0,
    1_100.0,
    1_200.0,
    1_500.0,
    2_000.0,
    4_000.0,
    10_000.0,
    30_000.0,
    100_000.0,
    300_000.0,
    1_000_000.0,
];

/// Every rule that is compared.
#[must_use]
pub fn policies() -> Vec<Named> {
    vec![
        ("Anteroom", Policy::Anteroom(Box::default())),
        ("Anteroom, order = fifo", anteroom(|config| config.order = Order::Fifo)),
        ("plain loop (FIFO)", Policy::Fifo),
        ("newest first (LIFO)", Policy::Lifo),
        ("no limit", Policy::NoLimit),
    ]
}

/// Those of the plot of a flood. Without a limit nobody is kept out by who only holds a connection, until there
/// are no descriptors left; that is another story.
#[must_use]
pub fn flood_policies() -> Vec<Named> {
    vec![
        ("Anteroom", Policy::Anteroom(Box::default())),
        ("Anteroom, no share", anteroom(|config| config.share = Share::unlimited())),
        ("plain loop (FIFO)", Policy::Fifo),
    ]
}

fn anteroom(set: impl FnOnce(&mut Config)) -> Policy {
    let mut config = Config::default();
    set(&mut config);
    Policy::Anteroom(Box::new(config))
}

/// Every rule at each of these loads, by Poisson's law, clients with a patience of a second.
///
/// # Errors
/// The settings of a policy cannot be meant.
pub fn loads(offered: &[f64], seed: u64) -> Result<Series<Point>, ConfigError> {
    let point = |offered: &f64, policy: &Policy| {
        let scenario = steady_load(*offered);
        let outcome = first(scenario.run(policy, seed)?);
        let took = outcome.took(0.5).zip(outcome.took(0.99));
        Ok(Point {
            offered: *offered,
            goodput: scenario.goodput(&outcome),
            took: took.map(|(half, most)| (half.as_secs_f64(), most.as_secs_f64())),
            waste: (outcome.services > 0).then(|| outcome.waste()),
        })
    };
    let policies = policies().into_iter();
    let series = policies.map(|(name, policy)| {
        Ok((name, offered.iter().map(|offered| point(offered, &policy)).collect::<Result<_, _>>()?))
    });
    series.collect()
}

/// Long enough for some thousand clients, and for a queue to collapse; short enough for a million per second.
fn steady_load(offered: f64) -> Scenario {
    let (begin, measured) = match offered {
        100_000.0.. => (1.5, 1.0),
        1_000.0.. => (5.0, 10.0),
        _ => (5.0, 10_000.0 / offered),
    };
    let seconds = Duration::from_secs_f64;
    let length = seconds(begin + measured + 1.0);
    Scenario {
        measured: (seconds(begin), seconds(begin + measured)),
        ..Scenario::new(vec![Crowd::poisson(offered, length)], length)
    }
}

/// When the handlers of [`stall`] work again, and the width of its slots.
#[must_use]
pub fn stall_release() -> (Duration, Duration) {
    let run = AfterAStall::default();
    (run.before + run.blocked, Duration::from_millis(100))
}

/// Every rule through the stall that is measured on real sockets, with the same numbers.
///
/// # Errors
/// The settings of a policy cannot be meant.
pub fn stall(seed: u64) -> Result<Vec<Course>, ConfigError> {
    let AfterAStall { rate, patience, before, blocked, after, places, takes, .. } = AfterAStall::default();
    let length = before + blocked + after;
    let crowd = Crowd {
        pattern: Pattern::Steady(rate.into()),
        sources: 250,
        patience: Patience::Fixed(patience),
        ..Crowd::poisson(0.0, length)
    };
    let scenario = Scenario {
        places,
        takes,
        stall: Some((before, before + blocked)),
        slot: Some(stall_release().1),
        ..Scenario::new(vec![crowd], length)
    };
    courses(&scenario, policies(), seed)
}

/// The seconds in which the flooder of [`flood`] comes; it holds what it gets for ten more.
pub const FLOOD: (u64, u64) = (5, 20);

/// One address opens 5,000 connections per second and holds each for ten seconds, while 50 others come once a
/// second.
///
/// # Errors
/// The settings of a policy cannot be meant.
pub fn flood(seed: u64) -> Result<Vec<Course>, ConfigError> {
    courses(&flooded(), flood_policies(), seed)
}

fn flooded() -> Scenario {
    let length = Duration::from_secs(40);
    let clients = Crowd { sources: 50, ..Crowd::poisson(50.0, length) };
    let flooder = Crowd {
        pattern: Pattern::Steady(5_000.0),
        during: (Duration::from_secs(FLOOD.0), Duration::from_secs(FLOOD.1)),
        sources: 1,
        patience: Patience::Fixed(Duration::from_secs(10)),
        leaving: vec![Leaving::Silent],
        wants: Wants::Place,
    };
    let slot = Some(Duration::from_millis(500));
    Scenario { slot, ..Scenario::new(vec![clients, flooder], length) }
}

/// A scenario under its name.
type Case = (&'static str, Scenario);

/// The scenarios of the table: name, and what each rule came to.
///
/// # Errors
/// The settings of a policy cannot be meant.
pub fn table(seed: u64) -> Result<Series<Course>, ConfigError> {
    let run = |(name, scenario): Case| Ok((name, courses(&scenario, policies(), seed)?));
    cases().into_iter().map(run).collect()
}

fn cases() -> [Case; 5] {
    let length = Duration::from_secs(20);
    let crowd = |per_second| Crowd::poisson(per_second, length);
    let mixed = Crowd { patience: Patience::Mean(Duration::from_secs(1)), ..crowd(2_000.0) };
    let bursts = Crowd { pattern: Pattern::Bursts(500, Duration::from_secs(2)), ..crowd(0.0) };
    let stampede = Crowd {
        pattern: Pattern::Stampede(10_000, Duration::from_millis(500)),
        during: (Duration::from_secs(5), length),
        ..crowd(0.0)
    };
    let scenario = |crowds| Scenario {
        measured: (Duration::from_secs(5), Duration::from_secs(18)),
        ..Scenario::new(crowds, length)
    };
    [
        ("four fifths of the capacity", scenario(vec![crowd(800.0)])),
        ("twice the capacity", scenario(vec![crowd(2_000.0)])),
        ("twice the capacity, patience differs (mean 1 s)", scenario(vec![mixed])),
        ("half the capacity, and 500 at once every 2 s", scenario(vec![crowd(500.0), bursts])),
        ("three fifths, and 10,000 within 0.5 s after a restart", scenario(vec![crowd(600.0), stampede])),
    ]
}

/// The settings of the waiting room, one changed at a time, in three of the scenarios.
///
/// # Errors
/// The settings of a policy cannot be meant.
pub fn settings(seed: u64) -> Result<Series<Course>, ConfigError> {
    let ms = Duration::from_millis;
    let order = |target, interval, give_up| {
        let order = Order::Adaptive { target: ms(target), interval: ms(interval), give_up: ms(give_up) };
        anteroom(|config| config.order = order)
    };
    let policies = || {
        vec![
            ("the defaults", Policy::Anteroom(Box::default())),
            ("`target` 300 ms", order(300, 100, 1_000)),
            ("`target` 600 ms", order(600, 100, 1_000)),
            ("`interval` 500 ms", order(100, 500, 1_000)),
            ("`give_up` 300 ms", order(100, 100, 300)),
            ("`give_up` 600 ms", order(100, 100, 600)),
            ("`give_up` 2 s", order(100, 100, 2_000)),
            (
                "`order` fifo, `max_wait` 500 ms",
                anteroom(|config| {
                    config.order = Order::Fifo;
                    config.max_wait = ms(500);
                }),
            ),
        ]
    };
    let [_, overload, mixed, bursts, _] = cases();
    let run = |(name, scenario): Case| Ok((name, courses(&scenario, policies(), seed)?));
    [overload, mixed, bursts].into_iter().map(run).collect()
}

/// The flood against several shares.
///
/// # Errors
/// The settings of a policy cannot be meant.
pub fn shares(seed: u64) -> Result<Vec<Course>, ConfigError> {
    let share = |alpha| anteroom(|config| config.share.alpha = alpha);
    let policies = vec![
        ("1", share(Some(1))),
        ("2", share(Some(2))),
        ("8", share(Some(8))),
        ("32", share(Some(32))),
        ("none", share(None)),
    ];
    courses(&flooded(), policies, seed)
}

fn courses(scenario: &Scenario, policies: Vec<Named>, seed: u64) -> Result<Vec<Course>, ConfigError> {
    let course = |(name, policy): Named| {
        let mut outcomes = scenario.run(&policy, seed)?.into_iter();
        let clients = outcomes.next().unwrap_or_default();
        Ok(Course { name, clients, others: outcomes.next() })
    };
    policies.into_iter().map(course).collect()
}

fn first(outcomes: Vec<Outcome>) -> Outcome {
    outcomes.into_iter().next().unwrap_or_default()
}

/// The first moment from which on in every slot up to the end at least this share of the newcomers succeed, from
/// `origin`. `None`: there is none.
#[must_use]
pub fn recovered_after(
    slots: &[Slot],
    width: Duration,
    origin: Duration,
    least: f64,
    until: Duration,
) -> Option<Duration> {
    let number = |moment: Duration| usize::try_from(moment.as_nanos() / width.as_nanos().max(1)).ok();
    let (first, last) = (number(origin)?, number(until)?.min(slots.len()));
    let bad = slots.get(first..last)?.iter().rposition(|slot| slot.success() < least);
    let good = bad.map_or(0, |bad| bad + 1);
    (first + good < last).then(|| width.saturating_mul(u32::try_from(good).unwrap_or(u32::MAX)))
}
