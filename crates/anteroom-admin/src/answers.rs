//! What is answered to which request.
//!
//! Owns the servers that are told of. Takes each server's lock for as long as a snapshot takes, and asks the kernel
//! about each listener once; never waits for a runtime.

#[cfg(feature = "metrics")]
use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr};

use anteroom::Handle;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, TRANSFER_ENCODING,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use crate::admin::Hosts;
#[cfg(feature = "metrics")]
use crate::page::Page;
use crate::status::{self, Told};

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
    page: RefCell<Page>,
}

impl Answers {
    pub(crate) fn new(servers: Vec<(String, Handle)>, hosts: Hosts) -> Self {
        #[cfg(feature = "metrics")]
        let page = RefCell::new(Page::of(&servers));
        Self {
            servers,
            hosts,
            #[cfg(feature = "metrics")]
            page,
        }
    }

    /// `is_last`: this connection has asked for enough.
    pub(crate) fn answer<B>(&self, request: &Request<B>, is_last: bool) -> Answer {
        let mut answer = self.choose(request);
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
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
            "/metrics" => with_type(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                self.page.borrow_mut().render(),
            ),
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
        let servers: Vec<_> = self
            .servers
            .iter()
            .map(|(name, server)| Told {
                name,
                snapshot: server.snapshot(),
                is_watched: server.config().stall_watch.is_some(),
            })
            .collect();
        let mut json = status::of(&servers).to_string();
        json.push('\n');
        with_type(StatusCode::OK, "application/json", json)
    }

    fn knows_host<B>(&self, request: &Request<B>) -> bool {
        if self.hosts == Hosts::Any {
            return true;
        }
        let mut named = request.headers().get_all(HOST).iter().map(HeaderValue::as_bytes);
        let (named, another) = (named.next(), named.next());
        let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        another.is_none() && [named, authority].into_iter().flatten().all(is_local)
    }
}

/// An address, or `localhost`, with a port or without; or nothing. Whatever else there is, such as a user's name,
/// makes it a name.
fn is_local(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').is_some_and(|(name, after)| {
            let is_end = after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
            is_end && name.parse::<Ipv6Addr>().is_ok()
        }),
        None => {
            let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
            let is_name = name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok();
            is_port(port) && (is_name || host.is_empty())
        }
    }
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
