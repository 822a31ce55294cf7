//! Every errno of `accept` once more, put into the real program from outside, by its tracer.
//!
//! Where `strace` cannot be run this says why and passes, except with `CI=true`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on says so"
)]

use std::process::{Command, Stdio};

use anteroom_tests::child::ServerProcess;
use anteroom_tests::clients::{ask, connect};
use anteroom_tests::lines::answer;
use anteroom_tests::waiting::{PATIENCE, found};
use serde_json::{Value, json};

/// `EDOM` is none that anybody expects here.
const NOT_THE_LISTENERS: [&str; 12] = [
    "EINTR",
    "EAGAIN",
    "ECONNABORTED",
    "EPROTO",
    "ENETDOWN",
    "EHOSTUNREACH",
    "ENOBUFS",
    "ENOMEM",
    "EMFILE",
    "ENFILE",
    "EPERM",
    "EDOM",
];

const THE_LISTENERS: [&str; 3] = ["EBADF", "EINVAL", "ENOTSOCK"];

/// Whether a program can be traced and its calls be made to fail; says why not.
fn can_trace() -> bool {
    let traced = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=accept4:error=EPROTO:when=1..5", "true"])
        .stdin(Stdio::null())
        .output();
    let why = match traced {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "strace does not run: {why}");
    eprintln!("skipped: strace does not run: {why}");
    false
}

/// A server whose first five calls of `accept4` fail. Each thread's calls are counted by themselves, so one thread makes
/// them all.
fn failing(errno: &str) -> ServerProcess {
    let setup = json!({ "config": { "accept_on": "thread" } });
    let inject = format!("inject=accept4:error={errno}:when=1..5");
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=accept4", "-e", &inject];
    ServerProcess::start_under(&strace, env!("CARGO_BIN_EXE_anteroom-test-server"), &setup)
}

#[test]
fn a_program_whose_accept_fails_serves_the_next_client() {
    if !can_trace() {
        return;
    }
    for errno in NOT_THE_LISTENERS {
        let mut server = failing(errno);
        let address = server.address();
        // The first clients meet the errors; for want of descriptors one of them is refused.
        let mut answered = 0;
        while answered < 3 {
            let client = connect(&address);
            match ask(&client, "hello") {
                Ok(line) if line == answer("hello") => answered += 1,
                Ok(line) => panic!("{errno}: {line:?}"),
                Err(error) => assert!(matches!(errno, "EMFILE" | "ENFILE"), "{errno}: {error}"),
            }
        }
        let snapshot = server.snapshot();
        // Signals and an empty queue are no errors; of want of descriptors each second call is the reserve's.
        let errors = match errno {
            "EINTR" | "EAGAIN" => 0,
            "EMFILE" | "ENFILE" => 3,
            _ => 5,
        };
        assert_eq!(snapshot["accept_errors"], errors, "{errno}: {snapshot}");
        let refused = if matches!(errno, "EMFILE" | "ENFILE") { 1 } else { 0 };
        let report = server.drain(PATIENCE);
        assert_eq!(
            (&report["balanced"], &report["error"]),
            (&json!(true), &Value::Null),
            "{errno}: {report}"
        );
        assert_eq!(
            (&report["served"]["done"], &report["refused"]["total"]),
            (&json!(3), &json!(refused)),
            "{errno}"
        );
    }
}

#[test]
fn a_program_whose_listener_is_broken_ends_with_that_error() {
    if !can_trace() {
        return;
    }
    for errno in THE_LISTENERS {
        let mut server = failing(errno);
        let _client = connect(&server.address());
        server.eventually("the server has stopped", |snapshot| snapshot["phase"] == "stopped");
        let report = server.drain(PATIENCE);
        assert!(report["error"].is_string(), "{errno}: {report}");
        assert_eq!(
            (&report["balanced"], &report["accepted"]),
            (&json!(true), &json!(0)),
            "{errno}: {report}"
        );
        let told = found("it is told", || server.events("anteroom::listener_failed").pop());
        assert_eq!(told["level"], "ERROR", "{errno}: {told}");
    }
}
