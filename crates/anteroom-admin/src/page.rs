//! The metrics page: a recorder of its own for each server, and Prometheus' text.
//!
//! Owns the values, and the label `server` that tells the servers apart. What a sample costs does not depend on how
//! much it stands for. Never touches the global recorder.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anteroom::{Handle, Publisher};
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};

/// In seconds: waits and polls begin at microseconds, handlers end at minutes.
const BOUNDS: [f64; 16] =
    [1e-5, 1e-4, 2.5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

pub(crate) struct Page {
    families: Arc<Mutex<Families>>,
    servers: Vec<(Box<OneServer>, Publisher)>,
}

impl Page {
    pub(crate) fn of(servers: &[(String, Handle)]) -> Self {
        let families = Arc::default();
        let of = |(name, server): &(String, Handle)| {
            let recorder = OneServer { name: name.clone(), families: Arc::clone(&families) };
            (Box::new(recorder), server.publisher())
        };
        Self { servers: servers.iter().map(of).collect(), families }
    }

    /// As of now.
    pub(crate) fn render(&mut self) -> String {
        for (recorder, publisher) in &mut self.servers {
            with_local_recorder(&**recorder, || publisher.publish());
        }
        let mut text = String::new();
        for (name, family) in lock(&self.families).iter() {
            family.write(name, &mut text);
        }
        text
    }
}

/// By name.
type Families = BTreeMap<String, Family>;

/// One metric, of all servers.
#[derive(Default)]
struct Family {
    help: Option<SharedString>,
    /// By labels, as they are written.
    samples: BTreeMap<String, Sample>,
}

enum Sample {
    Counter(Arc<AtomicU64>),
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Buckets>),
}

impl Sample {
    fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

#[derive(Default)]
struct Buckets(Mutex<Counts>);

#[derive(Clone, Copy, Default)]
struct Counts {
    /// Below each bound, and above all of those before.
    within: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        let mut counts = lock(&self.0);
        let bound = BOUNDS.partition_point(|bound| *bound < value);
        if let Some(within) = counts.within.get_mut(bound) {
            *within += count as u64;
        }
        counts.count += count as u64;
        #[expect(clippy::cast_precision_loss, reason = "a sum is a float")]
        let all = value * count as f64;
        counts.sum += all;
    }
}

impl Family {
    fn write(&self, name: &str, text: &mut String) {
        let Some(kind) = self.samples.values().next().map(Sample::kind) else { return };
        if let Some(help) = &self.help {
            line(text, format_args!("# HELP {name} {help}"));
        }
        line(text, format_args!("# TYPE {name} {kind}"));
        for (labels, sample) in &self.samples {
            match sample {
                Sample::Counter(count) => {
                    line(text, format_args!("{name}{{{labels}}} {}", count.load(Relaxed)))
                }
                Sample::Gauge(bits) => {
                    line(text, format_args!("{name}{{{labels}}} {}", f64::from_bits(bits.load(Relaxed))));
                }
                Sample::Histogram(buckets) => {
                    let Counts { within, count, sum } = *lock(&buckets.0);
                    let mut so_far = 0;
                    for (bound, within) in BOUNDS.iter().zip(within) {
                        so_far += within;
                        line(text, format_args!("{name}_bucket{{{labels},le=\"{bound}\"}} {so_far}"));
                    }
                    line(text, format_args!("{name}_bucket{{{labels},le=\"+Inf\"}} {count}"));
                    line(text, format_args!("{name}_sum{{{labels}}} {sum}"));
                    line(text, format_args!("{name}_count{{{labels}}} {count}"));
                }
            }
        }
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _a_string_takes_all = writeln!(text, "{line}");
}

/// What one server is published into.
struct OneServer {
    name: String,
    families: Arc<Mutex<Families>>,
}

impl OneServer {
    fn describe(&self, name: &KeyName, help: SharedString) {
        let mut families = lock(&self.families);
        // It is said again at each sample.
        if !families.contains_key(name.as_str()) {
            families.insert(name.as_str().to_owned(), Family { help: Some(help), samples: BTreeMap::new() });
        }
    }

    /// The value by this key, or a new one; `None` where it is of another kind.
    fn value<T>(
        &self,
        key: &Key,
        anew: impl FnOnce() -> Sample,
        of: impl FnOnce(&Sample) -> Option<T>,
    ) -> Option<T> {
        let mut labels = format!("server=\"{}\"", escaped(&self.name));
        for label in key.labels() {
            let _a_string_takes_all = write!(labels, ",{}=\"{}\"", label.key(), escaped(label.value()));
        }
        let mut families = lock(&self.families);
        let family = families.entry(key.name().to_owned()).or_default();
        of(family.samples.entry(labels).or_insert_with(anew))
    }
}

impl Recorder for OneServer {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let of = |sample: &Sample| match sample {
            Sample::Counter(count) => Some(Arc::clone(count)),
            _ => None,
        };
        self.value(key, || Sample::Counter(Arc::default()), of).map_or(Counter::noop(), Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let of = |sample: &Sample| match sample {
            Sample::Gauge(bits) => Some(Arc::clone(bits)),
            _ => None,
        };
        self.value(key, || Sample::Gauge(Arc::default()), of).map_or(Gauge::noop(), Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let of = |sample: &Sample| match sample {
            Sample::Histogram(buckets) => Some(Arc::clone(buckets)),
            _ => None,
        };
        self.value(key, || Sample::Histogram(Arc::default()), of)
            .map_or(Histogram::noop(), Histogram::from_arc)
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(server: &str, act: impl FnOnce()) -> String {
        let one = OneServer { name: server.to_owned(), families: Arc::default() };
        with_local_recorder(&one, act);
        let mut text = String::new();
        lock(&one.families).iter().for_each(|(name, family)| family.write(name, &mut text));
        text
    }

    /// Kept one by one they would take more memory than there is, and years.
    #[test]
    fn what_stands_for_many_costs_no_more_than_one() {
        let many = 1 << 50;
        let text = recorded("a", || {
            metrics::histogram!("poll_seconds").record_many(0.002, many);
            metrics::histogram!("poll_seconds").record(400.0);
        });
        for line in [
            "# TYPE poll_seconds histogram".to_owned(),
            "poll_seconds_bucket{server=\"a\",le=\"0.001\"} 0".to_owned(),
            format!("poll_seconds_bucket{{server=\"a\",le=\"0.0025\"}} {many}"),
            format!("poll_seconds_bucket{{server=\"a\",le=\"300\"}} {many}"),
            format!("poll_seconds_bucket{{server=\"a\",le=\"+Inf\"}} {}", many + 1),
            format!("poll_seconds_count{{server=\"a\"}} {}", many + 1),
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn a_value_on_a_bound_is_within_it() {
        let text = recorded("a", || metrics::histogram!("s").record(0.001));
        assert!(
            text.contains("s_bucket{server=\"a\",le=\"0.00025\"} 0\ns_bucket{server=\"a\",le=\"0.001\"} 1\n")
        );
    }

    #[test]
    fn a_name_cannot_end_its_label() {
        let text = recorded("a\"} 1\n\\", || {
            metrics::describe_counter!("c", "What it is.");
            metrics::counter!("c", "of" => "x").increment(2);
            metrics::gauge!("g").set(0.5);
        });
        assert_eq!(
            text,
            "# HELP c What it is.\n# TYPE c counter\nc{server=\"a\\\"} 1\\n\\\\\",of=\"x\"} 2\n\
             # TYPE g gauge\ng{server=\"a\\\"} 1\\n\\\\\"} 0.5\n"
        );
    }
}
