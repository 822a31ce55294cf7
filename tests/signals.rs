//! Signals that are handled while the kernel is asked about peers.

#![allow(clippy::expect_used, reason = "a test that cannot go on says so")]

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anteroom_listener::{Accepted, Batch, BatchEnd, PeerAddr, PeerState, Stream, Unread};
use tokio::signal::unix::{SignalKind, signal};

/// At least so many looks at the peers, and so many signals meanwhile.
const LOOKS: usize = 50_000;
const SIGNALS: u64 = 40_000;

/// Between two signals, so that the thread is not always in its handler: about one in a hundred then
/// finds it in a look.
const GAP: Duration = Duration::from_micros(8);

/// Connections that are looked at together.
const BATCH: usize = 16;

/// Where the machine has no second processor to send them from, fewer must do.
const LONGEST: Duration = Duration::from_secs(10);

/// What one thread is sent, as fast as another can, for as long as this lives.
struct Storm {
    over: AtomicBool,
    sent: AtomicU64,
}

impl Storm {
    /// Runs `look` in a storm of signals at this thread.
    fn around(mut look: impl FnMut()) {
        // Installs a handler for the process, which stays.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _handled = runtime.block_on(async { signal(SignalKind::user_defined1()) }).expect("a handler");
        let storm = Self { over: AtomicBool::new(false), sent: AtomicU64::new(0) };
        #[expect(unsafe_code, reason = "a thread's name for signals is had from libc only")]
        // SAFETY: it takes nothing and cannot fail.
        let target = unsafe { libc::pthread_self() };
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                while !storm.over.load(Ordering::Acquire) {
                    #[expect(unsafe_code, reason = "only a signal at one thread is sure to interrupt it")]
                    // SAFETY: the thread outlives the scope that this one is joined in.
                    let result = unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
                    assert_eq!(result, 0, "the signal is sent");
                    storm.sent.fetch_add(1, Ordering::AcqRel);
                    let since = Instant::now();
                    while since.elapsed() < GAP {
                        std::hint::spin_loop();
                    }
                }
            });
            let end = EndOf(&storm);
            let (mut looks, since) = (0, Instant::now());
            while looks < LOOKS || (storm.sent.load(Ordering::Acquire) < SIGNALS && since.elapsed() < LONGEST)
            {
                look();
                looks += 1;
            }
            drop(end);
            sender.join().expect("the sender ends");
        });
        assert!(storm.sent.into_inner() > 0, "that was no storm");
    }
}

/// Ends the storm also when a look has failed the test.
struct EndOf<'a>(&'a Storm);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}

#[test]
fn a_look_at_a_peer_that_is_interrupted_tells_the_truth_all_the_same() {
    let (lives, _its_peer) = UnixStream::pair().expect("a pair");
    let (left, its_peer) = UnixStream::pair().expect("a pair");
    drop(its_peer);
    Storm::around(|| {
        assert_eq!(PeerState::of(&lives).expect("a signal is no error"), PeerState::Open);
        assert_eq!(PeerState::of(&left).expect("a signal is no error"), PeerState::Closed(Unread::Nothing));
    });
}

#[test]
fn a_batch_whose_look_is_interrupted_is_alive_all_the_same() {
    let pairs: Vec<_> = (0..BATCH).map(|_| UnixStream::pair().expect("a pair")).collect();
    let (lives, _peers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let mut streams: Vec<_> = lives.into_iter().map(Stream::Unix).collect();
    let mut batch = Batch::new();
    Storm::around(|| {
        let accept = || Ok(Accepted::new(streams.pop().expect("as many as it holds"), PeerAddr::Unix));
        assert!(matches!(batch.fill(BATCH, accept), BatchEnd::Full));
        for connection in batch.classify() {
            assert_eq!(connection.state, PeerState::Open);
            streams.push(connection.stream);
        }
    });
}
