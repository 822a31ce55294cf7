//! `axum::serve` on Anteroom's listener.

use std::net::SocketAddr;
use std::sync::Arc;

use anteroom::{Handle, Incoming, Listener, Order, PeerAddr};
use anteroom_http::HttpListener;
use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use crate::client::{BOUND, Client, until, within};

fn bind() -> (HttpListener, Handle, SocketAddr) {
    let listener = anteroom_http::bind("127.0.0.1:0").expect("a free port");
    let (handle, address) = (listener.handle(), listener.local_addr().tcp().expect("it is tcp"));
    (listener, handle, address)
}

/// How many of `ready` clients, who have sent a request while nobody accepted, are answered when the
/// server drains.
async fn answered_of(ready: usize) -> usize {
    let (listener, handle, address) = bind();
    let app = Router::new().route("/", get(async || "hello"));
    let exhausted = handle.exhausted();
    let serving = tokio::spawn(async { axum::serve(listener, app).with_graceful_shutdown(exhausted).await });
    handle.pause();
    let mut clients = Vec::new();
    for _ in 0..ready {
        let mut client = Client::connect(address).await;
        client.send("/").await;
        clients.push(client);
    }
    let stopped = handle.drain(BOUND);
    let mut answered = 0;
    for client in &mut clients {
        answered += usize::from(client.answer().await.is_ok_and(|answer| answer.body == "hello"));
    }
    drop(clients);
    within(serving).await.expect("no panic").expect("axum ends");
    let report = within(stopped).await.expect("a drain is no error");
    assert_eq!(report.served.done, ready as u64, "{report}");
    answered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_leaves_no_ready_connection_behind() {
    assert_eq!(answered_of(1_000).await, 1_000);
}

/// Those that axum may not have yet, because all places are taken, and those that nobody has accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_one_that_waits_in_the_room() {
    const PLACES: usize = 8;
    const IN_ROOM: usize = 700;
    const READY: usize = 1_000;
    let mut config = anteroom_http::config();
    (config.max_connections, config.order, config.max_wait) = (Some(PLACES), Order::Fifo, 10 * BOUND);
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is tcp");
    let incoming = Incoming::builder().config(config).listen(listener).start().expect("it starts");
    let (handle, held) = (incoming.handle(), Arc::new(Semaphore::new(0)));
    let hold = Arc::clone(&held);
    let hold = async move || hold.acquire().await.map_or("never", |_| "held");
    let app = Router::new().route("/", get(async || "hello")).route("/held", get(hold));
    let exhausted = handle.exhausted();
    let listener = HttpListener::new(incoming).expect("it is tcp");
    let serving = tokio::spawn(async { axum::serve(listener, app).with_graceful_shutdown(exhausted).await });
    let ask = async |path: &str| {
        let mut client = Client::connect(address).await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        client.0.write_all(request.as_bytes()).await.expect("it reads");
        client
    };
    let mut clients = Vec::new();
    for _ in 0..PLACES {
        clients.push((ask("/held").await, "held"));
    }
    until(|| handle.snapshot().open == PLACES).await;
    for _ in 0..IN_ROOM {
        clients.push((ask("/").await, "hello"));
    }
    until(|| handle.snapshot().waiting == IN_ROOM).await;
    handle.pause();
    for _ in IN_ROOM..READY {
        clients.push((ask("/").await, "hello"));
    }
    let queued = || handle.snapshot().listeners[0].queue.and_then(|queue| queue.depth).unwrap_or(0);
    until(|| queued() as usize + handle.snapshot().waiting == READY).await;
    let stopped = handle.drain(BOUND);
    held.add_permits(PLACES);
    for (client, body) in &mut clients {
        assert_eq!(client.answer().await.expect("it is answered").body, *body);
        assert_eq!(client.until_closed().await.expect("no reset"), b"");
    }
    within(serving).await.expect("no panic").expect("axum ends");
    let report = within(stopped).await.expect("a drain is no error");
    assert_eq!(report.served.done, (PLACES + READY) as u64, "{report}");
}

/// Before `exhausted()` waited for the first read, one in a hundred of these was reset.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_one_in_the_queue_is_answered_when_axum_is_told_to_stop() {
    for round in 0..300 {
        assert_eq!(answered_of(1).await, 1, "round {round}");
    }
}

#[tokio::test]
async fn connect_info_is_the_clients_address() {
    let (listener, _, address) = bind();
    let app =
        Router::new().route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async { axum::serve(listener.with_connect_info(), app).await });
    let mut client = Client::connect(address).await;
    let own = client.0.local_addr().expect("it is connected");
    assert_eq!(client.ask("/").await.body, own.to_string());
}

#[tokio::test]
async fn the_plain_line_serves() {
    let (listener, handle, address) = bind();
    let app = Router::new().route("/", get(async || "hello"));
    tokio::spawn(async { axum::serve(listener, app).await });
    assert_eq!(Client::connect(address).await.ask("/").await.body, "hello");
    until(|| handle.snapshot().report.served.done == 1).await;
}

#[tokio::test]
async fn unix_peers_are_known_as_such() {
    let listener =
        Listener::bind(format!("unix:@anteroom-http-{}", std::process::id())).expect("a free name");
    let incoming =
        Incoming::builder().config(anteroom_http::config()).listen(listener).start().expect("it starts");
    let name = incoming.local_addr().to_string();
    let app =
        Router::new().route("/", get(async |ConnectInfo(peer): ConnectInfo<PeerAddr>| peer.to_string()));
    let app = app.into_make_service_with_connect_info::<PeerAddr>();
    tokio::spawn(async { axum::serve(HttpListener::any(incoming).with_connect_info(), app).await });
    let mut client = UnixStream::connect(name.replacen("unix:@", "\0", 1)).await.expect("it listens");
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("it reads");
    let mut answer = String::new();
    within(client.read_to_string(&mut answer)).await.expect("an answer");
    assert!(answer.ends_with(&PeerAddr::Unix.to_string()), "{answer}");
}

#[tokio::test]
async fn a_unix_socket_has_no_socket_address_and_is_refused_where_one_is_promised() {
    let error =
        anteroom_http::bind(format!("unix:@anteroom-http-no-{}", std::process::id())).expect_err("no tcp");
    assert!(error.to_string().contains("HttpListener::any"), "{error}");
}
