//! The servers as JSON.
//!
//! Owns the shape. Times are numbers of seconds, under names that end in `_seconds`; what is not known is
//! `null`, never 0.

use std::time::Duration;

use anteroom::{
    Blame, Cause, Cost, Deaths, Distribution, Doing, LaneSnapshot, ListenerSnapshot, Readiness, Report,
    Snapshot, Stall, StallCause,
};
use serde_json::{Map, Value, json};

/// The version of the shape: it grows when something is taken away or changes its meaning.
const SHAPE: u32 = 1;

/// One server, by its name.
pub(crate) struct Told<'a> {
    pub(crate) name: &'a str,
    pub(crate) snapshot: Snapshot,
    /// It looks for stalls: otherwise none is not none.
    pub(crate) is_watched: bool,
}

pub(crate) fn of(servers: &[Told<'_>]) -> Value {
    let servers: Map<_, _> = servers.iter().map(|told| (told.name.to_owned(), server(told))).collect();
    json!({ "shape": SHAPE, "version": env!("CARGO_PKG_VERSION"), "servers": servers })
}

fn server(told: &Told<'_>) -> Value {
    let Told { snapshot, is_watched, .. } = told;
    let watched = |value: Value| if *is_watched { value } else { Value::Null };
    let so_far: Map<_, _> =
        snapshot.stalls_so_far.iter().map(|(cause, told)| ((*cause).to_owned(), json!(told))).collect();
    let unready = match snapshot.readiness {
        Readiness::NotReady(why) => Some(why.label()),
        _ => None,
    };
    json!({
        "phase": snapshot.phase.label(),
        "ready": snapshot.readiness.is_ready(),
        "unready_because": unready,
        "paused": snapshot.paused,
        "open": snapshot.open,
        "waiting": snapshot.waiting,
        "silent": snapshot.silent,
        "farewells": snapshot.farewells,
        "sources": snapshot.sources,
        "oldest_wait_seconds": snapshot.oldest_wait.map(seconds),
        "runtime_late_seconds": snapshot.runtime_late.map(seconds),
        "runtime_delay": watched(distribution(&snapshot.runtime_delay)),
        "poll_time": watched(distribution(&snapshot.poll_time)),
        "stalls": watched(snapshot.stalls.iter().map(stall).collect()),
        "stalls_so_far": watched(so_far.into()),
        "lanes": snapshot.lanes.iter().map(|of| lane(of, *is_watched)).collect::<Value>(),
        "listeners": snapshot.listeners.iter().map(listener).collect::<Value>(),
        "report": report(&snapshot.report),
        "events_lost": snapshot.events_lost,
    })
}

// ---------------------------------------------------------------- stalls

fn stall(stall: &Stall) -> Value {
    let Cost { waiting, oldest_wait, queued, open, .. } = stall.cost;
    json!({
        "cause": stall.cause.label(),
        "lasted_seconds": seconds(stall.lasted),
        "says": stall.cause.to_string(),
        "advice": stall.cause.advice(),
        "evidence": evidence(&stall.cause),
        "cost": {
            "waiting": waiting,
            "oldest_wait_seconds": oldest_wait.map(seconds),
            "queued": queued,
            "open": open,
        },
    })
}

fn evidence(cause: &StallCause) -> Value {
    match cause {
        StallCause::Held { by, .. } => json!({ "held_by": by.iter().map(blame).collect::<Value>() }),
        StallCause::RuntimeLate { delay, in_polls, .. } => {
            json!({ "delay_seconds": seconds(*delay), "in_polls_seconds": seconds(*in_polls) })
        }
        StallCause::ServiceNotReady { lane, listeners, .. } => {
            json!({ "lane": lane, "listeners": listeners })
        }
        StallCause::LimitReached { lane, listeners, open, .. } => {
            json!({ "lane": lane, "listeners": listeners, "open": open })
        }
        StallCause::PermitsLeaked { permits, oldest, .. } => {
            json!({ "permits": permits, "oldest_seconds": seconds(*oldest) })
        }
        StallCause::OutOfDescriptors { open, limit, .. } => json!({ "open": open, "limit": limit }),
        StallCause::ProcessStopped { during, .. } => json!({ "during_seconds": seconds(*during) }),
        StallCause::Starved { waited, pressure, throttled, .. } => json!({
            "waited_seconds": seconds(*waited),
            "pressure_seconds": pressure.map(seconds),
            "throttled_seconds": throttled.map(seconds),
        }),
        _ => json!({}),
    }
}

fn blame(blame: &Blame) -> Value {
    let connection = blame.connection.as_ref().map(|connection| {
        json!({
            "id": connection.id,
            "peer": connection.peer.to_string(),
            "span": connection.span,
            // As text: a number above 2^53 is another one to most who read JSON.
            "span_id": connection.span_id.as_ref().map(|id| id.into_u64().to_string()),
        })
    });
    json!({
        "part": blame.part.label(),
        "listeners": blame.listeners,
        "connection": connection,
        "thread": { "name": blame.thread.name, "id": blame.thread.id },
        "lasted_seconds": seconds(blame.lasted),
        "doing": doing(&blame.doing),
    })
}

fn doing(doing: &Doing) -> Value {
    match doing {
        Doing::Sleeping => json!({ "kind": "sleeping" }),
        Doing::Waiting { call, place, .. } => json!({ "kind": "waiting", "call": call, "place": place }),
        Doing::Burning { cpu, .. } => json!({ "kind": "burning", "cpu_seconds": seconds(*cpu) }),
        _ => json!({ "kind": "unknown" }),
    }
}

// ---------------------------------------------------------------- counts

fn lane(lane: &LaneSnapshot, is_watched: bool) -> Value {
    json!({
        "open": lane.open,
        "waiting": lane.waiting,
        "silent": lane.silent,
        "newest_first": lane.newest_first,
        "slow_polls": is_watched.then_some(lane.slow_polls),
    })
}

fn listener(listener: &ListenerSnapshot) -> Value {
    let queue = listener
        .queue
        .map(|queue| json!({ "depth": queue.depth, "limit": queue.limit, "drops": queue.drops }));
    let errors: Map<_, _> =
        listener.accept_errors.iter().map(|(class, count)| (class.name().to_owned(), json!(count))).collect();
    json!({
        "name": listener.name,
        "address": listener.address.to_string(),
        "accepting": listener.accepting.label(),
        "backlog": { "requested": listener.backlog.requested, "effective": listener.backlog.effective },
        "queue": queue,
        "fenced": listener.fenced,
        "left_standing": listener.left_standing,
        "handed_out": listener.handed_out,
        "waiting": listener.waiting,
        "open": listener.open,
        "accept_errors": errors,
        "kernel_wait": distribution(&listener.kernel_wait),
        "room_wait": distribution(&listener.room_wait),
        "handler_time": distribution(&listener.handler_time),
        "report": report(&listener.report),
    })
}

fn report(report: &Report) -> Value {
    let deaths =
        |deaths: &Deaths| json!({ "silent": deaths.silent, "gone": deaths.gone, "reset": deaths.reset });
    let refused: Map<_, _> = Cause::ALL
        .into_iter()
        .zip(report.refused.by_cause())
        .map(|(cause, count)| (cause.label().to_owned(), json!(count)))
        .collect();
    let served = &report.served;
    json!({
        "accepted": report.accepted,
        "served": {
            "done": served.done,
            "failed": served.failed,
            "panicked": served.panicked,
            "cut": served.cut,
        },
        "refused": refused,
        "dead_on_arrival": {
            "in_queue": deaths(&report.dead_on_arrival.in_queue),
            "in_room": deaths(&report.dead_on_arrival.in_room),
        },
        "handed_over": report.handed_over,
    })
}

fn distribution(of: &Distribution) -> Value {
    json!({
        "count": of.count,
        "p50_seconds": seconds(of.p50),
        "p90_seconds": seconds(of.p90),
        "p99_seconds": seconds(of.p99),
        "max_seconds": seconds(of.max),
    })
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
