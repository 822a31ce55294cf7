//! What is answered to which request.
//!
//! Owns the servers that are told of. Takes each server's lock for as long as a snapshot takes, and asks the kernel
//! about each listener once; never waits for a runtime.

use std::net::IpAddr;

use anteroom::{Handle, Snapshot};
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, TRANSFER_ENCODING,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use crate::admin::Hosts;
use crate::status;

pub(crate) type Answer = Response<Full<Bytes>>;

/// What is there, for those who ask for something else.
#[cfg(feature = "metrics")]
const PATHS: &str = "/live\n/ready\n/status\n/metrics\n";
#[cfg(not(feature = "metrics"))]
const PATHS: &str = "/live\n/ready\n/status\n";

const TEXT: &str = "text/plain; charset=utf-8";

pub(crate) struct Answers {
    servers: Vec<(String, Handle)>,
    hosts: Hosts,
    #[cfg(feature = "metrics")]
    metrics: metrics::Metrics,
}

impl Answers {
    pub(crate) fn new(servers: Vec<(String, Handle)>, hosts: Hosts) -> Self {
        #[cfg(feature = "metrics")]
        let metrics = metrics::Metrics::of(&servers);
        Self {
            servers,
            hosts,
            #[cfg(feature = "metrics")]
            metrics,
        }
    }

    /// `is_last`: this connection has asked for enough.
    pub(crate) fn answer<B>(&self, request: &Request<B>, is_last: bool) -> Answer {
        let mut answer = self.choose(request);
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // A body is read by nobody: what follows it would be taken for the next request.
        if is_last || has_body(request) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    fn choose<B>(&self, request: &Request<B>) -> Answer {
        if !self.knows_host(request) {
            return text(
                StatusCode::MISDIRECTED_REQUEST,
                "this listener answers to an address or localhost, not to a name\n",
            );
        }
        if has_body(request) {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "there is nothing to send here\n");
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "there is nothing to change here\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            "/live" => text(StatusCode::OK, "live\n"),
            "/ready" => self.ready(),
            "/status" => self.status(),
            #[cfg(feature = "metrics")]
            "/metrics" => {
                with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.metrics.render())
            }
            _ => text(StatusCode::NOT_FOUND, PATHS),
        }
    }

    fn ready(&self) -> Answer {
        let states: Vec<_> = self.servers.iter().map(|(name, server)| (name, server.readiness())).collect();
        let words: String = states.iter().map(|(name, state)| format!("{name}: {state}\n")).collect();
        match states.iter().all(|(_, state)| state.is_ready()) {
            true => text(StatusCode::OK, words),
            false => text(StatusCode::SERVICE_UNAVAILABLE, words),
        }
    }

    fn status(&self) -> Answer {
        let servers: Vec<(&str, Snapshot)> =
            self.servers.iter().map(|(name, server)| (name.as_str(), server.snapshot())).collect();
        let mut json = status::of(&servers).to_string();
        json.push('\n');
        with_type(StatusCode::OK, "application/json", json)
    }

    fn knows_host<B>(&self, request: &Request<B>) -> bool {
        if self.hosts == Hosts::Any {
            return true;
        }
        let named = request.headers().get(HOST).map(HeaderValue::as_bytes);
        let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        [named, authority].into_iter().flatten().all(is_local)
    }
}

/// An address, or `localhost`, with a port or without; or nothing.
fn is_local(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, _)) => name,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn has_body<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let length = headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    length || headers.contains_key(TRANSFER_ENCODING)
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_type(status, TEXT, body)
}

fn with_type(status: StatusCode, content: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content));
    answer
}

#[cfg(feature = "metrics")]
mod metrics {
    //! A recorder of its own, into which each server is published when somebody asks.

    use std::cell::RefCell;

    use anteroom::{Handle, Publisher};
    use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

    /// In seconds: waits and polls begin at microseconds, handlers end at minutes.
    const BUCKETS: [f64; 16] =
        [1e-5, 1e-4, 2.5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

    pub(super) struct Metrics {
        recorder: PrometheusRecorder,
        publishers: RefCell<Vec<Publisher>>,
    }

    impl Metrics {
        pub(super) fn of(servers: &[(String, Handle)]) -> Self {
            let builder = PrometheusBuilder::new();
            // It refuses no buckets but none.
            let builder = builder.set_buckets(&BUCKETS).unwrap_or_else(|_| PrometheusBuilder::new());
            let publishers = servers.iter().map(|(_, server)| server.publisher()).collect();
            Self { recorder: builder.build_recorder(), publishers: RefCell::new(publishers) }
        }

        pub(super) fn render(&self) -> String {
            metrics::with_local_recorder(&self.recorder, || {
                self.publishers.borrow_mut().iter_mut().for_each(Publisher::publish);
            });
            self.recorder.handle().render()
        }
    }
}
