//! A service from a function, without a dependency on `tower`.

use std::future::Future;
use std::task::{Context, Poll};

use tower_service::Service;

use crate::connection::Connection;

/// Makes a service of an async function of one connection.
///
/// # Examples
/// ```
/// let service = anteroom::service_fn(|connection: anteroom::Connection| async move {
///     println!("{} is here", connection.peer_addr());
///     Ok::<_, std::io::Error>(())
/// });
/// # let _ = service;
/// ```
pub fn service_fn<F, Io, Fut, E>(handler: F) -> ServiceFn<F>
where
    F: FnMut(Connection<Io>) -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    ServiceFn(handler)
}

/// See [`service_fn`].
#[derive(Clone, Copy, Debug)]
pub struct ServiceFn<F>(F);

impl<F, Io, Fut, E> Service<Connection<Io>> for ServiceFn<F>
where
    F: FnMut(Connection<Io>) -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    type Response = ();
    type Error = E;
    type Future = Fut;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connection: Connection<Io>) -> Fut {
        (self.0)(connection)
    }
}
