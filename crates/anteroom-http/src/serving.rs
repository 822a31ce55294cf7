//! One connection from the hand-over to its last answer.
//!
//! Owns the order: hyper first, then the drain, then the clock. Never decides what time means.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use anteroom::Connection;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};
use tower_service::Service;
use tracing::{Instrument, Span};

use crate::error::ConnectionError;
use crate::pace::{Pace, Step, Times};
use crate::requests::Requests;
use crate::watched::Watched;

/// Runs the streams of HTTP/2 in the span of their connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InSpan;

impl<F> Executor<F> for InSpan
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, stream: F) {
        // It ends with its connection: hyper resets the streams of one that is dropped.
        #[expect(clippy::disallowed_methods, reason = "a stream of a connection whose task the core counts")]
        drop(tokio::spawn(stream.instrument(Span::current())));
    }
}

/// Serves all requests of `connection`.
pub(crate) async fn serve<Io, S, B>(
    builder: Arc<auto::Builder<InSpan>>,
    times: Times,
    service: S,
    connection: Connection<Io>,
) -> Result<(), ConnectionError>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let pace = Arc::new(Pace::new(times, Instant::now()));
    let mut draining = pin!(connection.draining());
    let requests =
        Requests::new(service, connection.info().clone(), connection.draining(), Arc::clone(&pace));
    let io = TokioIo::new(Watched::new(connection, Arc::clone(&pace)));
    let mut http = pin!(builder.serve_connection_with_upgrades(io, requests));
    let mut alarm = pin!(sleep_until(Instant::now()));
    let mut drain = None;
    let mut finishing = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = http.as_mut().poll(cx) {
                return Poll::Ready(result.map_err(|source| ConnectionError::Http { source }));
            }
            if finishing {
                return Poll::Pending;
            }
            let now = Instant::now();
            if drain.is_none() && draining.as_mut().poll(cx).is_ready() {
                drain = Some(now);
            }
            match pace.step(now, drain) {
                Step::Wait(None) => return Poll::Pending,
                Step::Wait(Some(due)) => {
                    // Later is well enough: the alarm is looked at again when it rings.
                    if due < alarm.deadline() || alarm.is_elapsed() {
                        alarm.as_mut().reset(due);
                    }
                    if alarm.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
                Step::Finish => {
                    finishing = true;
                    http.as_mut().graceful_shutdown();
                }
                Step::Leave => return Poll::Ready(Ok(())),
                Step::TooLate(within) => return Poll::Ready(Err(ConnectionError::HeadersTooLate { within })),
            }
        }
    })
    .await
}
