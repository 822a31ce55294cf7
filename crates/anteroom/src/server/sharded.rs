//! Shards: threads that accept and serve by themselves, each with a runtime, a listener and a lane of its own.
//!
//! Owns the threads until their server has stopped. Never takes anything from one shard to another: that is the
//! acceptor's, when one is stuck.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::runtime::LocalRuntime;
use tokio::task::{AbortHandle, spawn_local};
use tower_service::Service;

use super::builder::StartLane;
use super::dispatcher::{BoxError, Dispatcher};
use crate::accept::Desk;
use crate::connection::{Connection, Outlet, Spawn};
use crate::lifecycle::{Core, StartError, Stopped};

/// Spawns on the runtime of the shard that is current.
#[derive(Clone, Copy, Debug)]
struct Here;

impl<F: Future + 'static> Spawn<F> for Here {
    fn spawn(&self, task: F) -> AbortHandle {
        spawn_local(task).abort_handle()
    }
}

/// What a shard is given when its server starts.
struct Duty {
    core: Arc<Core>,
    desk: Arc<Desk>,
    outlet: Arc<Outlet>,
}

/// A shard's thread, which has its service and waits for its duty.
struct Shard {
    ready: mpsc::Receiver<Result<(), StartError>>,
    duty: mpsc::SyncSender<Duty>,
}

/// One thread for each shard. All have their service, or none is left.
///
/// # Errors
/// There are none, a thread or a runtime cannot be had, or `make` panicked.
pub(super) fn recruit<S, M>(shards: usize, make: M) -> Result<Vec<StartLane>, StartError>
where
    M: Fn(usize) -> S + Send + Sync + 'static,
    S: Service<Connection, Response = (), Error: Into<BoxError>, Future: 'static> + 'static,
{
    if shards == 0 {
        return Err(StartError::NothingToServe);
    }
    let make = Arc::new(make);
    let shards: Vec<_> =
        (0..shards).map(|number| Shard::recruit(number, Arc::clone(&make))).collect::<Result<_, _>>()?;
    // They get ready at the same time.
    shards.into_iter().map(Shard::when_ready).collect()
}

impl Shard {
    fn recruit<S, M>(number: usize, make: Arc<M>) -> Result<Self, StartError>
    where
        M: Fn(usize) -> S + Send + Sync + 'static,
        S: Service<Connection, Response = (), Error: Into<BoxError>, Future: 'static> + 'static,
    {
        let (is_ready, ready) = mpsc::sync_channel(1);
        let (duty, on_duty) = mpsc::sync_channel(1);
        let serve = move || match get_ready(number, &*make) {
            Ok((runtime, service)) => {
                drop(make);
                let _nobody_waits_any_more = is_ready.send(Ok(()));
                // The start may have failed meanwhile.
                if let Ok(duty) = on_duty.recv() {
                    run(&runtime, service, duty);
                }
            }
            Err(error) => {
                let _nobody_waits_any_more = is_ready.send(Err(error));
            }
        };
        let thread = thread::Builder::new().name(format!("anteroom-shard-{number}")).spawn(serve);
        thread.map_err(|source| StartError::Resources { what: "a shard's thread", source })?;
        Ok(Self { ready, duty })
    }

    fn when_ready(self) -> Result<StartLane, StartError> {
        let Self { ready, duty } = self;
        let gone = || StartError::Resources { what: "a shard", source: io::ErrorKind::BrokenPipe.into() };
        ready.recv().map_err(|_| gone())??;
        Ok(Box::new(move |core, desk, outlet| {
            // Its thread has said that it is ready, and waits for nothing else.
            let _it_waits = duty.send(Duty { core, desk, outlet });
        }))
    }
}

/// On the shard's thread, inside its runtime: what `make` makes need not be sent anywhere.
fn get_ready<S>(number: usize, make: impl Fn(usize) -> S) -> Result<(LocalRuntime, S), StartError> {
    let runtime =
        LocalRuntime::new().map_err(|source| StartError::Resources { what: "a shard's runtime", source })?;
    let made = {
        let _inside = runtime.enter();
        catch_unwind(AssertUnwindSafe(|| make(number)))
    };
    match made {
        Ok(service) => Ok((runtime, service)),
        Err(_) => Err(StartError::ShardPanicked { shard: number }),
    }
}

/// Serves until the whole server has stopped.
fn run<S>(runtime: &LocalRuntime, service: S, duty: Duty)
where
    S: Service<Connection, Response = (), Error: Into<BoxError>, Future: 'static> + 'static,
{
    let Duty { core, desk, outlet } = duty;
    let stopped = Stopped::new(Arc::clone(&core.life));
    runtime.block_on(async move {
        // A task of its own: to wake the future that is blocked on takes a system call.
        let dispatcher = spawn_local(Dispatcher::new(core, desk, service, Here, outlet));
        let _how_is_told_elsewhere = stopped.await;
        drop(dispatcher);
    });
}
