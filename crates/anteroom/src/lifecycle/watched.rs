//! The server as its pulse sees it.

use std::sync::{Arc, PoisonError};

use tokio::runtime;

use super::core::Core;
use crate::config::StallWatch;
use crate::observe::{Phase, Unready};
use crate::stall::Watched;

impl Watched for Arc<Core> {
    fn phase(&self) -> Phase {
        self.life.phase()
    }

    fn is_paused(&self) -> bool {
        self.life.is_paused() && self.life.phase() < Phase::Draining
    }

    fn settings(&self) -> StallWatch {
        self.config().stall_watch.clone().unwrap_or_default()
    }

    fn runtime(&self) -> Option<runtime::Handle> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn falls_behind(&self, why: Option<Unready>) {
        self.life.falls_behind(why);
    }
}
