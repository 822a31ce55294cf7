//! What a child process gets, and what it does not: sockets that are passed on purpose, and the others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail the test, and speak to it"
)]

mod activation;
mod again;
#[cfg(target_os = "linux")]
mod children;
mod refused;
mod single;
