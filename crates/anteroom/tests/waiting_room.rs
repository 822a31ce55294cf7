//! The waiting room on real sockets: time that the room keeps, farewells, and first bytes.

#![cfg_attr(
    any(anteroom_portable, not(target_os = "linux")),
    allow(unused_imports, reason = "two of the tests are for epoll")
)]
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is test code")]

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anteroom::{
    Config, Connection, FirstByte, Handle, Incoming, Listener, Order, Rate, Refusal, Reply, Server, Share,
    service_fn,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BOUND: Duration = Duration::from_secs(10);

fn listen() -> (Listener, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is TCP");
    (listener, address)
}

/// Says hello and keeps the connection until the client closes.
async fn hello(mut connection: Connection) -> io::Result<()> {
    connection.write_all(b"hello").await?;
    let mut bytes = [0; 64];
    while connection.read(&mut bytes).await? > 0 {}
    Ok(())
}

async fn until(what: &str, handle: &Handle, holds: impl Fn(&anteroom::Snapshot) -> bool) {
    let begun = Instant::now();
    while !holds(&handle.snapshot()) {
        assert!(begun.elapsed() < BOUND, "{what}: {:?}", handle.snapshot());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Nobody ends, nobody else comes: only the rate's own time can hand the second one out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_the_rate_alone_is_handed_out_in_its_time() {
    let mut config = Config::default();
    config.accept_rate = Some(Rate::per_second(2));
    config.max_wait = Duration::from_secs(60);
    config.order = Order::Fifo;
    let (listener, address) = listen();
    let server =
        Server::builder().config(config).serve(listener, service_fn(hello)).start().expect("it starts");
    let mut first = TcpStream::connect(address).await.expect("it listens");
    let mut bytes = [0; 5];
    first.read_exact(&mut bytes).await.expect("it is served");
    let mut second = TcpStream::connect(address).await.expect("it listens");
    let read = tokio::time::timeout(BOUND, second.read_exact(&mut bytes)).await;
    assert!(read.is_ok(), "500 ms were to pass, and 10 s have: {:?}", server.handle().snapshot());
}

/// Who was watched as a waiting one is registered already; its farewell is to notice its close all the same.
#[cfg(all(target_os = "linux", not(anteroom_portable)))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_waited_and_reads_its_reply_leaves_the_farewell_when_it_closes() {
    let mut config = Config::default();
    config.max_connections = Some(1);
    config.max_waiting = 1;
    config.order = Order::Fifo;
    config.share = Share::unlimited();
    config.refusal = Refusal::Reply(Reply::new("BUSY"));
    config.farewell.within = Duration::from_secs(600);
    let (listener, address) = listen();
    let server =
        Server::builder().config(config).serve(listener, service_fn(hello)).start().expect("it starts");
    let handle = server.handle();
    let _served = TcpStream::connect(address).await.expect("it listens");
    until("one is served", &handle, |now| now.open == 1).await;
    let mut waits = TcpStream::connect(address).await.expect("it listens");
    waits.write_all(b"please").await.expect("it is open");
    until("one waits, and is watched", &handle, |now| {
        now.oldest_wait.is_some_and(|wait| wait > Duration::from_millis(300))
    })
    .await;
    let _newer = TcpStream::connect(address).await.expect("it listens");
    let mut reply = Vec::new();
    waits.read_to_end(&mut reply).await.expect("the reply is whole");
    assert_eq!(reply, b"BUSY");
    drop(waits);
    until("the farewell is over", &handle, |now| now.farewells == 0).await;
}

/// "For ever" is not "at once".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_farewell_that_may_take_for_ever_takes_its_time() {
    let mut config = Config::default();
    config.max_connections = Some(1);
    config.max_waiting = 0;
    config.refusal = Refusal::Reply(Reply::new("BUSY"));
    config.farewell.within = Duration::MAX;
    let (listener, address) = listen();
    let server =
        Server::builder().config(config).serve(listener, service_fn(hello)).start().expect("it starts");
    let handle = server.handle();
    let _served = TcpStream::connect(address).await.expect("it listens");
    until("one is served", &handle, |now| now.open == 1).await;
    let mut refused = TcpStream::connect(address).await.expect("it listens");
    let mut reply = Vec::new();
    refused.read_to_end(&mut reply).await.expect("the reply is whole");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(handle.snapshot().farewells, 1, "it has not closed yet");
}

/// A client that thinks for a while, then sends its request and half-closes, has not left.
#[cfg(all(target_os = "linux", not(anteroom_portable)))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_silent_for_longer_than_the_patience_and_then_asks_is_served() {
    let mut config = Config::default();
    config.first_byte = Some(FirstByte::within(Duration::from_secs(30)));
    let mut incoming = Incoming::builder().config(config).listen(listen().0).start().expect("it starts");
    let address = incoming.local_addr().tcp().expect("it is TCP");
    let handle = incoming.handle();
    let mut client = TcpStream::connect(address).await.expect("it listens");
    until("it is silent for longer than a second", &handle, |now| {
        now.oldest_wait.is_some_and(|wait| wait > Duration::from_millis(1_200))
    })
    .await;
    client.write_all(b"please").await.expect("it is open");
    client.shutdown().await.expect("it is open");
    let served = tokio::time::timeout(Duration::from_secs(2), incoming.accept()).await;
    assert!(served.is_ok(), "{}", handle.snapshot().report);
}
