//! The service of connections that speaks HTTP to them.
//!
//! Owns the settings and their defaults. Never accepts, and never limits how many there are.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anteroom::Connection;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

use crate::error::ConnectionError;
use crate::pace::Times;
use crate::serving::{InSpan, serve};

/// For the whole head of a request.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Between two requests.
const IDLE_WITHIN: Duration = Duration::from_secs(60);
/// For the next request of an HTTP/1 connection that is idle while the server drains.
const GRACE: Duration = Duration::from_secs(3);
/// Between two pings of HTTP/2.
const PING_EVERY: Duration = Duration::from_secs(30);
/// For the answer to a ping.
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// HTTP/1 and HTTP/2 on connections, by a tower service of requests such as an `axum::Router`.
///
/// It is a `Service<Connection<Io>>` for [`Server::serve`](anteroom::ServerBuilder::serve), for
/// every `Io`: TLS goes around it as a layer. Upgrades work; the connection's place stays taken
/// until the upgraded socket is dropped.
///
/// Requests carry [`anteroom::Info`] in their extensions, and with the feature `axum` also
/// `ConnectInfo<SocketAddr>` for TCP peers.
///
/// When the server drains, a connection finishes what is in flight, says `connection: close` with
/// its next answer (HTTP/1) or `GOAWAY` at once (HTTP/2), and closes. An HTTP/1 connection that is
/// idle, or was still queued, is served one more request; if none comes it is closed after
/// [`drain_grace`](Self::drain_grace).
///
/// It is always ready for a connection: readiness of the inner service is asked for each request.
/// To limit connections, use [`Config::max_connections`](anteroom::Config::max_connections) or a
/// layer around this.
///
/// # Bounds
/// A head has 10 s, an idle connection 60 s; the size of a head is hyper's. A connection that is
/// closed from here keeps its place until the client closes too, has sent nothing for 1 s, or 10 s
/// are over, so that no late byte of the client resets the end of an answer. Nothing bounds how long
/// a body takes in either direction, or the service: layers inside do, and a drain's deadline.
#[derive(Clone)]
pub struct Http<S> {
    service: S,
    builder: Arc<auto::Builder<InSpan>>,
    times: Times,
}

impl<S> Http<S> {
    /// With all defaults.
    #[must_use]
    pub fn new(service: S) -> Self {
        let mut builder = auto::Builder::new(InSpan);
        // The deadlines are ours: hyper's timeout for a head also ends idle connections, and leaves
        // out those that never say what they speak.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
        builder
            .http2()
            .timer(TokioTimer::new())
            .enable_connect_protocol()
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN);
        let times = Times { headers: Some(HEADERS_WITHIN), idle: Some(IDLE_WITHIN), drain_grace: GRACE };
        Self { service, builder: Arc::new(builder), times }
    }

    /// How long the head of a request may take from its first byte, and how long a client may stay
    /// silent before its first request (default 10 s). `None`: for ever.
    #[must_use]
    pub fn headers_within(mut self, within: impl Into<Option<Duration>>) -> Self {
        self.times.headers = within.into();
        self
    }

    /// How long a connection is kept between two requests (default 60 s). `None`: for ever.
    #[must_use]
    pub fn idle_within(mut self, within: impl Into<Option<Duration>>) -> Self {
        self.times.idle = within.into();
        self
    }

    /// How long an HTTP/1 connection is kept when the server drains and it is between two requests, or
    /// has not said anything (default 3 s): its next request may be on the way, and an answer is the
    /// only way to tell it. Who thinks longer than this between two requests may lose one that crosses
    /// the close.
    ///
    /// Keep it below the drain's deadline, which cuts who is still open.
    #[must_use]
    pub fn drain_grace(mut self, grace: Duration) -> Self {
        self.times.drain_grace = grace;
        self
    }

    /// How often an HTTP/2 client is asked whether it is still there (default every 30 s); it has
    /// 20 s to answer. `None`: never.
    #[must_use]
    pub fn ping_every(mut self, every: impl Into<Option<Duration>>) -> Self {
        let mut builder = (*self.builder).clone();
        builder.http2().keep_alive_interval(every);
        self.builder = Arc::new(builder);
        self
    }

    /// Serves all requests of one connection: what [`Service::call`] does, for accept loops of your
    /// own.
    ///
    /// # Errors
    /// The future's: the connection broke, or the client was too late or did not speak HTTP.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection, and the handlers of its requests.
    pub fn serve<Io, B>(&self, connection: Connection<Io>) -> Serving
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        Serving(Box::pin(serve(Arc::clone(&self.builder), self.times, self.service.clone(), connection)))
    }
}

impl<S, Io, B> Service<Connection<Io>> for Http<S>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Response = ();
    type Error = ConnectionError;
    type Future = Serving;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connection: Connection<Io>) -> Serving {
        self.serve(connection)
    }
}

impl<S: fmt::Debug> fmt::Debug for Http<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, times, .. } = self;
        f.debug_struct("Http").field("service", service).field("times", times).finish_non_exhaustive()
    }
}

/// One connection being served; see [`Http::serve`].
#[must_use = "futures do nothing unless polled"]
pub struct Serving(Pin<Box<dyn Future<Output = Result<(), ConnectionError>> + Send>>);

impl Future for Serving {
    type Output = Result<(), ConnectionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}
