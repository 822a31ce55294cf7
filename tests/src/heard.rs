//! A subscriber that keeps the events for a test to read.
//!
//! Owns what was heard. Keeps no span.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// One event.
#[derive(Clone, Debug)]
pub struct Said {
    /// When it was spoken.
    pub at: Instant,
    /// How loud.
    pub level: Level,
    /// Its target.
    pub target: String,
    /// Its fields as text, the message under `message`.
    pub fields: BTreeMap<&'static str, String>,
}

/// What has been spoken in this process under targets of Anteroom.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<Vec<Said>>>);

impl Heard {
    /// The one listener of this process, installed at the first call.
    ///
    /// # Panics
    /// When another subscriber was installed.
    pub fn here() -> &'static Self {
        static HERE: OnceLock<Heard> = OnceLock::new();
        HERE.get_or_init(|| {
            let heard = Self::default();
            let subscriber = tracing_subscriber::registry().with(heard.clone());
            assert!(tracing::subscriber::set_global_default(subscriber).is_ok(), "there is another");
            heard
        })
    }

    /// What was said of `listener` under `target`, in order.
    #[must_use]
    pub fn of(&self, target: &str, listener: &str) -> Vec<Said> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let about = |said: &&Said| {
            said.target == target && said.fields.get("listener").is_some_and(|name| name == listener)
        };
        heard.iter().filter(about).cloned().collect()
    }
}

impl<S: Subscriber> Layer<S> for Heard {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let target = event.metadata().target();
        if !target.starts_with("anteroom") {
            return;
        }
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        let said = Said {
            at: Instant::now(),
            level: *event.metadata().level(),
            target: target.to_owned(),
            fields: fields.0,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(said);
    }
}

struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
