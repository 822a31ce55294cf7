//! HTTP/1 and HTTP/2 behind Anteroom.
//!
//! Two ways in, with the same accept path:
//!
//! - [`bind`] gives [`axum::serve()`] a listener: one line of an existing program changes.
//! - [`Http`] serves any tower service of requests on [`anteroom::Connection`]s, for
//!   [`anteroom::Server`]: deadlines for headers and idle connections, and a drain that lets every
//!   connection finish what it has begun.
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
#[cfg(feature = "axum")]
mod listener;
mod pace;
mod requests;
mod serving;
mod watched;

use anteroom::{Config, HalfClose};

pub use crate::error::ConnectionError;
pub use crate::http::{Http, Serving};
#[cfg(feature = "axum")]
pub use crate::listener::{HttpListener, PeerAddress, WithConnectInfo, bind};

/// The core's defaults with HTTP's answer to one question: a peer that closed its side before it was
/// served has left. HTTP clients do not half-close, and TCP cannot tell those that would.
#[must_use]
pub fn config() -> Config {
    let mut config = Config::default();
    config.half_close = HalfClose::Gone;
    config
}
