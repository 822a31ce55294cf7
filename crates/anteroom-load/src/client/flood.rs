//! Clients that come at a fixed rate and hold what they get.
//!
//! Owns: a thread, and the connections.
//! Never: gives one back before its end, or asks anything.

use super::{
    Schedule,
    visit::{Ending, Visitor},
    visitors::Visitors,
};
use crate::measure::now;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// How long the thread waits at most before it looks whether it is to go on.
const LOOK: Duration = Duration::from_millis(20);

/// As good as for ever.
const LENGTH: Duration = Duration::from_secs(3_600);

/// A flood that goes on until it is told otherwise. Dropping it ends it, with resets.
#[derive(Debug)]
pub struct Flood {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    stage: AtomicUsize,
    made: AtomicU64,
    lost: AtomicU64,
    not_started: AtomicU64,
    held: AtomicUsize,
}

const COMING: usize = 0;
const HOLDING: usize = 1;
const OVER: usize = 2;

impl Flood {
    /// They come in this order, again and again, so many in a second.
    #[must_use]
    pub fn begin(visitors: Vec<Visitor>, rate: u32) -> Self {
        let shared = Arc::new(Shared::default());
        let told = Arc::clone(&shared);
        let thread = std::thread::spawn(move || told.run(&visitors, Schedule::new(rate, LENGTH)));
        Self { shared, thread: Some(thread) }
    }

    /// How many connections were begun so far.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.shared.made.load(Ordering::Acquire)
    }

    /// How many of these the server has ended.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Acquire)
    }

    /// How many could not start, for want of a port or a descriptor.
    #[must_use]
    pub fn not_started(&self) -> u64 {
        self.shared.not_started.load(Ordering::Acquire)
    }

    /// How many there are now, the undecided included.
    #[must_use]
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::Acquire)
    }

    /// Nobody comes any more; what is there stays.
    pub fn hold(&self) {
        self.shared.stage.store(HOLDING, Ordering::Release);
    }

    /// Everybody goes.
    ///
    /// # Errors
    ///
    /// When the client could not work.
    pub fn end(mut self) -> io::Result<()> {
        self.stop().unwrap_or(Ok(()))
    }

    fn stop(&mut self) -> Option<io::Result<()>> {
        self.shared.stage.store(OVER, Ordering::Release);
        let ended = self.thread.take()?.join();
        Some(ended.unwrap_or_else(|_| Err(io::Error::other("the flood's thread panicked"))))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        // Whoever wants to know ends it.
        let _ = self.stop();
    }
}

impl Shared {
    fn run(&self, visitors: &[Visitor], schedule: Schedule) -> io::Result<()> {
        let begin = now();
        let mut here = Visitors::new()?;
        let mut next = visitors.iter().cycle();
        let mut started = 0;
        loop {
            let mut until = now() + LOOK;
            match self.stage.load(Ordering::Acquire) {
                COMING => {
                    let due = schedule.due(now() - begin);
                    while started < due {
                        let Some(visitor) = next.next() else { return Ok(()) };
                        here.arrive(visitor.clone(), begin + schedule.intended(started));
                        started += 1;
                    }
                    self.made.store(started, Ordering::Release);
                    until = until.min(begin + schedule.intended(started));
                }
                HOLDING => {}
                _ => return Ok(()),
            }
            here.wait(until)?;
            for visit in here.take_ended() {
                let count = if visit.ending == Ending::NotStarted { &self.not_started } else { &self.lost };
                count.fetch_add(1, Ordering::AcqRel);
            }
            self.held.store(here.present(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Hearing, Leaving};
    use std::{
        net::TcpListener,
        time::{Duration, Instant},
    };

    fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(20), "not: {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn it_holds_what_the_server_leaves_it_and_counts_what_it_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let visitor = Visitor {
            target: listener.local_addr().unwrap(),
            source: Some("127.0.0.9".parse().unwrap()),
            request: Arc::from(&b""[..]),
            hearing: Hearing::FirstByte,
            leaving: Leaving::Silent,
            patience: Duration::from_secs(3_600),
        };
        let flood = Flood::begin(vec![visitor], 200);
        let kept: Vec<_> = (0..20).map(|_| listener.accept().unwrap()).collect();
        drop(listener.accept().unwrap());
        flood.hold();
        until("one is lost", || flood.lost() == 1);
        let made = flood.made();
        until("the others are held", || flood.held() as u64 == made - 1);
        assert_eq!(flood.not_started(), 0);
        flood.end().unwrap();
        drop(kept);
    }
}
