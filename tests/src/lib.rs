//! What several test files need: runtimes with blocked workers, raw clients, a server process.
//!
//! Owns no test. Each helper waits for conditions with a generous bound and never sleeps to
//! synchronise.
