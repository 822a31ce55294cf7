//! What several test files need: a server in a process of its own, what is done to it, and its clients.
//!
//! Owns no test. Each helper waits for conditions with a generous bound and never sleeps to
//! synchronise. It panics where a test would have to fail anyway.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    reason = "this is test code: a helper that fails fails the test"
)]
#![forbid(unsafe_code)]

pub mod arrivals;
pub mod child;
pub mod clients;
pub mod events;
pub mod faults;
pub mod hoard;
pub mod lineage;
pub mod lines;
pub mod local;
pub mod machine;
pub mod manager;
pub mod promise;
pub mod recorder;
pub mod setup;
pub mod shutdown;
pub mod stall_json;
pub mod stalling;
pub mod waiting;

/// The programs in the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// And those in the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
pub struct Guide;

/// And those in its chapters.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/restarts.md")]
#[doc = include_str!("../../docs/guide/systemd.md")]
#[doc = include_str!("../../docs/guide/kubernetes.md")]
#[doc = include_str!("../../docs/guide/stalls.md")]
#[doc = include_str!("../../docs/guide/admin.md")]
pub struct Chapters;
