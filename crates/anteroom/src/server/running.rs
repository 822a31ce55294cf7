//! A running server: a future of its report.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::builder::ServerBuilder;
use crate::lifecycle::{Core, Handle, ServeError, Stopped};
use crate::observe::Report;

/// A running server.
///
/// It runs from [`ServerBuilder::start`] on, polled or not; awaiting it waits for its end. Dropping
/// it begins a drain with [`Config::drain_within`](crate::Config::drain_within), unless one has begun.
///
/// # Cancel safety
/// `&mut server` may be awaited again and again, in `select!` too. By value, dropping it drains.
///
/// # Examples
/// ```
/// use anteroom::{Listener, Server, service_fn};
/// use tokio::io::AsyncWriteExt;
///
/// # #[tokio::main]
/// # async fn main() -> std::io::Result<()> {
/// let listener = Listener::builder().backlog(1024).bind("127.0.0.1:0")?;
/// let server = Server::builder()
///     .max_connections(10_000)
///     .serve(listener, service_fn(|mut connection: anteroom::Connection| async move {
///         connection.write_all(b"hello\n").await
///     }))
///     .start()?;
/// let handle = server.handle();
/// let report = handle.drain(std::time::Duration::from_secs(10)).await?;
/// assert!(report.is_balanced());
/// # Ok(())
/// # }
/// ```
#[must_use = "a server that is dropped drains and stops"]
pub struct Server {
    core: Arc<Core>,
    stopped: Pin<Box<Stopped>>,
}

impl Server {
    /// Begins to gather listeners, services and settings.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    pub(super) fn new(core: Arc<Core>) -> Self {
        let stopped = Box::pin(Stopped::new(Arc::clone(&core.life)));
        Self { core, stopped }
    }

    /// A handle to look at it and to stop it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.core))
    }
}

impl Future for Server {
    type Output = Result<Report, ServeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.stopped.as_mut().poll(cx)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.core.let_go();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("phase", &self.core.life.phase()).finish_non_exhaustive()
    }
}
