//! This process and its host's settings.

use std::{
    fs::{self, File},
    process::Command,
};

/// How many descriptors this process has open.
pub fn descriptors() -> usize {
    let listing = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    // One of them is the listing's own.
    fs::read_dir(listing).expect("the list of descriptors").count() - 1
}

/// Lowers this process's limit of descriptors: no new one gets a number as high as this. Only inside [`isolated`](crate::isolated), where the process is the
/// test's own.
pub fn limit_descriptors(limit: usize) {
    let process = std::process::id().to_string();
    let limit = format!("--nofile={limit}:");
    let status = Command::new("prlimit").args(["--pid", &process, &limit]).status().expect("prlimit runs");
    assert!(status.success(), "prlimit {limit}: {status}");
}

/// Takes every descriptor below this limit, which becomes the process's. Dropping one of the files frees one. Only inside
/// [`isolated`](crate::isolated).
pub fn exhaust_descriptors(limit: usize) -> Vec<File> {
    limit_descriptors(limit);
    let files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).take(limit).collect();
    assert!(File::open("/dev/null").is_err(), "descriptors are left below {limit}");
    files
}

/// Writes a network setting, such as `net.core.somaxconn`. Only inside [`isolated`](crate::isolated), where it is the
/// test's own.
pub fn write_sysctl(name: &str, value: impl ToString) {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    fs::write(&path, value.to_string()).unwrap_or_else(|error| panic!("writing {path}: {error}"));
}
