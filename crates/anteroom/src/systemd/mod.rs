//! Speaking to the service manager: sd_notify(3), sd_watchdog_enabled(3) and the descriptor store.
//!
//! The protocol's words and the watchdog's variables are read and written by the crate `sd-notify`; the
//! socket is held here, because it must be open already when the process is out of descriptors, and may
//! have an abstract name. The environment is read and never changed.

mod liveness;
mod manager;
mod notifier;
mod status;
mod teller;

pub use self::notifier::Notifier;
