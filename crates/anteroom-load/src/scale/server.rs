//! Servers whose connections stay open: the same accept paths as in the comparison, another handler.
//!
//! Owns: the handler, and the one question that these servers are asked: to drain.
//! Never: settings that favour one; HTTP.

use crate::{
    peer::Peer,
    process::{ServerProcess, answer_parent},
};
use anteroom::{AcceptOn, Address, Config, Connection, Handle, Listener, Server, service_fn};
use std::{
    io,
    net::SocketAddr,
    thread::available_parallelism,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    runtime::{Builder, Runtime},
};

const DRAIN: &str = "drain";

/// Answers each byte with itself until the peer has gone.
async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<()> {
    let mut byte = [0];
    while stream.read(&mut byte).await? > 0 {
        stream.write_all(&byte).await?;
    }
    Ok(())
}

/// Serves as `peer` does, but to the end of each connection, until the parent has gone.
///
/// # Errors
///
/// The server cannot start, or there is no such one.
pub fn keep_serving(peer: Peer) -> io::Result<()> {
    let mut config = Config::default();
    match peer.name() {
        "tokio" => return tokio_loop(&Builder::new_multi_thread().enable_all().build()?),
        "tokio-current" => return tokio_loop(&Builder::new_current_thread().enable_all().build()?),
        "anteroom-sharded" => return sharded(),
        "anteroom" => {}
        "anteroom-task" => config.accept_on = AcceptOn::Task,
        "anteroom-thread" => config.accept_on = AcceptOn::Thread,
        "anteroom-unwatched" => config.stall_watch = None,
        other => return Err(io::Error::other(format!("{other} cannot keep connections open here"))),
    }
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let listener = Listener::bind("127.0.0.1:0")?;
    let address = tcp(listener.local_addr())?;
    let server = Server::builder().config(config).serve(listener, service_fn(echo::<Connection>)).start()?;
    until_parent_gone(&runtime, server, address)
}

fn sharded() -> io::Result<()> {
    let shards = Listener::builder().bind_group("127.0.0.1:0", available_parallelism()?)?;
    let address = shards.first().ok_or_else(|| io::Error::other("no shard")).map(Listener::local_addr)?;
    let address = tcp(address)?;
    let server = Server::builder().serve_sharded(shards, |_| service_fn(echo::<Connection>)).start()?;
    until_parent_gone(&Builder::new_current_thread().build()?, server, address)
}

fn until_parent_gone(runtime: &Runtime, server: Server, address: SocketAddr) -> io::Result<()> {
    let handle = server.handle();
    let mut parent_gone = answer_parent(address, move |question| match question {
        DRAIN => drain_now(&handle).unwrap_or_else(|error| error.to_string()),
        other => format!("not a question: {other}"),
    })?;
    runtime.block_on(async {
        tokio::select! {
            ended = server => ended.map(drop)?,
            _ = &mut parent_gone => return Ok(()),
        }
        // The answer that it has drained is still to be said.
        let _gone = parent_gone.await;
        Ok(())
    })
}

/// Cuts everybody.
fn drain_now(handle: &Handle) -> io::Result<String> {
    let outside = Builder::new_current_thread().build()?;
    let begun = Instant::now();
    let report = outside.block_on(handle.drain(Duration::ZERO))?;
    Ok(format!("{} {} {}", begun.elapsed().as_nanos(), report.served.cut, report.is_balanced()))
}

/// How a server drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// From the call to the report.
    pub took: Duration,
    /// Connections that were cut.
    pub cut: u64,
    /// Whether its account adds up.
    pub is_balanced: bool,
}

/// Asks a server of Anteroom to drain at once: who is open is cut.
///
/// # Errors
///
/// The server is gone, or cannot drain.
pub fn drain(server: &mut ServerProcess) -> io::Result<Drained> {
    let answer = server.ask(DRAIN)?;
    let mut words = answer.split(' ');
    let drained = (|| {
        let took = Duration::from_nanos(words.next()?.parse().ok()?);
        Some(Drained { took, cut: words.next()?.parse().ok()?, is_balanced: words.next()?.parse().ok()? })
    })();
    drained.ok_or_else(|| io::Error::other(format!("not drained: {answer}")))
}

fn tokio_loop(runtime: &Runtime) -> io::Result<()> {
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let parent_gone = answer_parent(listener.local_addr()?, |_| "a plain loop cannot drain".into())?;
        tokio::select! {
            ended = accept_for_ever(listener) => ended,
            _ = parent_gone => Ok(()),
        }
    })
}

async fn accept_for_ever(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        #[expect(clippy::disallowed_methods, reason = "this is the loop that Anteroom replaces")]
        tokio::spawn(echo(stream));
    }
}

pub(super) fn tcp(address: &Address) -> io::Result<SocketAddr> {
    address.tcp().ok_or_else(|| io::Error::other("not a TCP address"))
}
