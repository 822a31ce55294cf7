//! Waiting for a condition, with a bound that only a defect reaches.
//!
//! Owns the bound. Never sleeps to let something happen: it looks again until it has.

use std::future::Future;
use std::time::{Duration, Instant};

/// Far beyond anything that a loaded machine does to a test.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks.
const STEP: Duration = Duration::from_millis(1);

/// Looks until `found` gives something, and gives it.
///
/// # Panics
/// After [`PATIENCE`], with what was waited for.
pub fn found<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(it) = look() {
            return it;
        }
        assert!(since.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(STEP);
    }
}

/// Looks until `holds`.
///
/// # Panics
/// After [`PATIENCE`], with what was waited for.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    found(what, || holds().then_some(()));
}

/// [`until`], from inside a runtime.
///
/// # Panics
/// After [`PATIENCE`], with what was waited for.
pub async fn becomes(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(STEP).await;
    }
}

/// The result of something that must come to an end.
///
/// # Panics
/// After [`PATIENCE`], with what was waited for.
pub async fn ends<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited in vain until {what}"),
    }
}
