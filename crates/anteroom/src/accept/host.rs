//! Where an acceptor runs: on a thread of its own, or in a task of the runtime.
//!
//! Owns the loop around the turns. Never knows what a turn does.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::runtime;

use super::acceptor::{Acceptor, Next};
use crate::gate::Gate;
use crate::tick::Tick;

/// # Errors
/// The thread cannot be started.
pub(crate) fn start_thread(mut acceptor: Acceptor) -> io::Result<()> {
    std::thread::Builder::new().name("anteroom-accept".into()).spawn(move || {
        let mut until = Some(Tick::now());
        while let (Next::Sleep(next), _) = acceptor.turn(until) {
            until = next;
            if let Some(pause) = acceptor.pause() {
                std::thread::sleep(pause);
            }
        }
    })?;
    Ok(())
}

/// # Errors
/// The epoll set cannot be registered with the runtime, or the platform has none.
pub(crate) fn start_task(acceptor: Acceptor, runtime: &runtime::Handle) -> io::Result<()> {
    let _inside = runtime.enter();
    let set = EpollSet::of(acceptor.gate())?;
    #[allow(
        deprecated,
        reason = "the safe form; the set keeps its descriptor open and the same, as the unsafe one asks"
    )]
    let set = AsyncFd::with_interest(set, Interest::READABLE)?;
    runtime.spawn(run(acceptor, set));
    Ok(())
}

async fn run(mut acceptor: Acceptor, set: AsyncFd<EpollSet>) {
    let mut until = Some(Tick::now());
    loop {
        let mut ready = readable(&set, until).await;
        // The set is registered edge-triggered: it is emptied before it is awaited again.
        loop {
            let (Next::Sleep(next), busy) = acceptor.turn(Some(Tick::now())) else { return };
            until = next;
            if !busy {
                break;
            }
            tokio::task::yield_now().await;
        }
        if let Some(ready) = &mut ready {
            ready.clear_ready();
        }
    }
}

/// The kernel has something (`Some`), or it is `until`.
async fn readable(set: &AsyncFd<EpollSet>, until: Option<Tick>) -> Option<AsyncFdReadyGuard<'_, EpollSet>> {
    match until {
        None => set.readable().await.ok(),
        Some(until) => tokio::time::timeout(until.since(Tick::now()), set.readable()).await.ok()?.ok(),
    }
}

/// Keeps the gate, and with it the epoll set, alive as long as the runtime knows it.
struct EpollSet(Arc<Gate>);

impl EpollSet {
    fn of(gate: &Arc<Gate>) -> io::Result<Self> {
        match gate.poller().as_fd() {
            Some(_) => Ok(Self(Arc::clone(gate))),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl AsFd for EpollSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        #[expect(clippy::expect_used, reason = "of() has asked, and a set does not change its kind")]
        self.0.poller().as_fd().expect("this platform has an epoll set")
    }
}

impl AsRawFd for EpollSet {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
