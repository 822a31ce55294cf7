//! User memory of a process.
//!
//! Owns: the reading of `smaps_rollup`.
//! Never: the kernel's memory for its sockets, which is the same for every server.

use std::{fs, io};

/// The bytes that are the process's own: what it has written to (`Private_Dirty` in `smaps_rollup`,
/// proc_pid_smaps(5)).
///
/// # Errors
///
/// It is gone, or the kernel does not tell.
///
/// # Platform
///
/// Linux.
pub fn private_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    field(&text, "Private_Dirty:").ok_or_else(|| io::Error::other("cannot read smaps_rollup"))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_in_bytes() {
        let text = "5581-7ffe ---p 00000000 00:00 0 [rollup]\nRss:  1234 kB\nPrivate_Dirty:       7 kB\n";
        assert_eq!(field(text, "Private_Dirty:"), Some(7 * 1024));
        assert_eq!(field(text, "Private_Clean:"), None);
    }

    #[test]
    fn what_is_written_to_counts() {
        let before = private_bytes(std::process::id()).unwrap();
        let written = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = private_bytes(std::process::id()).unwrap();
        assert!(after >= before + (32 << 20), "{before} {after}");
        drop(written);
    }
}
