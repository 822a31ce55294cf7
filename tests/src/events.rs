//! A subscriber's layer that keeps every event in memory.
//!
//! Owns the events, up to a bound beyond which it panics. Never formats for people, and never filters.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// A test that makes more events than this does not mean to.
const MOST: usize = 1_000_000;

/// The events so far; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Collected(Arc<Mutex<Vec<Value>>>);

impl Collected {
    /// Those whose target is exactly this, or all; each an object of `level`, `target` and `fields`.
    #[must_use]
    pub fn of(&self, target: Option<&str>) -> Vec<Value> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().filter(|event| target.is_none_or(|target| event["target"] == target)).cloned().collect()
    }
}

impl<S: Subscriber> Layer<S> for Collected {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let event = json!({
            "level": metadata.level().as_str(),
            "target": metadata.target(),
            "fields": fields.0,
        });
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(events.len() < MOST, "more than {MOST} events");
        events.push(event);
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn keep(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.keep(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value);
    }
}
