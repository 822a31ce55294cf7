//! The exchange, both sides in this process over a pair of sockets, with a server on neither.

mod door;
mod fakes;
mod giving_up;
mod hostile;
mod upgrades;
mod vanishing;
mod whole;

use std::{
    fmt,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{Arc, Mutex},
};

use super::steps::Step;

/// What a side does at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Live,
    /// Its descriptors are closed, as by a kill; what its thread does from here on reaches nobody.
    Die,
}

type AtStep = dyn FnMut(Step) -> Fate + Send;

/// What a test does at the steps of one channel.
#[derive(Clone, Default)]
pub(super) struct Hook(Option<Arc<Mutex<Box<AtStep>>>>);

impl Hook {
    fn new(hook: impl FnMut(Step) -> Fate + Send + 'static) -> Self {
        Self(Some(Arc::new(Mutex::new(Box::new(hook)))))
    }

    pub(super) fn reached(&self, step: Step, socket: &mut OwnedFd) {
        let Some(hook) = &self.0 else { return };
        let fate = (hook.lock().unwrap())(step);
        if fate == Fate::Die {
            *socket = UnixStream::pair().unwrap().0.into();
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}
