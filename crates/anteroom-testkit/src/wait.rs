//! Waiting for what a test expects, with a bound.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Long enough for a machine that is busy with something else.
pub const BOUND: Duration = Duration::from_secs(30);

/// Waits until it is so; panics with `what` if it is not within `bound`.
pub fn eventually(what: &str, bound: Duration, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    let mut pause = Duration::from_micros(50);
    while !is_so() {
        assert!(start.elapsed() < bound, "not within {bound:?}: {what}");
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// As [`eventually`], for what is to come out.
pub fn eventually_gives<T>(what: &str, bound: Duration, mut give: impl FnMut() -> Option<T>) -> T {
    let mut given = None;
    eventually(what, bound, || {
        given = give();
        given.is_some()
    });
    given.expect("it is there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_when_it_is_so() {
        let mut asked = 0;
        eventually("asked thrice", BOUND, || {
            asked += 1;
            asked == 3
        });
        assert_eq!(asked, 3);
    }

    #[test]
    #[should_panic(expected = "the moon is green")]
    fn it_panics_with_what_was_expected() {
        eventually("the moon is green", Duration::from_millis(1), || false);
    }
}
