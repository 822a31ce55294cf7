//! SIGTERM, SIGINT and SIGHUP for a server.
//!
//! Owns a thread that waits for signals: it works while every worker of the runtime is blocked. Never
//! decides how a server stops; it calls the [`Handle`] as anybody may.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator;
use signal_hook::{flag, low_level};

use crate::lifecycle::Handle;
use crate::observe::Phase;

/// Stops a server when the process is told to.
///
/// The first SIGTERM or SIGINT is [`Handle::shut_down`], the second [`Handle::cut_short`], each further
/// one [`Handle::stop_now`]. Once the server has stopped, and after this was dropped, they do again what
/// they do by default: they end the process.
///
/// It is the process's: install one. Handlers that others have registered with `signal-hook` or tokio
/// are called as well.
///
/// # Examples
/// ```no_run
/// # use anteroom::{Connection, Listener, Server, service_fn};
/// # #[tokio::main]
/// # async fn main() -> std::io::Result<()> {
/// let server = Server::builder()
///     .serve(Listener::bind("0.0.0.0:8000")?, service_fn(|_: Connection| async { std::io::Result::Ok(()) }))
///     .start()?;
/// let _signals = anteroom::Signals::install(&server.handle())?;
/// println!("{}", server.await?);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropped, signals end the process again"]
pub struct Signals {
    registered: iterator::Handle,
    by_default: Arc<AtomicBool>,
}

impl Signals {
    /// Stops the server at SIGTERM and SIGINT. SIGHUP keeps its default, which is to end the process.
    ///
    /// # Errors
    /// A thread or a descriptor cannot be had.
    pub fn install(handle: &Handle) -> io::Result<Self> {
        Self::start(handle, &[SIGTERM, SIGINT], |_: &Handle| {})
    }

    /// As [`install`](Self::install), and calls `on_hangup` at SIGHUP: to read settings anew
    /// ([`Handle::reconfigure`]), or to start the successor. It runs on this thread, so that the next
    /// signal waits for it.
    ///
    /// # Errors
    /// As [`install`](Self::install).
    pub fn install_with(
        handle: &Handle,
        on_hangup: impl FnMut(&Handle) + Send + 'static,
    ) -> io::Result<Self> {
        Self::start(handle, &[SIGTERM, SIGINT, SIGHUP], on_hangup)
    }

    fn start(
        handle: &Handle,
        signals: &[i32],
        mut on_hangup: impl FnMut(&Handle) + Send + 'static,
    ) -> io::Result<Self> {
        let mut heard = iterator::Signals::new(signals)?;
        let registered = heard.handle();
        let by_default = Arc::new(AtomicBool::new(false));
        let this = Self { registered, by_default };
        for &signal in signals {
            flag::register_conditional_default(signal, Arc::clone(&this.by_default))?;
        }
        let handle = handle.clone();
        let listen = move || {
            let mut told_to_stop = 0;
            for signal in heard.forever() {
                match signal {
                    SIGHUP => on_hangup(&handle),
                    signal if handle.phase() == Phase::Stopped => {
                        // It ends the process; where it cannot, there is nobody left to tell.
                        let _ended = low_level::emulate_default_handler(signal);
                    }
                    _ => {
                        told_to_stop += 1;
                        stop(&handle, told_to_stop);
                    }
                }
            }
        };
        std::thread::Builder::new().name("anteroom-signals".into()).spawn(listen)?;
        Ok(this)
    }
}

fn stop(handle: &Handle, told: u32) {
    match told {
        1 => drop(handle.shut_down()),
        2 => handle.cut_short(),
        _ => drop(handle.stop_now()),
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.by_default.store(true, Ordering::Release);
        self.registered.close();
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").finish_non_exhaustive()
    }
}
