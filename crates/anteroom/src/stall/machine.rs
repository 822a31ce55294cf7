//! Stub
use std::time::Duration;
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) pressure: Option<Duration>,
    pub(super) throttled: Option<Duration>,
}
impl Machine {
    pub(super) fn now() -> Self {
        Self { pressure: None, throttled: None }
    }
    pub(super) fn since(&self, _: &Self) -> Self {
        Self::now()
    }
}
