//! Whether the runtime at hand has the drivers that a server needs.
//!
//! Owns the probes. tokio tells a missing driver only by a panic, which is caught here, once, instead
//! of in the middle of a connection.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::runtime;

use crate::lifecycle::StartError;

/// # Errors
/// There is no runtime, or it was built without `enable_io`.
pub(super) fn probe_io() -> Result<(), StartError> {
    runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
    // A pair that cannot be had for want of descriptors says nothing against the driver.
    probe("enable_io", || drop(UnixStream::pair()))
}

/// # Errors
/// There is no runtime, or it was built without `enable_time`.
pub(super) fn probe_time() -> Result<(), StartError> {
    runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
    probe("enable_time", || drop(tokio::time::sleep(Duration::ZERO)))
}

fn probe(driver: &'static str, need: impl FnOnce()) -> Result<(), StartError> {
    catch_unwind(AssertUnwindSafe(need)).map_err(|_| StartError::NoDriver { driver })
}
