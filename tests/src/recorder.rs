//! A recorder that a test can read as often as it likes.
//!
//! Owns the latest value of every gauge and counter. Keeps no histogram.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// What has been published in this process.
#[derive(Clone, Debug, Default)]
pub struct Recorded(Arc<Mutex<HashMap<Key, Arc<AtomicU64>>>>);

impl Recorded {
    /// The one recorder of this process, installed at the first call.
    ///
    /// # Panics
    /// When another recorder was installed.
    pub fn here() -> &'static Self {
        static HERE: OnceLock<Recorded> = OnceLock::new();
        HERE.get_or_init(|| {
            let recorded = Self::default();
            assert!(metrics::set_global_recorder(recorded.clone()).is_ok(), "there is another recorder");
            recorded
        })
    }

    /// A gauge of one listener; `None` before it was published.
    #[must_use]
    pub fn gauge(&self, name: &'static str, listener: &str) -> Option<f64> {
        self.bits(name, listener).map(f64::from_bits)
    }

    /// A counter of one listener; `None` before it was published.
    #[must_use]
    pub fn counter(&self, name: &'static str, listener: &str) -> Option<u64> {
        self.bits(name, listener)
    }

    fn bits(&self, name: &'static str, listener: &str) -> Option<u64> {
        let key = Key::from_parts(name, &[("listener", listener.to_owned())]);
        let values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.get(&key).map(|value| value.load(Ordering::Acquire))
    }

    fn value(&self, key: &Key) -> Arc<AtomicU64> {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(values.entry(key.clone()).or_default())
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.value(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.value(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
