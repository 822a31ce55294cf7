//! A snapshot's stalls and readiness as JSON: how a child tells its test.
//!
//! Owns the keys. What is unknown is null.

use std::time::Duration;

use anteroom::{Blame, Doing, Readiness, Snapshot, Stall, StallCause};
use serde_json::{Value, json};

/// Every stall: `cause` (the label), `lasted` and other times in milliseconds, `message`, `advice`, `cost`,
/// `by` (who is blamed, the longest first), and `evidence` of the causes beyond handlers.
#[must_use]
pub fn stalls(snapshot: &Snapshot) -> Value {
    snapshot.stalls.iter().map(stall).collect()
}

/// `ready`, and `why` not.
#[must_use]
pub fn readiness(readiness: Readiness) -> Value {
    let why = match readiness {
        Readiness::NotReady(why) => Some(why.label()),
        _ => None,
    };
    json!({ "ready": readiness.is_ready(), "why": why })
}

fn stall(stall: &Stall) -> Value {
    let Stall { cause, lasted, cost, .. } = stall;
    let by: &[Blame] = match cause {
        StallCause::Held { by } => by,
        _ => &[],
    };
    json!({
        "cause": cause.label(),
        "lasted": millis(*lasted),
        "message": stall.to_string(),
        "advice": cause.advice(),
        "by": by.iter().map(blame).collect::<Value>(),
        "evidence": evidence(cause),
        "cost": {
            "waiting": cost.waiting,
            "oldest_wait": cost.oldest_wait.map(millis),
            "queued": cost.queued,
            "open": cost.open,
        },
    })
}

fn blame(blame: &Blame) -> Value {
    let (doing, call, cpu) = match &blame.doing {
        Doing::Sleeping => ("sleeping", None, None),
        Doing::Waiting { call, .. } => ("waiting", call.as_deref(), None),
        Doing::Burning { cpu } => ("burning", None, Some(millis(*cpu))),
        _ => ("unknown", None, None),
    };
    json!({
        "part": blame.part.label(),
        "lasted": millis(blame.lasted),
        "thread": blame.thread.name,
        "thread_id": blame.thread.id,
        "doing": doing,
        "call": call,
        "cpu": cpu,
        "connection": blame.connection.as_ref().map(|connection| connection.id),
        "peer": blame.connection.as_ref().map(|connection| connection.peer.to_string()),
        "listeners": blame.listeners,
    })
}

fn evidence(cause: &StallCause) -> Value {
    match cause {
        StallCause::RuntimeLate { delay, in_polls } => {
            json!({ "delay": millis(*delay), "in_polls": millis(*in_polls) })
        }
        StallCause::ServiceNotReady { lane, listeners } => json!({ "lane": lane, "listeners": listeners }),
        StallCause::LimitReached { lane, listeners, open } => {
            json!({ "lane": lane, "listeners": listeners, "open": open })
        }
        StallCause::PermitsLeaked { permits, oldest } => {
            json!({ "permits": permits, "oldest": millis(*oldest) })
        }
        StallCause::OutOfDescriptors { open, limit } => json!({ "open": open, "limit": limit }),
        StallCause::ProcessStopped { during } => json!({ "during": millis(*during) }),
        StallCause::Starved { waited, .. } => json!({ "waited": millis(*waited) }),
        _ => Value::Null,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
