//! Random histories under random rules, which change mid-way.

use proptest::option;
use proptest::prelude::*;

use super::model::Model;
use super::*;
use crate::admit::{EarlyRefusal, FirstByte, Rate, WhenFull};

const LANES: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    Arrive { lane: usize, from: usize, aged: u64, voice: Voice },
    Take { lane: usize },
    Release { nth: usize },
    Leave { nth: usize },
    LosePatience { nth: usize, patience: u64 },
    Speak { nth: usize },
    Watch,
    TurnAway { lane: usize },
    MoveOut { lane: usize },
    Pass { time: u64 },
    Sleep { time: u64 },
    Change(Box<Config>),
}

/// Addresses of five sources or of three, one of them in two forms; and nowhere.
fn from(number: usize) -> Option<IpAddr> {
    let texts =
        ["192.0.2.1", "192.0.2.2", "198.51.100.1", "::ffff:198.51.100.1", "2001:db8::1", "2001:db8::2"];
    texts.get(number).map(|text| text.parse().unwrap())
}

fn voice() -> impl Strategy<Value = Voice> {
    prop_oneof![
        3 => Just(Voice::Silent),
        4 => Just(Voice::Spoke),
        1 => (5..150u64).prop_map(|patience| Voice::SpokeAndClosed(millis(patience))),
    ]
}

/// Mostly young.
fn aged() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0), 3 => 0..30u64, 1 => 0..250u64]
}

fn step() -> impl Strategy<Value = Step> {
    let nth = 0..16usize;
    prop_oneof![
        12 => (0..LANES, 0..7usize, aged(), voice())
            .prop_map(|(lane, from, aged, voice)| Step::Arrive { lane, from, aged, voice }),
        8 => (0..LANES).prop_map(|lane| Step::Take { lane }),
        5 => nth.clone().prop_map(|nth| Step::Release { nth }),
        1 => nth.clone().prop_map(|nth| Step::Leave { nth }),
        1 => (nth.clone(), 1..250u64).prop_map(|(nth, patience)| Step::LosePatience { nth, patience }),
        3 => nth.prop_map(|nth| Step::Speak { nth }),
        1 => Just(Step::Watch),
        1 => (0..LANES).prop_map(|lane| Step::TurnAway { lane }),
        1 => (0..LANES).prop_map(|lane| Step::MoveOut { lane }),
        4 => (0..40u64).prop_map(|time| Step::Pass { time }),
        2 => (0..40u64).prop_map(|time| Step::Sleep { time }),
        1 => config().prop_map(|config| Step::Change(Box::new(config))),
    ]
}

fn rate() -> impl Strategy<Value = Rate> {
    (prop::sample::select(vec![20u32, 50, 100]), 1..4u32)
        .prop_map(|(rate, burst)| Rate::per_second(rate).burst(burst))
}

fn shares() -> impl Strategy<Value = Share> {
    let alpha = prop::sample::select(vec![None, None, Some(1), Some(2), Some(8)]);
    let number = option::weighted(0.2, 1..4usize);
    let exempt = prop::sample::select(vec![vec![], vec!["192.0.2.1".parse().unwrap()]]);
    let v4_prefix = prop::sample::select(vec![32u8, 32, 24]);
    (alpha, number, option::weighted(0.2, rate()), exempt, v4_prefix).prop_map(
        |(alpha, max_per_source, per_second, exempt, v4_prefix)| Share {
            alpha,
            max_per_source,
            per_second,
            v4_prefix,
            exempt,
            ..Share::default()
        },
    )
}

fn config() -> impl Strategy<Value = Config> {
    let order = Order::Adaptive { target: millis(20), interval: millis(15), give_up: millis(60) };
    let order = prop::sample::select(vec![Order::Fifo, order]);
    let when_full =
        prop::sample::select(vec![WhenFull::RefuseOldest, WhenFull::RefuseOldest, WhenFull::BackPressure]);
    let early = option::weighted(0.15, (0..3usize, 0..3usize, 0..100u8));
    let stage = option::weighted(0.5, (30..120u64, 1..4usize));
    let pace = option::weighted(0.2, (rate(), 0..2_000u64));
    (
        option::weighted(0.85, 1..5usize),
        0..5usize,
        100..250u64,
        order,
        when_full,
        shares(),
        early,
        stage,
        pace,
    )
        .prop_map(
            |(max_connections, max_waiting, max_wait, order, when_full, share, early, stage, pace)| Config {
                max_connections,
                max_waiting: max_waiting.max(usize::from(max_connections.is_none())),
                max_wait: millis(max_wait),
                order,
                when_full,
                share,
                refuse_early: early
                    .filter(|_| when_full == WhenFull::RefuseOldest)
                    .map(|(from, width, percent)| EarlyRefusal::between(from, from + width).percent(percent)),
                first_byte: stage.map(|(within, most)| FirstByte::within(millis(within)).max_silent(most)),
                accept_rate: pace.map(|(rate, ramp)| rate.ramp(millis(ramp))),
                ..Config::default()
            },
        )
}

fn lane_rules() -> impl Strategy<Value = LaneRules> {
    (option::weighted(0.2, 1..4usize), option::weighted(0.2, 1..4usize), option::weighted(0.3, 1..3usize))
        .prop_map(|(max_connections, max_waiting, set_aside)| LaneRules {
            max_connections,
            max_waiting,
            set_aside,
        })
}

/// A few sources that want more than there is, and time enough.
fn contention() -> impl Strategy<Value = (Config, Vec<Step>)> {
    let step = || {
        prop_oneof![
            8 => (0..7usize).prop_map(|from| Step::Arrive { lane: 0, from, aged: 0, voice: Voice::Spoke }),
            8 => Just(Step::Take { lane: 0 }),
            5 => (0..16usize).prop_map(|nth| Step::Release { nth }),
            1 => (0..16usize).prop_map(|nth| Step::Leave { nth }),
            2 => (0..10u64).prop_map(|time| Step::Pass { time }),
            1 => Just(Step::Watch),
        ]
    };
    let order = Order::Adaptive { target: millis(20), interval: millis(15), give_up: millis(2_000) };
    let order = prop::sample::select(vec![Order::Fifo, Order::Fifo, order]);
    (1..3u32, 3..8usize, 4..20usize, order, prop::collection::vec(step(), 0..160)).prop_map(
        |(alpha, places, waiting, order, steps)| {
            let share = Share { alpha: Some(alpha), v4_prefix: 24, ..Share::default() };
            let (max_connections, max_waiting) = (Some(places), waiting);
            (Config { share, max_connections, max_waiting, order, ..plain() }, steps)
        },
    )
}

/// No file of its own for what has failed: a case that deserves to be kept deserves a name.
fn quietly(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn apply(model: &mut Model, step: &Step) {
    match *step {
        Step::Arrive { lane, from: number, aged, voice } => {
            model.arrive(lane, from(number), voice, millis(aged));
        }
        Step::Take { lane } => {
            model.take(lane);
        }
        Step::Release { nth } => model.release(nth),
        Step::Leave { nth } => model.leave(nth),
        Step::LosePatience { nth, patience } => model.lose_patience(nth, millis(patience)),
        Step::Speak { nth } => model.speak(nth),
        Step::Watch => model.watch(),
        Step::TurnAway { lane } => model.turn_away(lane),
        Step::MoveOut { lane } => model.move_out(lane),
        Step::Pass { time } => model.pass(millis(time)),
        Step::Sleep { time } => model.sleep(millis(time)),
        Step::Change(ref config) => model.change(config),
    }
}

proptest! {
    #![proptest_config(quietly(1_500))]

    #[test]
    fn in_every_history_each_connection_has_one_end_and_no_bound_is_passed(
        steps in prop::collection::vec(step(), 0..160),
        config in config(),
        lanes in prop::collection::vec(lane_rules(), LANES),
        sockets in option::weighted(0.4, 4..14usize),
    ) {
        let mut model = Model::new(&config, &lanes, sockets);
        for step in &steps {
            apply(&mut model, step);
        }
        while model.opened() > 0 {
            model.release(0);
        }
        model.pass(millis(1_000));
        model.is_over();
    }

    #[test]
    fn where_sources_contend_nobody_is_starved_or_overtaken((config, steps) in contention()) {
        let mut model = Model::new(&config, &[LaneRules::default()], None);
        for step in &steps {
            apply(&mut model, step);
        }
        while model.opened() + model.waiting_in(0) > 0 {
            while model.take(0).is_some() {}
            model.release(0);
        }
        model.watch();
        model.is_over();
    }
}
