//! One lane's dispatcher: when somebody waits, ask the service, then take, then call.
//!
//! Owns the service. Never takes before the service is ready, and never asks a service that has
//! nothing to do: a ready service may hold a permit that others wait for.

use std::error::Error;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};

use tower_service::Service;

use crate::accept::{Attendant, Desk};
use crate::connection::{Connection, Handling, Outlet, Spawn, Task, spawn};
use crate::gate::{CountedBy, Doorstep, Gate, OpenKey};
use crate::lifecycle::{Core, Failure};
use crate::observe::Part;
use crate::stall::{Board, Inside, Work};
use crate::tick::Tick;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// Connections handed out before the dispatcher lets others run.
const AT_ONCE: usize = 64;

pub(super) struct Dispatcher<S, R> {
    core: Arc<Core>,
    lane: usize,
    /// It accepts for itself.
    attendant: Attendant,
    service: S,
    bell: Waker,
    /// Where the handlers run.
    there: R,
    outlet: Arc<Outlet>,
    over: bool,
}

impl<S, R> Dispatcher<S, R> {
    pub(super) fn new(core: Arc<Core>, desk: Arc<Desk>, service: S, there: R, outlet: Arc<Outlet>) -> Self {
        let lane = desk.lane();
        let bell = Waker::from(Arc::new(Bell { gate: Arc::clone(&core.gate), lane }));
        // Within the runtime, whose driver was asked for at the start.
        let mut attendant = Attendant::new(desk);
        attendant.take_up();
        Self { core, lane, attendant, service, bell, there, outlet, over: false }
    }
}

/// Nothing in it is pinned: the service is called through `&mut`.
impl<S, R> Unpin for Dispatcher<S, R> {}

impl<S, R> Future for Dispatcher<S, R>
where
    S: Service<Connection, Response = (), Error: Into<BoxError>>,
    R: Spawn<Task<S::Future>>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let board = this.core.board.clone();
        let mut stamps = board.as_deref().map(|board| Stamps::new(board, this.lane));
        this.serve(&mut stamps, cx)
    }
}

/// The dispatcher on the board: what it calls of the user's code, and since when.
struct Stamps<'a> {
    board: &'a Board,
    lane: usize,
    turn_came: Tick,
    inside: Option<Inside>,
}

impl<'a> Stamps<'a> {
    fn new(board: &'a Board, lane: usize) -> Self {
        Self { board, lane, turn_came: Tick::now(), inside: None }
    }

    /// What went before has come back, and something else begins. When.
    fn rest(&mut self) -> Tick {
        if let Some(inside) = self.inside.take() {
            let (took, now) = inside.leave();
            self.board.count_if_slow(self.lane, took);
            self.turn_came = now;
        }
        self.turn_came
    }

    /// What went before has come back. Asks the clock, once for each connection.
    fn poll_ready(&mut self) {
        let work = Work { part: Part::PollReady, of: self.lane, key: 0, span: 0 };
        match &mut self.inside {
            Some(inside) => self.board.count_if_slow(self.lane, inside.goes_on_with(work)),
            None => self.inside = self.board.enter_at(self.turn_came, work),
        }
    }

    /// It was ready: the call, which counts with it.
    fn call(&mut self, key: OpenKey, span: u64) {
        if let Some(inside) = &mut self.inside {
            inside.is_really(Work { part: Part::Call, of: self.lane, key: key.to_bits(), span });
        }
    }
}

impl Drop for Stamps<'_> {
    fn drop(&mut self) {
        if let Some(inside) = &self.inside {
            self.board.count_if_slow(self.lane, inside.took());
        }
    }
}

impl<S, R> Dispatcher<S, R>
where
    S: Service<Connection, Response = (), Error: Into<BoxError>>,
    R: Spawn<Task<S::Future>>,
{
    fn serve(&mut self, stamps: &mut Option<Stamps<'_>>, cx: &mut Context<'_>) -> Poll<()> {
        let core = Arc::clone(&self.core);
        for _ in 0..AT_ONCE {
            // What comes then is no call of the service.
            let turn_came = stamps.as_ref().map(|stamps| stamps.turn_came);
            let its_turn = || stamps.as_mut().map(Stamps::rest);
            let doorstep = ready!(self.attendant.poll_someone(turn_came, its_turn, cx));
            if let (Some(stamps), Some(turned)) = (stamps.as_mut(), self.attendant.turned()) {
                // Nor was what ran in it.
                stamps.turn_came = turned;
            }
            if doorstep == Doorstep::End {
                self.over = true;
                return Poll::Ready(());
            }
            if let Some(stamps) = stamps {
                stamps.poll_ready();
            }
            let Poll::Ready(ready) = self.poll_service(cx) else {
                // Who comes meanwhile is let in all the same.
                self.attendant.only_let_in(cx);
                return Poll::Pending;
            };
            if let Err(error) = ready {
                self.over = true;
                core.fail(Failure::Service(error));
                core.gate.abandon(self.lane);
                return Poll::Ready(());
            }
            // Who was there may have left meanwhile; the readiness then waits for the next.
            let Some(handed) = core.gate.take(self.lane, CountedBy::Task) else { continue };
            let connection = Connection::hand_over(&self.outlet, handed);
            self.call(connection, stamps);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_service(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Arc<dyn Error + Send + Sync>>> {
        let service = &mut self.service;
        let bell = &self.bell;
        let ask = || service.poll_ready(&mut Context::from_waker(bell)).map_err(Into::<BoxError>::into);
        match catch_unwind(AssertUnwindSafe(ask)) {
            Ok(Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            Ok(Poll::Ready(Err(error))) => Poll::Ready(Err(error.into())),
            Ok(Poll::Pending) => {
                if self.core.gate.poll_ring(self.lane, cx).is_ready() {
                    // It has rung already, perhaps by itself: others are let run before it is asked
                    // again.
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            Err(_) => {
                let error: BoxError = "the service panicked in poll_ready".into();
                Poll::Ready(Err(error.into()))
            }
        }
    }

    fn call(&mut self, connection: Connection, stamps: &mut Option<Stamps<'_>>) {
        let wire = connection.wire();
        let key = connection.key();
        if let Some(stamps) = stamps {
            stamps.call(key, 0);
        }
        // Making its span is user code, too.
        let mut handling = Handling::new(&connection);
        if let (Some(stamps), Some(span)) = (stamps, handling.span_id()) {
            stamps.call(key, span);
        }
        let service = &mut self.service;
        if let Some(future) = handling.contain(|| service.call(connection)) {
            spawn(&self.there, handling, wire, future);
        }
    }
}

impl<S, R> Drop for Dispatcher<S, R> {
    /// Dropped before its end: the runtime is gone.
    fn drop(&mut self) {
        if !self.over {
            self.core.fail(Failure::RuntimeGone);
            self.core.gate.abandon(self.lane);
        }
    }
}

/// What a service wakes when it may be ready. It rings at the acceptor, which wakes the dispatcher
/// from outside the runtime: a worker that woke it directly and then blocked would keep it to itself.
struct Bell {
    gate: Arc<Gate>,
    lane: usize,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.gate.ring(self.lane);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.gate.ring(self.lane);
    }
}
