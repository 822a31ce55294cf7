//! The names of the system calls in which threads wait.
//!
//! Owns the table. Never calls one.

/// The name of a call by its number on this architecture. `None` for a call in which nobody waits for long,
/// and on an architecture whose numbers are not in the table.
pub(super) fn name(number: u64) -> Option<&'static str> {
    if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
        of_x86_64(number)
    } else if cfg!(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "loongarch64")) {
        of_the_others(number)
    } else {
        None
    }
}

fn of_x86_64(number: u64) -> Option<&'static str> {
    let here = EVERYWHERE.iter().map(|&(name, here, _)| (name, here)).chain(ONLY_ON_X86_64.iter().copied());
    named(here, number)
}

fn of_the_others(number: u64) -> Option<&'static str> {
    named(EVERYWHERE.iter().map(|&(name, _, here)| (name, here)), number)
}

fn named(mut calls: impl Iterator<Item = (&'static str, u64)>, number: u64) -> Option<&'static str> {
    calls.find(|&(_, known)| known == number).map(|(name, _)| name)
}

/// The name; its number on x86-64 (`arch/x86/entry/syscalls/syscall_64.tbl`); its number on the 64-bit
/// architectures that came after the common table (`include/uapi/asm-generic/unistd.h`). Numbers are ABI and
/// never change. A table and not a library: the libraries that know all of them do not build on every
/// architecture, or need a newer compiler than this crate does.
const EVERYWHERE: &[(&str, u64, u64)] = &[
    ("accept", 43, 202),
    ("accept4", 288, 242),
    ("clock_nanosleep", 230, 115),
    ("close", 3, 57),
    ("connect", 42, 203),
    ("copy_file_range", 326, 285),
    ("epoll_pwait", 281, 22),
    ("epoll_pwait2", 441, 441),
    ("fallocate", 285, 47),
    ("fcntl", 72, 25),
    ("fdatasync", 75, 83),
    ("flock", 73, 32),
    ("fsync", 74, 82),
    ("ftruncate", 77, 46),
    ("futex", 202, 98),
    ("futex_wait", 455, 455),
    ("futex_waitv", 449, 449),
    ("getdents64", 217, 61),
    ("getrandom", 318, 278),
    ("io_getevents", 208, 4),
    ("io_uring_enter", 426, 426),
    ("ioctl", 16, 29),
    ("madvise", 28, 233),
    ("mmap", 9, 222),
    ("mprotect", 10, 226),
    ("mq_timedreceive", 243, 183),
    ("mq_timedsend", 242, 182),
    ("msgrcv", 70, 188),
    ("msgsnd", 69, 189),
    ("munmap", 11, 215),
    ("nanosleep", 35, 101),
    ("openat", 257, 56),
    ("ppoll", 271, 73),
    ("pread64", 17, 67),
    ("preadv", 295, 69),
    ("pselect6", 270, 72),
    ("pwrite64", 18, 68),
    ("pwritev", 296, 70),
    ("read", 0, 63),
    ("readv", 19, 65),
    ("recvfrom", 45, 207),
    ("recvmmsg", 299, 243),
    ("recvmsg", 47, 212),
    ("renameat2", 316, 276),
    ("restart_syscall", 219, 128),
    ("rt_sigsuspend", 130, 133),
    ("rt_sigtimedwait", 128, 137),
    ("semop", 65, 193),
    ("semtimedop", 220, 192),
    ("sendfile", 40, 71),
    ("sendmmsg", 307, 269),
    ("sendmsg", 46, 211),
    ("sendto", 44, 206),
    ("splice", 275, 76),
    ("statx", 332, 291),
    ("sync", 162, 81),
    ("syncfs", 306, 267),
    ("unlinkat", 263, 35),
    ("wait4", 61, 260),
    ("waitid", 247, 95),
    ("write", 1, 64),
    ("writev", 20, 66),
];

/// Calls that the common table left out because others do the same.
const ONLY_ON_X86_64: &[(&str, u64)] = &[
    ("epoll_wait", 232),
    ("open", 2),
    ("pause", 34),
    ("poll", 7),
    ("rename", 82),
    ("select", 23),
    ("stat", 4),
    ("unlink", 87),
    ("vfork", 58),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_number_has_two_names_and_no_name_two_rows() {
        let first: HashSet<_> =
            EVERYWHERE.iter().map(|row| row.1).chain(ONLY_ON_X86_64.iter().map(|row| row.1)).collect();
        let second: HashSet<_> = EVERYWHERE.iter().map(|row| row.2).collect();
        let names: HashSet<_> =
            EVERYWHERE.iter().map(|row| row.0).chain(ONLY_ON_X86_64.iter().map(|row| row.0)).collect();
        assert_eq!(first.len(), EVERYWHERE.len() + ONLY_ON_X86_64.len());
        assert_eq!(second.len(), EVERYWHERE.len());
        assert_eq!(names.len(), first.len());
    }

    #[test]
    fn a_number_means_something_else_on_another_architecture() {
        assert_eq!((of_x86_64(202), of_the_others(202)), (Some("futex"), Some("accept")));
        assert_eq!((of_x86_64(0), of_the_others(0)), (Some("read"), None));
        assert_eq!((of_x86_64(63), of_the_others(63)), (None, Some("read")));
        assert_eq!((of_x86_64(7), of_the_others(7)), (Some("poll"), None));
        assert_eq!((of_x86_64(230), of_the_others(115)), (Some("clock_nanosleep"), Some("clock_nanosleep")));
    }

    #[test]
    fn what_is_in_no_table_has_no_name() {
        for number in [39, 9_999, u64::MAX] {
            assert_eq!(name(number), None, "{number}");
        }
    }
}
