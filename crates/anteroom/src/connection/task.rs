//! The task of one connection: the handler's future, its span, and its end.
//!
//! Owns the future from `call` to its end, whatever that is: a value, an error, a panic, or being
//! dropped. The end is told to the gate exactly once.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::runtime;
use tokio::task::AbortHandle;
use tracing::{Span, debug, error};

use super::info::Info;
use super::outlet::Outlet;
use crate::gate::{OpenKey, OpenTask, Wire};
use crate::observe::{Ending, Part};
use crate::stall::Work;
use crate::tick::Tick;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a served connection ended, for [`ServerBuilder::on_end`](crate::ServerBuilder::on_end).
#[derive(Debug)]
#[non_exhaustive]
pub enum End {
    /// The service's future returned `Ok`.
    Done,
    /// The service's future returned this error.
    Failed(BoxError),
    /// `call` or the future panicked.
    Panicked,
    /// It was cut at the deadline of a drain, or its runtime was shut down.
    Cut,
}

/// Tells the end of one connection; dropped without having told, it was cut.
#[derive(Debug)]
pub(crate) struct Handling {
    outlet: Arc<Outlet>,
    key: OpenKey,
    /// For the hook that is called at the end, if there is one.
    info: Option<Info>,
    span: Span,
    /// When its end was told.
    told: Option<Tick>,
}

impl Handling {
    pub(crate) fn new(connection: &super::Connection) -> Self {
        let (outlet, key) = (connection.outlet(), connection.key());
        let span = outlet.hooks.span(connection.info());
        Self {
            outlet: Arc::clone(outlet),
            key,
            info: outlet.hooks.on_end.is_some().then(|| connection.info().clone()),
            span,
            told: None,
        }
    }

    /// The id of its span, if anybody listens.
    pub(crate) fn span_id(&self) -> Option<u64> {
        self.span.id().map(|id| id.into_u64())
    }

    /// What is on the board while the handler is polled.
    fn work(&self) -> Work {
        let (key, span) = (self.key.to_bits(), self.span_id().unwrap_or_default());
        Work { part: Part::Handler, of: self.outlet.lane, key, span }
    }

    /// Runs one poll of the handler, for everybody to see which it is and since when.
    fn watched<T>(&mut self, poll: impl FnOnce(&mut Self) -> T) -> T {
        let inside = self.outlet.board.as_ref().and_then(|board| board.enter(self.work()));
        let polled = poll(self);
        if let (Some(inside), Some(board)) = (inside, &self.outlet.board) {
            let now = self.told.unwrap_or_else(Tick::now);
            board.count_if_slow(self.outlet.lane, inside.leave_handler(now));
        }
        polled
    }

    /// Runs user code inside the span; a panic is an end.
    pub(crate) fn contain<T>(&mut self, run: impl FnOnce() -> T) -> Option<T> {
        let result = {
            // Entering one that nobody hears of is not for nothing: with a `log` feature it is told there.
            let _in_span = (!self.span.is_disabled()).then(|| self.span.enter());
            catch_unwind(AssertUnwindSafe(run))
        };
        match result {
            Ok(value) => Some(value),
            Err(panic) => {
                let _in_span = self.span.clone().entered();
                error!(target: "anteroom::panicked", panic = message(&*panic), "the handler panicked");
                self.tell(&End::Panicked);
                None
            }
        }
    }

    fn tell(&mut self, end: &End) {
        if self.told.is_some() {
            return;
        }
        let ending = match end {
            End::Done => Ending::Done,
            End::Failed(_) => Ending::Failed,
            End::Panicked => Ending::Panicked,
            End::Cut => Ending::Cut,
        };
        if let (Some(on_end), Some(info)) = (&self.outlet.hooks.on_end, &self.info) {
            // The hook is user code in somebody's drop: its panic must not become an abort.
            let hook = || on_end(info, end);
            if catch_unwind(AssertUnwindSafe(hook)).is_err() {
                error!(target: "anteroom::panicked", "the hook on_end panicked");
            }
        }
        let now = Tick::now();
        self.told = Some(now);
        self.outlet.gate.task_ended(self.key, ending, now);
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.tell(&End::Cut);
    }
}

pin_project! {
    /// The handler of one connection, until its end is told.
    pub(crate) struct Task<F> {
        // The future goes first, so that its connection is closed before its end is told.
        #[pin]
        future: Option<F>,
        handling: Handling,
    }

    impl<F> PinnedDrop for Task<F> {
        /// Cut: what the future runs in its drop is seen as its polls are.
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let mut future = this.future;
            if future.is_some() {
                this.handling.watched(|_| future.set(None));
            }
        }
    }
}

impl<F, E> Future for Task<F>
where
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let future = this.future;
        this.handling.watched(|handling| run(future, handling, cx))
    }
}

/// One poll of the handler, its end included.
fn run<F, E>(mut future: Pin<&mut Option<F>>, handling: &mut Handling, cx: &mut Context<'_>) -> Poll<()>
where
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    let Some(polled) = future.as_mut().as_pin_mut() else { return Poll::Ready(()) };
    let end = match handling.contain(|| polled.poll(cx).map_err(Into::<BoxError>::into)) {
        Some(Poll::Pending) => return Poll::Pending,
        Some(Poll::Ready(Ok(()))) => Some(End::Done),
        Some(Poll::Ready(Err(error))) => Some(End::Failed(error)),
        None => None,
    };
    // What the future still holds may panic when it is dropped.
    handling.contain(|| future.set(None));
    if let Some(end) = end {
        if let End::Failed(error) = &end {
            // Its words are the user's code.
            handling.contain(|| {
                debug!(target: "anteroom::failed", error = %Chain(&**error), "the connection failed");
            });
        }
        handling.tell(&end);
    }
    Poll::Ready(())
}

/// Where handlers run.
pub(crate) trait Spawn<F> {
    fn spawn(&self, task: F) -> AbortHandle;
}

impl<F: Future<Output: Send> + Send + 'static> Spawn<F> for runtime::Handle {
    fn spawn(&self, task: F) -> AbortHandle {
        self.spawn(task).abort_handle()
    }
}

/// Runs the handler's future there, and lets the gate know how to cut it.
pub(crate) fn spawn<F, E>(there: &impl Spawn<Task<F>>, handling: Handling, wire: Weak<dyn Wire>, future: F)
where
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    let (outlet, key) = (Arc::clone(&handling.outlet), handling.key);
    let span = handling.span.metadata().filter(|_| !handling.span.is_disabled()).map(|span| span.name());
    let abort = there.spawn(Task { future: Some(future), handling });
    outlet.gate.attach(key, wire, Some(OpenTask { abort, span }));
}

/// An error with its sources on one line.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut error = self.0;
        while let Some(source) = error.source() {
            write!(f, ": {source}")?;
            error = source;
        }
        Ok(())
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}
