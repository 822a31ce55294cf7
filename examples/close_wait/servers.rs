//! The four servers. Each runs in a process of its own; all have the same handlers.
//!
//! Owns: the accept path of each, the counting in the handlers, and the answers to the stage.
//! Never: a special case for any of them outside the accept path.

use crate::{
    calls::{CALLS, Counts},
    plan::{Kind, WORKERS},
    queue::{self, Queue},
};
use anteroom_load::process::{ParentGone, answer_parent};
use axum::{
    Router,
    extract::{ConnectInfo, connect_info::Connected},
    routing::get,
    serve::{IncomingStream, Listener},
};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    runtime::{Handle, Runtime},
};

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    PlainTokio,
    PlainAxum,
}

/// What the clients say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Raw,
    Http,
}

impl Server {
    pub(crate) const ALL: &[Self] = &[Self::PlainTokio, Self::PlainAxum];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PlainTokio => "tokio loop",
            Self::PlainAxum => "axum::serve",
        }
    }

    /// What happens to a connection whose client left before it was accepted.
    pub(crate) fn policy(self) -> &'static str {
        match self {
            Self::PlainTokio | Self::PlainAxum => "none",
        }
    }

    pub(crate) fn speaks(self) -> Speaks {
        match self {
            Self::PlainTokio => Speaks::Raw,
            Self::PlainAxum => Speaks::Http,
        }
    }

    /// The plain loops are expected to fail.
    pub(crate) fn guards(self) -> Guards {
        match self {
            Self::PlainTokio | Self::PlainAxum => Guards::Nothing,
        }
    }
}

/// What is expected of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guards {
    Nothing,
    Queue,
}

/// Serves as `name` until the parent ends.
pub(crate) fn serve(name: &str) -> io::Result<()> {
    let server = Server::ALL.iter().copied().find(|server| server.name() == name);
    let server = server.ok_or_else(|| io::Error::other(format!("no server {name:?}")))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let served = runtime.block_on(async {
        match server {
            Server::PlainTokio => plain_tokio().await,
            Server::PlainAxum => plain_axum().await,
        }
    });
    shut_down(runtime);
    served
}

/// Handlers may still block: they are not waited for.
fn shut_down(runtime: Runtime) {
    runtime.shutdown_timeout(Duration::ZERO);
}

async fn plain_tokio() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let parent_gone = answer(listener.local_addr()?)?;
    let accept = async {
        loop {
            let (stream, peer) = listener.accept().await?;
            #[expect(clippy::disallowed_methods, reason = "this is the loop that is shown to fail")]
            tokio::spawn(echo(stream, Kind::of_source(peer.ip())));
        }
    };
    until(parent_gone, accept).await
}

async fn plain_axum() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let parent_gone = answer(listener.local_addr()?)?;
    until(parent_gone, axum::serve(Shown(listener), router())).await
}

async fn until(parent_gone: ParentGone, serve: impl IntoFuture<Output = io::Result<()>>) -> io::Result<()> {
    tokio::select! {
        ended = serve.into_future() => ended,
        _ = parent_gone => Ok(()),
    }
}

/// The raw handler: one byte there, the same byte back.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin, kind: Option<Kind>) -> io::Result<()> {
    let Some(kind) = kind else { return Ok(()) };
    CALLS.connection(kind);
    let mut byte = [0];
    stream.read_exact(&mut byte).await?;
    CALLS.request(kind);
    stream.write_all(&byte).await
}

type Make = axum::extract::connect_info::IntoMakeServiceWithConnectInfo<Router, Tag>;

/// The HTTP handler. What axum does for each connection before any request is the connection's handler here.
fn router() -> Make {
    let root = get(|ConnectInfo(Tag(kind)): ConnectInfo<Tag>| async move {
        if let Some(kind) = kind {
            CALLS.request(kind);
        }
        "ok"
    });
    Router::new().route("/", root).into_make_service_with_connect_info::<Tag>()
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug)]
struct Tag(Option<Kind>);

/// Any listener, unchanged. `Tag` cannot be implemented for all listeners, but for all that are in here.
struct Shown<L>(L);

impl<L: Listener> Listener for Shown<L> {
    type Io = L::Io;
    type Addr = L::Addr;

    fn accept(&mut self) -> impl Future<Output = (Self::Io, Self::Addr)> + Send {
        self.0.accept()
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

impl<L: Listener<Addr = SocketAddr>> Connected<IncomingStream<'_, Shown<L>>> for Tag {
    fn connect_info(stream: IncomingStream<'_, Shown<L>>) -> Self {
        let kind = Kind::of_source(stream.remote_addr().ip());
        if let Some(kind) = kind {
            CALLS.connection(kind);
        }
        Self(kind)
    }
}

/// Answers the stage from a thread of its own. `kick` wakes an idle worker from outside: without it, the first
/// blocked worker may be the one that polls for I/O, and then nobody would bring the second blocker its request.
fn answer(address: SocketAddr) -> io::Result<ParentGone> {
    let runtime = Handle::current();
    answer_parent(address, move |question| {
        if question == "kick" {
            runtime.spawn(async {});
        }
        to_line(CALLS.report(), queue::of_port(address.port()))
    })
}

fn to_line(counts: Counts, queue: Queue) -> String {
    let queue = [queue.depth, queue.limit, queue.drops].map(|figure| match figure {
        Some(figure) => figure.to_string(),
        None => "-".into(),
    });
    let counts: Vec<_> = counts.to_numbers().map(|number| number.to_string()).collect();
    format!("{} {}", queue.join(" "), counts.join(" "))
}

/// The other end of the line: what [`serve`]'s answers mean.
pub(crate) fn from_line(line: &str) -> io::Result<(Counts, Queue)> {
    let mut fields = line.split(' ');
    let mut figure = || fields.next().and_then(|field| field.parse().ok());
    let queue = Queue { depth: figure(), limit: figure(), drops: figure() };
    let counts = Counts::from_numbers(fields.map_while(|field| field.parse().ok()));
    counts.map(|counts| (counts, queue)).ok_or_else(|| io::Error::other(format!("not a report: {line:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_does_not_tell_stays_untold() {
        let queue = Queue { depth: Some(3), limit: None, drops: Some(0) };
        let line = to_line(Counts::default(), queue);
        assert_eq!(from_line(&line).unwrap(), (Counts::default(), queue));
        assert!(from_line("3 4 5 6").is_err());
    }
}
