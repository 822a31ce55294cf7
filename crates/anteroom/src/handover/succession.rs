//! Whom this process takes over from right now, and whom it has succeeded.
//!
//! Owns that knowledge, for the whole process: a successor listens for its own successors where its predecessor does,
//! and may have that path as soon as it is the only one.

use std::{
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

static STATE: Mutex<State> = Mutex::new(State { next: 0, known: Vec::new() });
static CHANGED: Condvar = Condvar::new();

#[derive(Debug)]
struct State {
    next: u64,
    /// One or two in the life of a process.
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    key: u64,
    who: Identity,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    UnderWay,
    Succeeded,
}

/// By what a predecessor is known again.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// `None` where it lives in a pid namespace that is not seen from here, and where it is this very process.
    pid: Option<i32>,
    /// Where it was reached.
    path: Option<PathBuf>,
}

/// One exchange on its new side, until it is dropped or has succeeded.
#[derive(Debug)]
pub(super) struct Succession {
    key: u64,
}

impl Identity {
    /// Of who made the other end of `socket`, or listens there; `path` is where that was reached.
    pub(super) fn of(socket: impl AsFd, path: Option<&Path>) -> Self {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let pid = getsockopt(&socket, PeerCredentials).ok().map(|peer| peer.pid());
        let pid = pid.filter(|pid| *pid != 0 && *pid != own);
        Self { pid, path: path.and_then(|path| std::path::absolute(path).ok()) }
    }

    fn is(&self, other: &Self) -> bool {
        match (self.pid, other.pid) {
            (Some(one), Some(other)) => one == other,
            (None, None) => self.path.is_some() && self.path == other.path,
            _ => false,
        }
    }
}

impl Succession {
    pub(super) fn begin(who: Identity) -> Self {
        let mut state = lock();
        let key = state.next;
        state.next += 1;
        state.known.push(Known { key, who, standing: Standing::UnderWay });
        Self { key }
    }

    /// This process is the only one now.
    pub(super) fn succeeded(self) {
        for known in lock().known.iter_mut().filter(|known| known.key == self.key) {
            known.standing = Standing::Succeeded;
        }
    }
}

impl Drop for Succession {
    fn drop(&mut self) {
        lock().known.retain(|known| known.key != self.key || known.standing == Standing::Succeeded);
        CHANGED.notify_all();
    }
}

/// Whether this process takes over, or has, from this one.
pub(super) fn knows(who: &Identity) -> bool {
    lock().known.iter().any(|known| known.who.is(who))
}

/// Waits until this process has succeeded this one; `false`: it came to nothing, or `is_in_vain` says so, which is asked
/// anew after each [`wake`].
pub(super) fn await_success(who: &Identity, is_in_vain: impl Fn() -> bool) -> bool {
    let mut state = lock();
    loop {
        let mut mine = state.known.iter().filter(|known| known.who.is(who)).peekable();
        if is_in_vain() || mine.peek().is_none() {
            return false;
        }
        if mine.any(|known| known.standing == Standing::Succeeded) {
            return true;
        }
        state = CHANGED.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Has everybody who waits look again.
pub(super) fn wake() {
    // Under the lock, so that nobody looks before it and waits after it.
    let _state = lock();
    CHANGED.notify_all();
}

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    /// Numbers that no process has, so that the tests of this process do not meet.
    fn who(pid: i32) -> Identity {
        Identity { pid: Some(-pid), path: None }
    }

    #[test]
    fn who_was_succeeded_stays_known_and_who_was_not_does_not() {
        Succession::begin(who(1)).succeeded();
        drop(Succession::begin(who(2)));
        assert!(knows(&who(1)));
        assert!(!knows(&who(2)));
        assert!(await_success(&who(1), || false));
        assert!(!await_success(&who(2), || false));
    }

    #[test]
    fn waiting_ends_with_the_exchange_and_when_it_is_in_vain() {
        let first = Succession::begin(who(3));
        let waiting = thread::spawn(|| await_success(&who(3), || false));
        first.succeeded();
        assert!(waiting.join().unwrap());

        static STOP: AtomicBool = AtomicBool::new(false);
        let _second = Succession::begin(who(4));
        let waiting = thread::spawn(|| await_success(&who(4), || STOP.load(Ordering::Acquire)));
        STOP.store(true, Ordering::Release);
        wake();
        assert!(!waiting.join().unwrap());
    }

    #[test]
    fn a_path_tells_only_where_no_process_id_does() {
        let at = |pid| Identity { pid, path: Some("/run/a".into()) };
        assert!(at(None).is(&at(None)));
        assert!(!at(Some(-7)).is(&at(Some(-8))));
        assert!(!at(None).is(&at(Some(-8))));
        assert!(!who(0).is(&at(None)));
        let nowhere = Identity { pid: None, path: None };
        assert!(!nowhere.is(&nowhere));
    }
}
