//! The kernel's text files: reading one, bounded.
//!
//! Owns the one question whether this platform has them. Never understands what they say.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// No file that is read here is longer: the longest is a line of `/proc/PID/stat` or the list of the
/// process's control groups. What is longer is cut, and the parsers take a cut text for an incomplete one.
const LONGEST: u64 = 16 * 1024;

/// What the file says. `None` where it does not exist or may not be read, when no descriptor is left to read
/// it with, and on platforms without such files. Bytes, because a thread's name is in some of them and need
/// not be UTF-8.
pub(super) fn told(path: impl AsRef<Path>) -> Option<Vec<u8>> {
    if cfg!(any(not(target_os = "linux"), anteroom_portable)) {
        return None;
    }
    let mut text = Vec::new();
    File::open(path).ok()?.take(LONGEST).read_to_end(&mut text).ok()?;
    Some(text)
}

/// The same of files that are never anything but ASCII.
pub(super) fn told_plainly(path: impl AsRef<Path>) -> Option<String> {
    String::from_utf8(told(path)?).ok()
}

/// The fields of a `stat` line after the thread's name, the state first. The name stands in parentheses, is
/// chosen by whoever likes to, and may hold spaces, parentheses and bytes of any kind; behind the last
/// parenthesis there is nothing but letters and numbers.
pub(super) fn after_name(stat: &[u8]) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = stat.get(end..)?.strip_prefix(b")")?;
    Some(std::str::from_utf8(rest).ok()?.split_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pass_for_a_field() {
        let table: &[(&[u8], &[&str])] = &[
            (b"7 (worker) S 1 2\n", &["S", "1", "2"]),
            (b"7 (a b) R 1) S 1 2\n", &["S", "1", "2"]),
            (b"7 ()) R (x)) S 1\n", &["S", "1"]),
            (b"7 (\xff\xfe) S 1\n", &["S", "1"]),
            (b"7 (worker)", &[]),
        ];
        for (stat, fields) in table {
            assert_eq!(after_name(stat).unwrap().collect::<Vec<_>>(), *fields, "{}", stat.escape_ascii());
        }
        for cut in [&b""[..], b"7", b"7 (work", b"7 (w) \xff"] {
            assert!(after_name(cut).is_none(), "{}", cut.escape_ascii());
        }
    }

    #[test]
    fn a_file_that_does_not_exist_tells_nothing() {
        assert_eq!(told("/proc/self/no-such-file"), None);
    }

    #[test]
    fn no_more_is_read_than_the_longest_file() {
        let told = told("/dev/zero").map(|bytes| bytes.len() as u64);
        assert!(told.is_none_or(|length| length == LONGEST), "{told:?}");
    }
}
