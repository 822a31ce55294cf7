//! How many descriptors this process may have, and has.

use std::fs::File;

use anteroom_listener::Descriptors;
use anteroom_testkit::{descriptors, exhaust_descriptors, isolated, limit_descriptors};

/// What the process counts by itself, as far as this platform tells it.
fn counted() -> Option<u64> {
    let count = u64::try_from(descriptors()).ok();
    count.filter(|_| cfg!(all(target_os = "linux", not(anteroom_portable))))
}

#[test]
fn the_count_goes_up_and_down_with_what_is_open() {
    isolated(|| {
        let before = Descriptors::of_process();
        assert_eq!(before.open, counted());
        let files: Vec<_> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
        let with = Descriptors::of_process();
        assert_eq!(with.open, before.open.map(|open| open + 100));
        assert_eq!(with.open, counted());
        assert_eq!(with.limit, before.limit);
        drop(files);
        assert_eq!(Descriptors::of_process(), before);
    });
}

#[test]
fn the_limit_is_the_soft_one_of_this_moment() {
    isolated(|| {
        for limit in [300, 200] {
            limit_descriptors(limit);
            assert_eq!(Descriptors::of_process().limit, u64::try_from(limit).ok());
        }
    });
}

#[test]
fn out_of_descriptors_the_limit_is_told_and_the_count_is_right_or_not_told() {
    isolated(|| {
        let before = Descriptors::of_process();
        let taken = exhaust_descriptors(64);
        let found = Descriptors::of_process();
        let count = taken.len();
        drop(taken);
        assert_eq!(found.limit, Some(64));
        let expected = before.open.map(|open| open + u64::try_from(count).unwrap());
        // A kernel before 6.2 needs a descriptor for the count.
        assert!(found.open.is_none() || found.open == expected, "{found:?}, not {expected:?}");
    });
}
