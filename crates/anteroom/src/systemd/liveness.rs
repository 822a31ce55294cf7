//! Whether the acceptor and the runtime are alive.
//!
//! Owns the one question that is under way to each. Never waits for the answer: it is looked for when
//! the next question is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime;

use crate::lifecycle::Core;

/// What was found when it was looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulse {
    /// Both have answered what they were asked the last time.
    Both,
    /// One of them has not, or nobody was asked before.
    Missing,
}

#[derive(Debug)]
pub(super) struct Liveness {
    core: Arc<Core>,
    /// `None`: only the acceptor counts.
    runtime: Option<runtime::Handle>,
    asked: Option<Question>,
}

#[derive(Debug)]
struct Question {
    /// How many turns the acceptor had ended.
    turns: u64,
    /// Set by a task of the runtime.
    answered: Arc<AtomicBool>,
}

impl Liveness {
    pub(super) fn new(core: Arc<Core>, runtime: Option<runtime::Handle>) -> Self {
        Self { core, runtime, asked: None }
    }

    /// Looks whether the last question was answered, and asks again if it was. One that was not stays: a
    /// runtime that is stuck is given one task, however long it lasts.
    pub(super) fn look(&mut self) -> Pulse {
        let pulse = match &self.asked {
            None => Pulse::Missing,
            Some(asked) if !asked.is_answered(&self.core) => return Pulse::Missing,
            Some(_) => Pulse::Both,
        };
        self.asked = Some(self.ask());
        pulse
    }

    fn ask(&self) -> Question {
        let question = Question {
            turns: self.core.acceptor_turns(),
            answered: Arc::new(AtomicBool::new(self.runtime.is_none())),
        };
        self.core.gate.wake_acceptor();
        if let Some(runtime) = &self.runtime {
            let answered = Arc::clone(&question.answered);
            // On a runtime that is gone the task is dropped, and the question stays open.
            drop(runtime.spawn(async move { answered.store(true, Ordering::Release) }));
        }
        question
    }
}

impl Question {
    fn is_answered(&self, core: &Core) -> bool {
        self.answered.load(Ordering::Acquire) && core.acceptor_turns() > self.turns
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::{AcceptOn, Config, Incoming};

    fn incoming(accept_on: AcceptOn) -> Incoming {
        let config = Config { accept_on, ..Config::default() };
        let listener = crate::Listener::bind("127.0.0.1:0").unwrap();
        Incoming::builder().config(config).listen(listener).start().unwrap()
    }

    fn answers(liveness: &mut Liveness) {
        let start = Instant::now();
        while liveness.look() != Pulse::Both {
            assert!(start.elapsed() < Duration::from_secs(30), "it is alive");
            std::thread::yield_now();
        }
    }

    #[test]
    fn without_a_runtime_the_acceptor_answers() {
        let incoming = incoming(AcceptOn::Thread);
        let mut liveness = Liveness::new(incoming.handle().0, None);
        assert_eq!(liveness.look(), Pulse::Missing, "nobody was asked");
        answers(&mut liveness);
    }

    #[test]
    fn a_runtime_that_nobody_drives_does_not_answer() {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let incoming = incoming(AcceptOn::Thread);
        let mut liveness = Liveness::new(incoming.handle().0, Some(runtime.handle().clone()));
        liveness.look();
        let turns = liveness.core.acceptor_turns();
        while liveness.core.acceptor_turns() < turns + 100 {
            liveness.core.gate.wake_acceptor();
            assert_eq!(liveness.look(), Pulse::Missing);
        }
        // It comes back as soon as somebody does.
        runtime.block_on(tokio::task::yield_now());
        answers_driven(&runtime, &mut liveness);
    }

    fn answers_driven(runtime: &runtime::Runtime, liveness: &mut Liveness) {
        runtime.block_on(async {
            while liveness.look() != Pulse::Both {
                tokio::task::yield_now().await;
            }
        });
    }

    // A task that accepts needs epoll.
    #[cfg(all(target_os = "linux", not(anteroom_portable)))]
    #[test]
    fn an_acceptor_that_is_stuck_does_not_answer() {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let incoming = {
            let _inside = runtime.enter();
            incoming(AcceptOn::Task)
        };
        // Nobody drives the task that accepts; the runtime that is asked is another one.
        let other = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut liveness = Liveness::new(incoming.handle().0, Some(other.handle().clone()));
        liveness.look();
        let answered = Arc::clone(&liveness.asked.as_ref().unwrap().answered);
        while !answered.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        assert_eq!(liveness.look(), Pulse::Missing);
        answers_driven(&runtime, &mut liveness);
    }

    #[test]
    fn a_runtime_that_is_gone_does_not_answer() {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let incoming = incoming(AcceptOn::Thread);
        let mut liveness = Liveness::new(incoming.handle().0, Some(runtime.handle().clone()));
        drop(runtime);
        liveness.look();
        let turns = liveness.core.acceptor_turns();
        while liveness.core.acceptor_turns() < turns + 2 {
            liveness.core.gate.wake_acceptor();
        }
        assert_eq!(liveness.look(), Pulse::Missing);
    }
}
