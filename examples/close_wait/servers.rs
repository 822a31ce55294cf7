//! The four servers. Each runs in a process of its own; all have the same handlers.
//!
//! Owns: the accept path of each, the counting in the handlers, and the answers to the stage.
//! Never: a special case for any of them outside the accept path.

use crate::{
    calls::{CALLS, Counts},
    plan::{Kind, WORKERS},
    queue::{Gauge, Queue},
};
use anteroom::{Connection, Incoming, service_fn};
use anteroom_http::HttpListener;
use anteroom_load::process::{ParentGone, answer_parent};
use axum::{
    Router,
    extract::{ConnectInfo, connect_info::Connected},
    routing::get,
    serve::{IncomingStream, Listener},
};
use std::{io, net::SocketAddr, os::fd::AsFd, time::Duration};
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
    AnteroomRaw,
    AnteroomHttp,
}

/// What the clients say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Raw,
    Http,
}

impl Server {
    pub(crate) const ALL: &[Self] =
        &[Self::PlainTokio, Self::PlainAxum, Self::AnteroomRaw, Self::AnteroomHttp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PlainTokio => "tokio loop",
            Self::PlainAxum => "axum::serve",
            Self::AnteroomRaw => "Anteroom",
            Self::AnteroomHttp => "Anteroom + axum",
        }
    }

    /// What happens to a connection whose client left before it was accepted.
    pub(crate) fn policy(self) -> &'static str {
        match self {
            Self::PlainTokio | Self::PlainAxum => "none",
            Self::AnteroomRaw => "patience 1 s",
            Self::AnteroomHttp => "gone",
        }
    }

    pub(crate) fn speaks(self) -> Speaks {
        match self {
            Self::PlainTokio | Self::AnteroomRaw => Speaks::Raw,
            Self::PlainAxum | Self::AnteroomHttp => Speaks::Http,
        }
    }

    /// The plain loops are expected to fail.
    pub(crate) fn guards(self) -> Guards {
        match self {
            Self::PlainTokio | Self::PlainAxum => Guards::Nothing,
            Self::AnteroomRaw | Self::AnteroomHttp => Guards::Queue,
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
            Server::AnteroomRaw => anteroom_raw().await,
            Server::AnteroomHttp => anteroom_http().await,
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
    let parent_gone = answer(listener.local_addr()?, Gauge::on(&listener)?, None)?;
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
    let parent_gone = answer(listener.local_addr()?, Gauge::on(&listener)?, None)?;
    until(parent_gone, axum::serve(Shown(listener), router())).await
}

async fn anteroom_raw() -> io::Result<()> {
    let listener = anteroom::Listener::bind("127.0.0.1:0")?;
    let (address, gauge) = (tcp(listener.local_addr())?, Gauge::on(&listener)?);
    let service = service_fn(|connection: Connection| {
        let kind = connection.peer_addr().ip().and_then(Kind::of_source);
        echo(connection, kind)
    });
    let server = anteroom::Server::builder().serve(listener, service).start()?;
    let parent_gone = answer(address, gauge, Some(server.handle()))?;
    until(parent_gone, async { Ok(server.await.map(drop)?) }).await
}

/// What `anteroom_http::bind` does, in steps, because the gauge wants a look at the listener first.
async fn anteroom_http() -> io::Result<()> {
    let listener = anteroom::Listener::bind("127.0.0.1:0")?;
    let (address, gauge) = (tcp(listener.local_addr())?, Gauge::on(&listener)?);
    let incoming = Incoming::builder().config(anteroom_http::config()).listen(listener).start()?;
    let listener = HttpListener::new(incoming)?;
    let parent_gone = answer(address, gauge, Some(listener.handle()))?;
    until(parent_gone, axum::serve(Shown(listener), router())).await
}

fn tcp(address: &anteroom::Address) -> io::Result<SocketAddr> {
    address.tcp().ok_or_else(|| io::Error::other("not a TCP address"))
}

async fn until(parent_gone: ParentGone, serve: impl IntoFuture<Output = io::Result<()>>) -> io::Result<()> {
    tokio::select! {
        ended = serve.into_future() => ended,
        _ = parent_gone => Ok(()),
    }
}

/// The raw handler: one byte there, the same byte back.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + AsFd + Unpin, kind: Option<Kind>) -> io::Result<()> {
    let Some(kind) = kind else { return Ok(()) };
    CALLS.connection(kind, &stream);
    let mut byte = [0];
    stream.read_exact(&mut byte).await?;
    CALLS.request(kind);
    stream.write_all(&byte).await
}

type Make = axum::extract::connect_info::IntoMakeServiceWithConnectInfo<Router, Tag>;

/// The HTTP handler. Axum asks for `ConnectInfo` once for each connection, before any
/// request: that is the connection's handler here.
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

impl<L: Listener<Addr = SocketAddr, Io: AsFd>> Connected<IncomingStream<'_, Shown<L>>> for Tag {
    fn connect_info(stream: IncomingStream<'_, Shown<L>>) -> Self {
        let kind = Kind::of_source(stream.remote_addr().ip());
        if let Some(kind) = kind {
            CALLS.connection(kind, stream.io());
        }
        Self(kind)
    }
}

/// Answers the stage from a thread of its own. `kick` wakes an idle worker from outside: without it, the first
/// blocked worker may be the one that polls for I/O, and then nobody would bring the second blocker its request.
fn answer(address: SocketAddr, gauge: Gauge, anteroom: Option<anteroom::Handle>) -> io::Result<ParentGone> {
    let runtime = Handle::current();
    answer_parent(address, move |question| {
        if question == "kick" {
            runtime.spawn(async {});
        }
        Report { counts: CALLS.report(), queue: gauge.read(), kept: anteroom.as_ref().map(kept) }.to_line()
    })
}

/// Anteroom's own account of those that it kept from the handlers, in the order of `Kind::LEAVE`.
fn kept(anteroom: &anteroom::Handle) -> [u64; 3] {
    let report = anteroom.snapshot().report;
    let (queue, room) = (report.dead_on_arrival.in_queue, report.dead_on_arrival.in_room);
    [
        queue.silent + room.silent,
        queue.reset + room.reset,
        queue.gone + room.gone + report.refused.probably_left,
    ]
}

/// What a server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) counts: Counts,
    pub(crate) queue: Queue,
    pub(crate) kept: Option<[u64; 3]>,
}

impl Report {
    /// Numbers in one line; `-` for what is not known.
    fn to_line(self) -> String {
        let kept = self.kept.map_or([None; 3], |kept| kept.map(Some));
        let unsure = [self.queue.depth, self.queue.limit, self.queue.drops].into_iter().chain(kept);
        let numbers = unsure.chain(self.counts.to_numbers().map(Some));
        let words: Vec<_> =
            numbers.map(|number| number.map_or_else(|| "-".into(), |number| number.to_string())).collect();
        words.join(" ")
    }

    /// The other end of the line.
    pub(crate) fn from_line(line: &str) -> io::Result<Self> {
        let mut fields = line.split(' ');
        let mut figure = || fields.next().and_then(|field| field.parse().ok());
        let queue = Queue { depth: figure(), limit: figure(), drops: figure() };
        let kept = [figure(), figure(), figure()];
        let kept = if let [Some(silent), Some(reset), Some(sent)] = kept {
            Some([silent, reset, sent])
        } else {
            None
        };
        let counts = Counts::from_numbers(fields.map_while(|field| field.parse().ok()));
        counts
            .map(|counts| Self { counts, queue, kept })
            .ok_or_else(|| io::Error::other(format!("not a report: {line:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_stays_unknown() {
        let queue = Queue { depth: Some(3), limit: None, drops: Some(0) };
        for kept in [None, Some([1, 2, 3])] {
            let report = Report { counts: Counts::default(), queue, kept };
            assert_eq!(Report::from_line(&report.to_line()).unwrap(), report);
        }
        assert!(Report::from_line("3 4 5 6 7 8 9").is_err());
    }
}
