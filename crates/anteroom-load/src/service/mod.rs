//! A service whose capacity is bound by time: so many places, each of which works so long for every client.
//!
//! Owns: the handler that all loops share, and the process that runs it.
//! Never: work that costs the processor, or a client's request that is needed: the answer is one byte, for
//! whoever is there.
//!
//! A service process answers the questions `shut` (from now on every handler blocks its worker), `blocked`
//! (how many do), `open` (they go on; answers when), `calls` (who was called and when) and `report`.

mod calls;
mod gate;
mod handler;
mod looped;
mod setup;

pub use calls::Call;
pub use setup::{Loop, Setup};

use crate::process::answer_parent;
use handler::Handler;
use serde_json::{Value, json};
use std::{io, sync::Arc};
use tokio::runtime;

/// Serves as told on a port of the kernel's choice, tells the parent the address, and ends with the parent.
///
/// # Errors
///
/// The setup cannot be read, or the server cannot start, or its accept path ended.
pub fn serve(setup: &str) -> io::Result<()> {
    let setup: Setup = serde_json::from_str(setup)?;
    let runtime = runtime::Builder::new_multi_thread().worker_threads(setup.workers).enable_all().build()?;
    let handler = Arc::new(Handler::new(setup.takes));
    let (workers, workers_count) = (runtime.handle().clone(), setup.workers);
    let ended = runtime.block_on(async {
        let answering = Arc::clone(&handler);
        let running = looped::start(&setup, &handler)?;
        let handle = running.handle.clone();
        let parent_gone = answer_parent(running.address, move |question| {
            let answer = match question {
                "shut" => {
                    block_every_worker(&workers, workers_count, &answering);
                    Value::Null
                }
                "blocked" => answering.gate().blocked().into(),
                "open" => nanos(answering.gate().open()).into(),
                "calls" => answering.calls().to_json(),
                "report" => handle.as_ref().map_or(Value::Null, |handle| {
                    let snapshot = handle.snapshot();
                    json!({
                        "open": snapshot.open,
                        "waiting": snapshot.waiting,
                        "report": snapshot.report.to_string(),
                    })
                }),
                _ => json!({ "error": "no such question" }),
            };
            answer.to_string()
        })?;
        tokio::select! {
            ended = running.ended => ended,
            _ = parent_gone => Ok(()),
        }
    });
    // Handlers that are under way are of no interest any more.
    runtime.shutdown_background();
    ended
}

/// From now on every handler blocks. One of them can hold up the rest of the runtime while a worker is idle and
/// nobody wakes it (the blocked one was to watch the sockets): so each worker is also given something that
/// blocks.
fn block_every_worker(workers: &runtime::Handle, count: usize, handler: &Arc<Handler>) {
    handler.gate().shut();
    for _ in 0..count {
        let handler = Arc::clone(handler);
        workers.spawn(async move { handler.gate().pass() });
    }
}

fn nanos(moment: std::time::Duration) -> u64 {
    u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX)
}
