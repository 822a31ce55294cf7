//! Servers of HTTP: the same router behind each.
//!
//! Owns: the router.
//! Never: the raw protocol.

use crate::process::answer_parent;
use axum::{Router, routing::get};
use std::io;
use tokio::{net::TcpListener, runtime::Runtime};

fn router() -> Router {
    Router::new().route("/", get(|| async { "ok" }))
}

/// As axum's own documentation has it.
pub(super) fn axum_plain(runtime: &Runtime) -> io::Result<()> {
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let parent_gone = answer_parent(listener.local_addr()?, |_| String::new())?;
        tokio::select! {
            ended = axum::serve(listener, router()) => ended,
            _ = parent_gone => Ok(()),
        }
    })
}
