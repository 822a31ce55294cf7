//! Clients that ask on and on, and what became of every request of theirs.
//!
//! Owns the count. A request is *lost* when it was sent, was not answered whole, and its client was not
//! told that it may send it again. HTTP/1 tells by `connection: close` in the answer before, or by ending
//! the connection before any of the request was written; HTTP/2 by the last stream of its `GOAWAY`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::routing::{get, post};
use h2::client::SendRequest;
use http::header::CONNECTION;
use http::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{until, within};
use crate::piped::Piped;

/// The times that handlers and clients take. Far below the grace that a drain gives to idle connections.
const MOMENT: Duration = Duration::from_millis(2);
/// What `/parts` sends in so many frames, with a moment between.
const PARTS: usize = 4;
/// One body of a client, and one frame of the server.
const PART: &[u8] = &[b'x'; 3_000];

/// What the clients ask for.
pub(crate) const PATHS: [&str; 4] = ["/", "/slow", "/parts", "/taken"];

/// Answers at once, after a moment, in parts, and to what was sent.
pub(crate) fn app() -> Router {
    let slow = async || {
        sleep(MOMENT).await;
        "slow"
    };
    let parts = async || {
        Piped::body(async |mut pipe| {
            for _ in 0..PARTS {
                pipe.write_all(PART).await?;
                sleep(MOMENT).await;
            }
            Ok(())
        })
    };
    let taken = async |body: Bytes| body.len().to_string();
    Router::new()
        .route("/", get(async || "at once"))
        .route("/slow", get(slow))
        .route("/parts", get(parts))
        .route("/taken", post(taken))
}

fn is_whole(path: &str, body: &[u8]) -> bool {
    match path {
        "/" => body == b"at once",
        "/slow" => body == b"slow",
        "/parts" => body.len() == PARTS * PART.len(),
        _ => body == PART.len().to_string().as_bytes(),
    }
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    answered: AtomicUsize,
    retriable: AtomicUsize,
    untold: AtomicUsize,
    lost: Mutex<Vec<String>>,
}

impl Tally {
    /// Answered whole.
    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Not taken, and known not to be.
    pub(crate) fn retriable(&self) -> usize {
        self.retriable.load(Ordering::Relaxed)
    }

    /// HTTP/1 connections that were closed without a `connection: close` before.
    pub(crate) fn untold(&self) -> usize {
        self.untold.load(Ordering::Relaxed)
    }

    /// The lost ones, and what their clients saw.
    pub(crate) fn lost(&self) -> Vec<String> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lose(&self, path: &str, saw: &dyn std::fmt::Debug) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{path}: {saw:?}"));
    }

    fn answer(&self, path: &str, body: Result<impl AsRef<[u8]>, impl std::fmt::Debug>) {
        match body {
            Ok(body) if is_whole(path, body.as_ref()) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) => self.lose(path, &"another body"),
            Err(error) => self.lose(path, &error),
        }
    }
}

/// All clients of a round.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    clients: JoinSet<()>,
    pub(crate) tally: Arc<Tally>,
}

impl Crowd {
    /// So many connections of HTTP/1.1 that ask for one thing after the other, and `think` between.
    pub(crate) async fn http1(&mut self, address: SocketAddr, connections: usize, think: Duration) {
        for client in 0..connections {
            let stream = connect(address).await;
            self.clients.spawn(ask_by_http1(stream, client, think, Arc::clone(&self.tally)));
        }
    }

    /// So many connections of HTTP/2, with one stream for each of [`PATHS`] all the time.
    pub(crate) async fn http2(&mut self, address: SocketAddr, connections: usize) {
        for _ in 0..connections {
            let stream = connect(address).await;
            let (requests, connection) =
                within(h2::client::handshake(stream)).await.expect("it needs no answer");
            // How it ends is seen by its streams.
            tokio::spawn(connection);
            for path in PATHS {
                self.clients.spawn(ask_by_http2(requests.clone(), path, Arc::clone(&self.tally)));
            }
        }
    }

    /// Waits for so many answers.
    pub(crate) async fn answered(&self, answers: usize) {
        until(|| self.tally.answered() >= answers).await;
    }

    /// Waits until every client has found its connection at its end.
    pub(crate) async fn disperse(mut self) -> Arc<Tally> {
        within(async {
            while let Some(client) = self.clients.join_next().await {
                client.expect("no panic");
            }
        })
        .await;
        self.tally
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = within(TcpStream::connect(address)).await.expect("somebody listens");
    stream.set_nodelay(true).expect("it is tcp");
    stream
}

fn request(path: &str) -> Request<Body> {
    let request = Request::builder().uri(format!("http://localhost{path}")).header("host", "localhost");
    let request = match path {
        "/taken" => request.method("POST").body(Body::from(PART)),
        _ => request.body(Body::empty()),
    };
    request.expect("it is a request")
}

fn says_close(headers: &HeaderMap) -> bool {
    headers.get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

async fn ask_by_http1(stream: TcpStream, client: usize, think: Duration, tally: Arc<Tally>) {
    let (mut requests, connection) =
        within(hyper::client::conn::http1::handshake(TokioIo::new(stream))).await.expect("no answer needed");
    // How it ends is seen by its requests.
    tokio::spawn(connection);
    let mut told = false;
    for path in PATHS.iter().cycle().skip(client) {
        if within(requests.ready()).await.is_err() {
            break;
        }
        match within(requests.try_send_request(request(path))).await {
            Ok(response) => {
                told = says_close(response.headers());
                tally.answer(path, within(to_bytes(Body::new(response.into_body()), usize::MAX)).await);
            }
            Err(mut error) => {
                if error.take_message().is_none() {
                    tally.lose(path, &error);
                    return;
                }
                // None of it was written.
                tally.retriable.fetch_add(1, Ordering::Relaxed);
                break;
            }
        }
        if !think.is_zero() {
            sleep(think).await;
        }
    }
    if !told {
        tally.untold.fetch_add(1, Ordering::Relaxed);
    }
}

async fn ask_by_http2(mut requests: SendRequest<Bytes>, path: &'static str, tally: Arc<Tally>) {
    let not_taken = |error: &h2::Error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    };
    loop {
        match within(requests.ready()).await {
            Ok(ready) => requests = ready,
            // It has been told, and sends no more.
            Err(error) if not_taken(&error) => return,
            Err(error) => return tally.lose("connection", &error),
        }
        let (head, body) = request(path).into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("it is in memory");
        let Ok((response, mut sending)) =
            requests.send_request(Request::from_parts(head, ()), body.is_empty())
        else {
            // Its connection was told between the two questions.
            return;
        };
        if !body.is_empty() {
            // Why it could not be sent is told by the answer.
            let _told_below = sending.send_data(body, true);
        }
        match within(response).await {
            Ok(response) => tally.answer(path, within(all_of(response.into_body())).await),
            Err(error) if not_taken(&error) => {
                tally.retriable.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Err(error) => return tally.lose(path, &error),
        }
    }
}

async fn all_of(mut body: h2::RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend(data);
    }
    Ok(all)
}
