//! The second run of one test, in a child process.

use std::{
    env,
    os::fd::OwnedFd,
    process::{Command, Output, Stdio},
};

/// Set to the test's name in the child.
const CHILD: &str = "ANTEROOM_TEST_CHILD";

/// Whether this is the child of that test.
pub(crate) fn is_child(name: &str) -> bool {
    env::var(CHILD).is_ok_and(|child| child == name)
}

/// This test again, through a shell that runs `prepare` first: it finds `input` under 0 and `output` under 1, and has
/// to bring the standard output back to 2 (`>&2`), where the child's report is read.
pub(crate) fn command(name: &str, prepare: &str, input: Stdio, output: Stdio) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{prepare}; exec \"$0\" \"$@\"")])
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .stdin(input)
        .stdout(output)
        .stderr(Stdio::piped());
    command
}

/// Runs it to its end; it must have passed.
pub(crate) fn run(name: &str, prepare: &str, input: OwnedFd, output: OwnedFd) {
    let Output { status, stderr, .. } =
        command(name, prepare, input.into(), output.into()).spawn().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success() && said.contains("1 passed"), "{name} in a child: {status}\n{said}");
}
