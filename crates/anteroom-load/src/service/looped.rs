//! The loops in front of the handler.
//!
//! Owns: who accepts, and how the places are bounded.
//! Never: the handler.

use super::{
    handler::Handler,
    setup::{Loop, Setup},
};
use anteroom::{Config, Connection, Handle, Listener, Server, service_fn};
use std::{future::Future, io, net::SocketAddr, pin::Pin, sync::Arc};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
};

/// A loop that runs while `ended` is polled.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) handle: Option<Handle>,
    pub(super) ended: Pin<Box<dyn Future<Output = io::Result<()>>>>,
}

pub(super) fn start(setup: &Setup, handler: &Arc<Handler>) -> io::Result<Running> {
    match &setup.accepted_by {
        Loop::Plain => plain(setup, Arc::clone(handler)),
        Loop::Anteroom(config) => anteroom(setup, Config::clone(config), Arc::clone(handler)),
    }
}

fn plain(setup: &Setup, handler: Arc<Handler>) -> io::Result<Running> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener = socket.listen(setup.backlog)?;
    let address = listener.local_addr()?;
    let places = Arc::new(Semaphore::new(setup.places));
    // In a task of its own, as under `#[tokio::main]` with everything spawned: it needs a worker.
    #[expect(clippy::disallowed_methods, reason = "this is the loop that Anteroom replaces")]
    let loops = tokio::spawn(accept_for_ever(listener, places, handler));
    let ended = Box::pin(async move { loops.await.map_err(io::Error::other)? });
    Ok(Running { address, handle: None, ended })
}

async fn accept_for_ever(
    listener: TcpListener,
    places: Arc<Semaphore>,
    handler: Arc<Handler>,
) -> io::Result<()> {
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, peer) = listener.accept().await?;
        let handler = Arc::clone(&handler);
        #[expect(clippy::disallowed_methods, reason = "this is the loop that Anteroom replaces")]
        tokio::spawn(async move {
            // A client that has left is no error of the loop's.
            let _worked = handler.work(peer, stream).await;
            drop(place);
        });
    }
}

fn anteroom(setup: &Setup, mut config: Config, handler: Arc<Handler>) -> io::Result<Running> {
    config.max_connections = Some(setup.places);
    let listener = Listener::builder().backlog(setup.backlog).bind("127.0.0.1:0")?;
    let address = listener.local_addr().tcp().ok_or_else(|| io::Error::other("not a TCP address"))?;
    let service = service_fn(move |connection: Connection| {
        let handler = Arc::clone(&handler);
        async move {
            let Some(peer) = connection.peer_addr().tcp() else { return Ok(()) };
            handler.work(peer, connection).await
        }
    });
    let server = Server::builder().config(config).serve(listener, service).start()?;
    let handle = Some(server.handle());
    let ended = Box::pin(async move { Ok(server.await.map(drop)?) });
    Ok(Running { address, handle, ended })
}
