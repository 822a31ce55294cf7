//! An accept loop of one's own over `Incoming`, with hyper-util's graceful shutdown.

use std::convert::Infallible;

use anteroom::Incoming;
use hyper::{Request, Response, body::Incoming as Body, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::{conn::auto, graceful::GracefulShutdown};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::{BOUND, read_all, until_queued, within};

async fn hello(_: Request<Body>) -> Result<Response<String>, Infallible> {
    Ok(Response::new("hello".into()))
}

/// What a user writes.
async fn serve(mut incoming: Incoming) -> std::io::Result<()> {
    let handle = incoming.handle();
    let http = auto::Builder::new(TokioExecutor::new());
    let graceful = GracefulShutdown::new();
    while let Some(connection) = incoming.accept().await? {
        let serving = http.serve_connection_with_upgrades(TokioIo::new(connection), service_fn(hello));
        tokio::spawn(graceful.watch(serving.into_owned()));
    }
    // The end of the queue is not yet the time to stop: the last ones have not been read from.
    handle.exhausted().await;
    graceful.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_who_was_queued_is_answered_and_the_loop_ends() {
    const READY: u32 = 1_000;
    let incoming = Incoming::builder()
        .config(anteroom_http::config())
        .listen(anteroom::Listener::bind("127.0.0.1:0").expect("a free port"))
        .start()
        .expect("it starts");
    let (handle, address) = (incoming.handle(), incoming.local_addr().tcp().expect("it is tcp"));
    let serving = tokio::spawn(serve(incoming));
    let mut served = TcpStream::connect(address).await.expect("it listens");
    served.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("it reads");
    assert!(read_all(&mut served).await.ends_with("hello"));
    handle.pause();
    let mut clients = Vec::new();
    for _ in 0..READY {
        let mut client = TcpStream::connect(address).await.expect("it listens");
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it reads");
        clients.push(client);
    }
    until_queued(&handle, READY).await;
    let stopped = handle.drain(BOUND);
    for client in &mut clients {
        let answer = read_all(client).await;
        assert!(answer.ends_with("hello"), "{answer}");
    }
    within(serving).await.expect("no panic").expect("the loop ends well");
    let report = within(stopped).await.expect("a drain is no error");
    assert_eq!(report.served.done, u64::from(READY) + 1, "{report}");
}
