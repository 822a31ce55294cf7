//! The line of a thread on the board, under a model checker: every order of a look and of two works, and what
//! each may see of the other's stores.
//!
//! It is the very file of the crate, with loom's atomics in place of the standard library's.

#![allow(clippy::expect_used, reason = "this is test code")]
#![allow(dead_code, unreachable_pub, reason = "a file of another crate")]

/// Whose atomics the line is made of, here.
mod atomics {
    pub use loom::sync::atomic::{AtomicU64, fence};
}

#[path = "../crates/anteroom/src/stall/line.rs"]
mod line;

use line::Line;
use loom::sync::Arc;
use loom::thread;

/// The words of each work are told from those of the other.
fn words(since: u64) -> [u64; 3] {
    [since * 10, since * 10 + 1, since * 10 + 2]
}

#[test]
fn a_look_sees_one_work_or_none_and_never_two_mixed() {
    loom::model(|| {
        let line = Arc::new(Line::new());
        let writer = Arc::clone(&line);
        let thread = thread::spawn(move || {
            writer.begin(1, words(1));
            writer.end();
            writer.begin(2, words(2));
        });
        if let Some((since, seen)) = line.look() {
            assert_eq!(seen, words(since));
        }
        thread.join().expect("the writer ends");
        assert_eq!(line.look(), Some((2, words(2))));
    });
}

#[test]
fn nor_of_works_that_follow_each_other_without_an_end() {
    loom::model(|| {
        let line = Arc::new(Line::new());
        let writer = Arc::clone(&line);
        let thread = thread::spawn(move || {
            writer.begin(1, words(1));
            writer.begin(2, words(2));
        });
        if let Some((since, seen)) = line.look() {
            assert_eq!(seen, words(since));
        }
        thread.join().expect("the writer ends");
    });
}
