//! Clients that come all the time, one by one: on a thread of their own, as nothing else that the clients do is to
//! hold them up, and not in the steps of a timer, which others would fall into.
//!
//! Owns the thread and the pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, yield_now};

use super::crowd::{Played, Stage};
use super::{Part, Target};

/// See the module.
#[derive(Debug)]
pub(super) struct Arrivals {
    shared: Arc<Shared>,
    ended: oneshot::Receiver<Vec<Played>>,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    arrived: AtomicU64,
}

impl Arrivals {
    /// They go to the targets in turn.
    pub(super) fn begin(targets: Vec<Target>, stage: Stage, per_second: u32) -> Self {
        let shared = Arc::<Shared>::default();
        let told = Arc::clone(&shared);
        let (tell, ended) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            // Whoever gave the round up does not listen.
            _ = tell.send(runtime.block_on(told.come(&targets, &stage, per_second)));
        });
        Self { shared, ended }
    }

    /// How many so far.
    pub(super) fn arrived(&self) -> u64 {
        self.shared.arrived.load(Ordering::Acquire)
    }

    /// Nobody comes any more.
    pub(super) fn stop(&self) {
        self.shared.over.store(true, Ordering::Release);
    }

    /// Waits for everybody's outcome.
    pub(super) async fn end(self) -> Vec<Played> {
        self.stop();
        self.ended.await.expect("a client plays its part")
    }
}

impl Shared {
    async fn come(&self, targets: &[Target], stage: &Stage, per_second: u32) -> Vec<Played> {
        let mut clients = JoinSet::new();
        let mut next = Instant::now();
        for (number, target) in targets.iter().cycle().enumerate() {
            if self.over.load(Ordering::Acquire) {
                break;
            }
            // What they do meanwhile can wait so long.
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            clients.spawn(stage.play(Part::Quick, target.clone()));
            self.arrived.fetch_add(1, Ordering::AcqRel);
            next += gap(number, per_second);
            yield_now().await;
        }
        clients.join_all().await
    }
}

/// From half of the mean to one and a half, spread evenly by the golden ratio.
fn gap(number: usize, per_second: u32) -> Duration {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    let spread = (number as f64 * GOLDEN).fract();
    Duration::from_secs(1).mul_f64((0.5 + spread) / f64::from(per_second))
}
