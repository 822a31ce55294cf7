//! HTTP/1 and HTTP/2 behind Anteroom.
//!
//! Two ways in, with the same accept path:
//!
//! - [`bind`] gives [`axum::serve()`] a listener: one line of an existing program changes.
//! - [`Http`] serves any tower service of requests on [`anteroom::Connection`]s, for
//!   [`anteroom::Server`]: deadlines for headers and idle connections, and a drain that lets every
//!   connection finish what it has begun.
//!
//! [`unavailable`] lets the refused read a `503` instead of a reset.
//!
//! Owns what is HTTP's. Never accepts and never decides who waits: that is the core's.
//!
//! # Examples
//! ```no_run
//! # async fn main_(app: axum::Router) -> std::io::Result<()> {
//! axum::serve(anteroom_http::bind("0.0.0.0:8000")?, app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! An accept loop that is not the server's own costs least in a task: `main` under `#[tokio::main]` runs outside the
//! workers, and each connection that it spawns from there wakes another thread. With or without Anteroom,
//! `tokio::spawn(axum::serve(listener, app).into_future())` spares what that costs; the benchmarks have both.
//!
//! With all that [`Http`] adds, and a report at the end:
//! ```
//! use std::time::Duration;
//!
//! use anteroom::{Listener, Server};
//! use anteroom_http::Http;
//! use axum::{Router, routing::get};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let app = Router::new().route("/", get(async || "hello\n"));
//! let server = Server::builder()
//!     .config(anteroom_http::config())
//!     .serve(Listener::bind("127.0.0.1:0")?, Http::new(app))
//!     .start()?;
//! let report = server.handle().drain(Duration::from_secs(10)).await?;
//! println!("{report}");
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod error;
mod http;
mod linger;
#[cfg(feature = "axum")]
mod listener;
mod pace;
mod requests;
mod serving;
mod unavailable;
mod watched;

use anteroom::{Config, HalfClose};

pub use crate::error::ConnectionError;
pub use crate::http::{Http, Serving};
#[cfg(feature = "axum")]
pub use crate::listener::{HttpListener, PeerAddress, WithConnectInfo, bind};
pub use crate::unavailable::unavailable;

/// The core's defaults with HTTP's answer to one question: a peer that closed its side before it was
/// served has left. HTTP clients do not half-close, and TCP cannot tell those that would.
///
/// The other questions have no one answer for HTTP, and keep the core's:
///
/// - [`first_byte`](Config::first_byte) stays off, although HTTP clients speak first. Browsers and
///   connection pools connect ahead and are silent until they need the connection: the stage would
///   reset it at its deadline, possibly under a request that is on its way, and a drain would wait
///   that long for those who are silent. [`Http`] gives silent clients ten seconds of its own, and
///   ends them with a close. Where every place counts, or behind [`bind`], which has no such deadline,
///   set it: `config.first_byte = Some(FirstByte::within(Duration::from_secs(10)))`.
/// - [`refusal`](Config::refusal) stays a reset, which every client understands, also one that speaks
///   TLS or HTTP/2. [`unavailable`] is the answer for HTTP/1.
#[must_use]
pub fn config() -> Config {
    let mut config = Config::default();
    config.half_close = HalfClose::Gone;
    config
}
