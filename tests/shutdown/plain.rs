//! Rounds of `axum::serve` on tokio's listener, with its graceful shutdown.
//!
//! Owns the server of each round and the thread it runs on. Its clients and their pace are those of the drain,
//! and it is told at the same moment.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anteroom_tests::shutdown::{Crowd, Dialect, Tally, Target};
use anteroom_tests::waiting::becomes;
use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use futures_core::Stream;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Interval, interval};

use crate::{
    IN_FLIGHT, PER_SECOND, QUEUED, SILENT, WAITING, come_in_flight, come_into_queue, come_until_refused,
};

const DIALECT: Dialect = Dialect {
    quick: b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n",
    in_two: [b"POST /in_two HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", b"2"],
    endless: b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n",
};

const BACKLOG: u32 = 4_096;

/// Between two pieces of the endless answer.
const PIECE: Duration = Duration::from_millis(50);

/// Runs so many. A round waits for its slow clients while the next ones begin.
pub(crate) fn rounds(rounds: usize) -> Tally {
    let clients = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let ended = clients.block_on(async {
        let mut tails = JoinSet::new();
        for _ in 0..rounds {
            round(&mut tails).await;
        }
        tails.join_all().await
    });
    let mut all = Tally::default();
    for tally in &ended {
        all += tally;
    }
    all
}

async fn round(tails: &mut JoinSet<Tally>) {
    let server = Plain::start();
    let mut crowd = Crowd::new(vec![Target::Tcp(server.address)], DIALECT, PER_SECOND);
    come_in_flight(&mut crowd);
    let in_flight = IN_FLIGHT as usize + 1;
    becomes("those in flight are served", || server.calls.load(Ordering::Acquire) == in_flight).await;
    let busy = server.keep_busy();
    // It has no room: those who would wait in one are queued like the others.
    come_into_queue(&mut crowd, QUEUED + WAITING).await;

    server.stop.send(()).expect("it runs");
    drop(busy);
    crowd.give_cue();
    come_until_refused(&mut crowd).await;
    let slow = 1 + SILENT.len() as u64;
    becomes("only the slow and the endless answer are left", || crowd.present() <= slow).await;
    tails.spawn(async move {
        becomes("only the endless answer is left", || crowd.present() == 1).await;
        drop(server.over);
        crowd.end().await
    });
}

/// The server, on a thread of its own.
struct Plain {
    address: SocketAddr,
    /// Requests whose head it has read.
    calls: Arc<AtomicUsize>,
    /// The signal of `with_graceful_shutdown`.
    stop: oneshot::Sender<()>,
    /// Dropped, it ends at once, whatever is open.
    over: oneshot::Sender<()>,
    runtime: runtime::Handle,
}

impl Plain {
    fn start() -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let app = app(&calls);
        let (stop, stopped) = oneshot::channel();
        let (over, is_over) = oneshot::channel::<()>();
        let (tell, told) = sync_channel(1);
        std::thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let on = runtime.handle().clone();
            runtime.block_on(async move {
                let listener = listen().expect("a free port");
                tell.send((listener.local_addr().expect("its address"), on)).expect("somebody waits");
                let signal = async { _ = stopped.await };
                let server = axum::serve(listener, app).with_graceful_shutdown(signal);
                tokio::select! {
                    _ = server.into_future() => {}
                    _ = is_over => {}
                }
            });
        });
        let (address, runtime) = told.recv().expect("it listens");
        Self { address, calls, stop, over, runtime }
    }

    /// A handler keeps the runtime's one worker to itself until the result is dropped.
    fn keep_busy(&self) -> SyncSender<()> {
        let (release, released) = sync_channel(0);
        let (tell, told) = sync_channel(0);
        self.runtime.spawn(async move { block(&tell, &released) });
        told.recv().expect("it has begun");
        release
    }
}

/// With a queue as deep as that of the others; `TcpListener::bind` gives it a much smaller one.
fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(BACKLOG)
}

fn block(tell: &SyncSender<()>, released: &Receiver<()>) {
    tell.send(()).expect("somebody waits");
    // Nothing is ever sent: this is the drop of the other end.
    _ = released.recv();
}

fn app(calls: &Arc<AtomicUsize>) -> Router {
    let counted = |calls: &Arc<AtomicUsize>| {
        let calls = Arc::clone(calls);
        move || calls.fetch_add(1, Ordering::AcqRel)
    };
    let (quick, in_two, endless) = (counted(calls), counted(calls), counted(calls));
    Router::new()
        .route(
            "/quick",
            get(async move || {
                quick();
                "a"
            }),
        )
        .route(
            "/in_two",
            post(async move |body: Body| {
                in_two();
                axum::body::to_bytes(body, 1).await.map_or("", |_| "a")
            }),
        )
        .route(
            "/endless",
            get(async move || {
                endless();
                Body::from_stream(Pieces(interval(PIECE)))
            }),
        )
}

/// The endless answer.
struct Pieces(Interval);

impl Stream for Pieces {
    type Item = Result<&'static str, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(self.0.poll_tick(cx));
        Poll::Ready(Some(Ok(".")))
    }
}
