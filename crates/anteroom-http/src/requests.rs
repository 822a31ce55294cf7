//! The requests of one connection on their way to the service, and the answers on their way back.
//!
//! Owns what is added to them: the connection's facts, the count of those in flight, and the
//! `connection: close` of a drain. Never waits.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use anteroom::{Draining, Info};
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::service::{TowerToHyperService, TowerToHyperServiceFuture};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::pace::{InFlight, Pace};

pub(crate) struct Requests<S> {
    service: TowerToHyperService<S>,
    info: Info,
    draining: Draining,
    pace: Arc<Pace>,
}

impl<S> Requests<S> {
    pub(crate) fn new(service: S, info: Info, draining: Draining, pace: Arc<Pace>) -> Self {
        Self { service: TowerToHyperService::new(service), info, draining, pace }
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Requests<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
{
    type Response = Response<Answer<B>>;
    type Error = S::Error;
    type Future = Answering<S>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let in_flight = self.pace.request();
        let version = request.version();
        let connect = request.method() == Method::CONNECT;
        #[cfg(feature = "axum")]
        if let Some(peer) = self.info.peer_addr().tcp() {
            request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
        }
        request.extensions_mut().insert(self.info.clone());
        Answering {
            answer: self.service.call(request),
            version,
            connect,
            draining: self.draining.clone(),
            pace: Arc::clone(&self.pace),
            in_flight: Some(in_flight),
        }
    }
}

pin_project! {
    pub(crate) struct Answering<S>
    where
        S: Service<Request<Incoming>>,
    {
        #[pin]
        answer: TowerToHyperServiceFuture<S, Request<Incoming>>,
        version: Version,
        connect: bool,
        draining: Draining,
        pace: Arc<Pace>,
        in_flight: Option<InFlight>,
    }
}

impl<S, B> Future for Answering<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Output = Result<Response<Answer<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.answer.poll(cx))?;
        let status = response.status();
        let upgrades = status == StatusCode::SWITCHING_PROTOCOLS || *this.connect && status.is_success();
        if *this.version >= Version::HTTP_2 {
            // Its streams are tunnels, not its connection; and GOAWAY tells.
        } else if upgrades {
            this.pace.becomes_a_tunnel();
        } else if this.draining.has_begun() {
            // The client is told with this answer, and not by a close that meets its next request.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let in_flight = this.in_flight.take();
        Poll::Ready(Ok(response.map(|body| Answer { body, in_flight })))
    }
}

pin_project! {
    /// A body that keeps its request in flight until it is dropped.
    pub(crate) struct Answer<B> {
        #[pin]
        body: B,
        in_flight: Option<InFlight>,
    }
}

impl<B> Body for Answer<B>
where
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
