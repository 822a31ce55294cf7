//! Four words that one thread writes and others read, without a lock on either side.
//!
//! Owns nothing but the atomics; `super::atomics` says whose they are, so that a model checker can take
//! their place. Knows nothing of what the words mean.

use super::atomics::{AtomicU64, fence};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// What is being run, and since when. The words belong together if `since` is the same before and after
/// the others are read: no two works of one thread begin at the same time.
#[derive(Debug)]
pub(super) struct Line {
    /// Never 0 while something runs; 0 while nothing does.
    since: AtomicU64,
    words: [AtomicU64; 3],
}

impl Line {
    pub(super) fn new() -> Self {
        Self { since: AtomicU64::new(0), words: [AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)] }
    }

    /// By its own thread only. `since` is not 0.
    #[inline]
    pub(super) fn begin(&self, since: u64, words: [u64; 3]) {
        self.since.store(0, Relaxed);
        // Who reads a word of this work, and then `since`, does not find that of the work before.
        fence(Release);
        for (held, word) in self.words.iter().zip(words) {
            held.store(word, Relaxed);
        }
        self.since.store(since, Release);
    }

    /// By its own thread only.
    #[inline]
    pub(super) fn end(&self) {
        self.since.store(0, Release);
    }

    /// What is being run now, if it did not change while it was read.
    pub(super) fn look(&self) -> Option<(u64, [u64; 3])> {
        let since = self.since.load(Acquire);
        if since == 0 {
            return None;
        }
        let [first, second, third] = &self.words;
        let words = [first.load(Relaxed), second.load(Relaxed), third.load(Relaxed)];
        fence(Acquire);
        (self.since.load(Relaxed) == since).then_some((since, words))
    }
}
