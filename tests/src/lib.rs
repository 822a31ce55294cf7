//! What several test files need: runtimes with blocked workers, raw clients, a server process.
//!
//! Owns no test. Each helper waits for conditions with a generous bound and never sleeps to
//! synchronise.

#![allow(clippy::panic, reason = "a test that cannot go on says so")]

pub mod heard;
pub mod machine;
pub mod recorder;
pub mod waiting;
