//! Servers of HTTP: the same router behind each.
//!
//! Owns: the router.
//! Never: the raw protocol.

use super::raw::tcp;
use crate::process::answer_parent;
use anteroom::{Config, Listener, Server};
use anteroom_http::Http;
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

/// The same in a task: it runs on a worker, and so does what it spawns.
pub(super) fn axum_spawned(runtime: &Runtime) -> io::Result<()> {
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let parent_gone = answer_parent(listener.local_addr()?, |_| String::new())?;
        #[expect(clippy::disallowed_methods, reason = "this is the loop that Anteroom replaces")]
        let serving = tokio::spawn(axum::serve(listener, router()).into_future());
        tokio::select! {
            ended = serving => ended?,
            _ = parent_gone => Ok(()),
        }
    })
}

/// One line differs.
pub(super) fn anteroom_axum(runtime: &Runtime) -> io::Result<()> {
    runtime.block_on(async {
        let listener = anteroom_http::bind("127.0.0.1:0")?;
        let parent_gone = answer_parent(tcp(listener.local_addr())?, |_| String::new())?;
        tokio::select! {
            ended = axum::serve(listener, router()) => ended,
            _ = parent_gone => Ok(()),
        }
    })
}

/// One line differs from the one in a task.
pub(super) fn anteroom_axum_spawned(runtime: &Runtime) -> io::Result<()> {
    runtime.block_on(async {
        let listener = anteroom_http::bind("127.0.0.1:0")?;
        let parent_gone = answer_parent(tcp(listener.local_addr())?, |_| String::new())?;
        #[expect(clippy::disallowed_methods, reason = "the same as the one that it is compared with")]
        let serving = tokio::spawn(axum::serve(listener, router()).into_future());
        tokio::select! {
            ended = serving => ended?,
            _ = parent_gone => Ok(()),
        }
    })
}

/// With everything that the adapter has, at its defaults.
pub(super) fn anteroom_http(runtime: &Runtime, config: Config) -> io::Result<()> {
    runtime.block_on(async {
        let listener = Listener::bind("127.0.0.1:0")?;
        let parent_gone = answer_parent(tcp(listener.local_addr())?, |_| String::new())?;
        let builder = Server::builder().config(config);
        let server = builder.serve(listener, Http::new(router())).start()?;
        tokio::select! {
            ended = server => Ok(ended.map(drop)?),
            _ = parent_gone => Ok(()),
        }
    })
}
