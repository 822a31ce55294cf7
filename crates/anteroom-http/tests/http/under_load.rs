//! A drain under keep-alive load: every request that was sent is answered.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use anteroom::{Handle, Report};
use anteroom_http::Http;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::header::CONNECTION;
use http::{HeaderValue, Version};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::asking::{Crowd, PATHS, app};
use crate::client::{BOUND, serve, within};

/// Connections of each kind.
const CONNECTIONS: usize = 16;
/// What a client that is not in a hurry thinks between two requests.
const THOUGHT: Duration = Duration::from_millis(20);

/// Rounds of each test; `ANTEROOM_ROUNDS` sets another number.
fn rounds() -> usize {
    std::env::var("ANTEROOM_ROUNDS").map_or(25, |rounds| rounds.parse().expect("a number of rounds"))
}

/// What became of the requests of all rounds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    answered: usize,
    retriable: usize,
    untold: usize,
    lost: Vec<String>,
}

impl Sum {
    /// Drains a server in the middle of its load, and waits for its clients and its end.
    async fn drain(&mut self, handle: &Handle, crowd: Crowd, connections: usize) -> Report {
        crowd.answered(5 * connections).await;
        let stopped = handle.drain(BOUND);
        let tally = crowd.disperse().await;
        self.answered += tally.answered();
        self.retriable += tally.retriable();
        self.untold += tally.untold();
        self.lost.extend(tally.lost());
        within(stopped).await.expect("a drain is no error")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_of_http1_is_lost_and_everybody_is_told() {
    let mut sum = Sum::default();
    for _ in 0..rounds() {
        let (server, address) = serve(Http::new(app()).drain_grace(BOUND));
        let mut crowd = Crowd::default();
        crowd.http1(address, CONNECTIONS, Duration::ZERO).await;
        crowd.http1(address, CONNECTIONS, THOUGHT).await;
        let report = sum.drain(&server.handle(), crowd, 2 * CONNECTIONS).await;
        assert_eq!((report.served.done, report.served.total()), (32, 32), "{report}");
    }
    assert_eq!(sum, Sum { answered: sum.answered, ..Sum::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_of_http2_is_lost() {
    let mut sum = Sum::default();
    for _ in 0..rounds() {
        let (server, address) = serve(Http::new(app()).drain_grace(BOUND));
        let mut crowd = Crowd::default();
        crowd.http2(address, CONNECTIONS).await;
        let report = sum.drain(&server.handle(), crowd, PATHS.len() * CONNECTIONS).await;
        assert_eq!((report.served.done, report.served.total()), (16, 16), "{report}");
    }
    println!("{} answered, {} retriable", sum.answered, sum.retriable);
    assert_eq!(sum, Sum { answered: sum.answered, retriable: sum.retriable, ..Sum::default() });
}

/// The load's server under axum.
fn drop_in(
    app: impl FnOnce(&Handle) -> Router,
    wait: Wait,
) -> (Handle, SocketAddr, JoinHandle<io::Result<()>>) {
    let listener = anteroom_http::bind("127.0.0.1:0").expect("a free port");
    let (handle, address) = (listener.handle(), listener.local_addr().tcp().expect("it is tcp"));
    let (app, signal) = (app(&handle), wait(handle.clone()));
    let serving = async { axum::serve(listener, app).with_graceful_shutdown(signal).await };
    (handle, address, tokio::spawn(serving))
}

type Wait = fn(Handle) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// The signal that axum is given in the first place.
fn until_exhausted(handle: Handle) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(handle.exhausted())
}

/// The signal for who tells the clients: those who ask again within the grace have been told by then.
fn until_told(handle: Handle) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        handle.exhausted().await;
        let _or_nobody_is_left = timeout(BOUND, handle.stopped()).await;
    })
}

/// A layer that tells clients of HTTP/1 of the drain.
async fn tell(State(handle): State<Handle>, request: Request, next: Next) -> Response {
    let version = request.version();
    let mut response = next.run(request).await;
    if version < Version::HTTP_2 && handle.draining().has_begun() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn telling_app(handle: &Handle) -> Router {
    app().layer(from_fn_with_state(handle.clone(), tell))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axum_loses_no_request_of_http2() {
    let mut sum = Sum::default();
    for _ in 0..rounds() {
        let (handle, address, serving) = drop_in(|_| app(), until_exhausted);
        let mut crowd = Crowd::default();
        crowd.http2(address, CONNECTIONS).await;
        let report = sum.drain(&handle, crowd, PATHS.len() * CONNECTIONS).await;
        within(serving).await.expect("no panic").expect("axum ends");
        assert_eq!((report.served.done, report.served.total()), (16, 16), "{report}");
    }
    println!("{} answered, {} retriable", sum.answered, sum.retriable);
    assert_eq!(sum, Sum { answered: sum.answered, retriable: sum.retriable, ..Sum::default() });
}

/// axum closes idle connections of HTTP/1 when it is told to stop, whatever is on its way: that is the
/// difference to `Http`, and decision 23 has the numbers that this prints.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_axum_loses_of_http1_had_not_been_read() {
    let mut sum = Sum::default();
    for _ in 0..rounds().div_ceil(5) {
        let (handle, address, serving) = drop_in(|_| app(), until_exhausted);
        let mut crowd = Crowd::default();
        crowd.http1(address, CONNECTIONS, Duration::ZERO).await;
        crowd.http1(address, CONNECTIONS, THOUGHT).await;
        sum.drain(&handle, crowd, 2 * CONNECTIONS).await;
        within(serving).await.expect("no panic").expect("axum ends");
    }
    println!("{} answered, {} closed untold, {} lost", sum.answered, sum.untold, sum.lost.len());
    assert!(sum.lost.iter().all(|lost| lost.contains("TrySendError")), "not one answer was cut: {sum:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axum_that_tells_its_clients_and_waits_loses_none_of_http1() {
    let mut sum = Sum::default();
    for _ in 0..rounds() {
        let (handle, address, serving) = drop_in(telling_app, until_told);
        let mut crowd = Crowd::default();
        crowd.http1(address, CONNECTIONS, Duration::ZERO).await;
        crowd.http1(address, CONNECTIONS, THOUGHT).await;
        let report = sum.drain(&handle, crowd, 2 * CONNECTIONS).await;
        within(serving).await.expect("no panic").expect("axum ends");
        assert_eq!((report.served.done, report.served.total()), (32, 32), "{report}");
    }
    assert_eq!(sum, Sum { answered: sum.answered, ..Sum::default() });
}
