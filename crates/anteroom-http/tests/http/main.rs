//! HTTP behind Anteroom: over real sockets on loopback, and in virtual time where a clock matters.

#![expect(clippy::expect_used, reason = "a helper that fails, fails its test")]
#![expect(clippy::disallowed_methods, reason = "tests spawn what stands beside the server")]

mod asking;
mod client;
mod deadlines;
mod drain;
mod drop_in;
mod facts;
mod gone;
mod http2;
mod last_bytes;
mod piped;
mod unavailable;
mod under_load;
mod upgrade;
