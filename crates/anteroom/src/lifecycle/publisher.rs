//! The metrics of one server, for a recorder that is not the global one.

use std::fmt;
use std::sync::Arc;

use super::core::Core;
use crate::observe::Metrics;

/// Publishes one server into the recorder of the moment: that of [`metrics::with_local_recorder`], or the
/// global one; see [`Handle::publisher`](crate::Handle::publisher).
///
/// The watch publishes into the global one by itself. This is for a second one, such as that of an admin
/// listener. It remembers what it has told, so each recorder is to have one of its own.
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// let incoming = anteroom::Incoming::bind("127.0.0.1:0")?;
/// let mut publisher = incoming.handle().publisher();
/// metrics::with_local_recorder(&metrics::NoopRecorder, || publisher.publish());
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is told until publish is called"]
pub struct Publisher {
    core: Arc<Core>,
    metrics: Metrics,
}

impl Publisher {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let metrics = Metrics::new(&core.ledgers());
        Self { core, metrics }
    }

    /// Tells everything as it is now.
    pub fn publish(&mut self) {
        self.metrics.publish(&self.core.snapshot(), &self.core.ledgers(), &self.core.timings());
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}
