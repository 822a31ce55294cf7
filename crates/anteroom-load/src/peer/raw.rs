//! Servers of the raw protocol: one byte there, the same byte back, done.
//!
//! Owns: the handler that all of them share.
//! Never: HTTP.

use super::{Serving, serving::current_thread};
use crate::process::answer_parent;
use anteroom::{Config, Connection, Incoming, Listener, Server, service_fn};
use std::{io, net::SocketAddr, num::NonZeroUsize};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
    runtime::Runtime,
    sync::mpsc,
};

/// What `tokio::net::TcpListener::bind` asks for, for those who bring no number of their own.
const BACKLOG: u32 = 1_024;

/// The handler.
pub(super) async fn echo_one_byte(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut byte = [0];
    stream.read_exact(&mut byte).await?;
    stream.write_all(&byte).await
}

/// The loop that everybody writes.
pub(super) fn tokio_loop(runtime: &Runtime) -> io::Result<()> {
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let parent_gone = answer_parent(listener.local_addr()?, |_| String::new())?;
        tokio::select! {
            ended = accept_for_ever(listener) => ended,
            _ = parent_gone => Ok(()),
        }
    })
}

/// The same loop in a task: it runs on a worker, and so does what it spawns.
pub(super) fn tokio_loop_spawned(runtime: &Runtime) -> io::Result<()> {
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let parent_gone = answer_parent(listener.local_addr()?, |_| String::new())?;
        #[expect(clippy::disallowed_methods, reason = "this is the loop that Anteroom replaces")]
        let accepting = tokio::spawn(accept_for_ever(listener));
        tokio::select! {
            ended = accepting => ended?,
            _ = parent_gone => Ok(()),
        }
    })
}

/// The same loop for each shard, on a thread of its own; the kernel spreads the connections over the listeners.
pub(super) fn tokio_reuseport(serving: &Serving) -> io::Result<()> {
    let (ended, mut first_end) = mpsc::channel(1);
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    for _ in 0..serving.shards() {
        let (runtime, ended) = (current_thread()?, ended.clone());
        let listener = {
            let _inside = runtime.enter();
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseport(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)?
        };
        address = listener.local_addr()?;
        std::thread::Builder::new().name("shard".into()).spawn(move || {
            let end = runtime.block_on(accept_for_ever(listener));
            // One is enough.
            let _ = ended.blocking_send(end);
        })?;
    }
    current_thread()?.block_on(async {
        let parent_gone = answer_parent(address, |_| String::new())?;
        tokio::select! {
            end = first_end.recv() => end.unwrap_or(Ok(())),
            _ = parent_gone => Ok(()),
        }
    })
}

/// For the servers that do not bind themselves.
pub(super) fn listener() -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    rustix::net::listen(&listener, i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
    Ok(listener)
}

/// Anteroom's addresses can be other than TCP.
pub(super) fn tcp(address: &anteroom::Address) -> io::Result<SocketAddr> {
    address.tcp().ok_or_else(|| io::Error::other("not a TCP address"))
}

async fn accept_for_ever(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        #[expect(clippy::disallowed_methods, reason = "this is the loop that Anteroom replaces")]
        tokio::spawn(echo_one_byte(stream));
    }
}

/// With the settings that the comparison is about; everything else is a default.
pub(super) fn anteroom_server(runtime: &Runtime, config: Config) -> io::Result<()> {
    runtime.block_on(async {
        let listener = Listener::bind("127.0.0.1:0")?;
        let parent_gone = answer_parent(tcp(listener.local_addr())?, |_| String::new())?;
        let service = service_fn(|connection: Connection| echo_one_byte(connection));
        let server = Server::builder().config(config).serve(listener, service).start()?;
        tokio::select! {
            ended = server => Ok(ended.map(drop)?),
            _ = parent_gone => Ok(()),
        }
    })
}

/// The same, each shard on a thread of its own.
pub(super) fn anteroom_sharded(serving: &Serving, shards: usize) -> io::Result<()> {
    let shards = NonZeroUsize::new(shards).unwrap_or(NonZeroUsize::MIN);
    let shards = Listener::builder().bind_group("127.0.0.1:0", shards)?;
    let address = shards.first().map(Listener::local_addr).map(tcp).transpose()?;
    let address = address.ok_or_else(|| io::Error::other("no shard"))?;
    let service = |_| service_fn(|connection: Connection| echo_one_byte(connection));
    let builder = Server::builder().config(serving.config(Config::default()));
    let server = builder.serve_sharded(shards, service).start()?;
    current_thread()?.block_on(async {
        let parent_gone = answer_parent(address, |_| String::new())?;
        tokio::select! {
            ended = server => Ok(ended.map(drop)?),
            _ = parent_gone => Ok(()),
        }
    })
}

/// The plain loop again, with one line changed.
pub(super) fn anteroom_incoming(runtime: &Runtime) -> io::Result<()> {
    runtime.block_on(async {
        let mut incoming = Incoming::bind("127.0.0.1:0")?;
        let parent_gone = answer_parent(tcp(incoming.local_addr())?, |_| String::new())?;
        let accept = async {
            while let Some(connection) = incoming.accept().await? {
                #[expect(clippy::disallowed_methods, reason = "the same loop as the plain one")]
                tokio::spawn(echo_one_byte(connection));
            }
            Ok(())
        };
        tokio::select! {
            ended = accept => ended,
            _ = parent_gone => Ok(()),
        }
    })
}
