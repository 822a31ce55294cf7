//! Load and fault clients, the servers to compare with, and the measuring of both.
//!
//! Owns: what offers load to a server and what reads a server's cost from outside. The benchmark and the
//! demonstrations stand on it.
//! Never: published, never part of a server in use, and never inside the process that it measures: a server
//! under measurement is a process of its own ([`process::ServerProcess`]).
#![forbid(unsafe_code)]

pub mod chart;
pub mod client;
pub mod measure;
pub mod peer;
pub mod process;
pub mod scale;
pub mod service;
pub mod simulate;
pub mod stall;
pub mod stats;
