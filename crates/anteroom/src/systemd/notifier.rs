//! The thread that keeps the service manager informed.
//!
//! Owns the thread, and when it looks. Decides nothing about the server: it follows the phase, and stays
//! silent when the acceptor or the runtime is.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use tokio::runtime;

use super::liveness::{Liveness, Pulse};
use super::manager::Manager;
use super::teller::{Teller, is_storable};
use crate::lifecycle::{Core, Handle};
use crate::observe::Phase;

/// How long a change of the phase may go unseen of which no signal tells, and how soon what the manager
/// did not take is told again.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Nobody is asked more often.
const SHORTEST_TICK: Duration = Duration::from_millis(1);

/// Keeps systemd informed about a server, as long as it is held: `Type=notify`, `Type=notify-reload`,
/// `WatchdogSec=` and `FileDescriptorStoreMax=`.
///
/// | when | it tells |
/// |---|---|
/// | the server serves | `READY=1` |
/// | it is told to stop, lame duck or draining | `STOPPING=1` |
/// | each second, if it has changed, and with each phase | `STATUS=serving: 12 open, 3 waiting, queue public 5/4096` |
/// | at half of `WATCHDOG_USEC`, while acceptor **and** runtime are alive | `WATCHDOG=1` |
///
/// Alive means: the acceptor, woken for the purpose, has done a turn, and the runtime has run an empty
/// task, both since the last look. So the pings stop within twice the watchdog's interval after every
/// worker is blocked, or the filter does not return. The runtime is the one in whose context
/// [`start`](Self::start) was called; called outside of any, only the acceptor counts.
///
/// All of it happens on a thread of its own, *anteroom-notify*, which no worker and no log pipe holds
/// up. It ends when the server has stopped or the `Notifier` is dropped; with it the pings end, which
/// a watchdog takes for a failure: hold it until the server has stopped.
///
/// # Bounds
/// One socket, opened at the start; one question to the runtime at a time; a manager that does not read
/// is waited for one second, and told again later.
///
/// # Platform
/// Any Unix. Abstract names (`NOTIFY_SOCKET=@…`) on Linux; `vsock:` nowhere.
///
/// # Examples
/// ```
/// use anteroom::systemd::Notifier;
/// use anteroom::{Connection, Listener, Server, service_fn};
///
/// # #[tokio::main]
/// # async fn main() -> std::io::Result<()> {
/// let server = Server::builder()
///     .serve(Listener::bind("127.0.0.1:0")?, service_fn(async |_: Connection| std::io::Result::Ok(())))
///     .start()?;
/// // `None` when nobody asked for notifications.
/// let notifier = Notifier::start(&server.handle())?;
/// # let handle = server.handle();
/// # handle.drain(std::time::Duration::ZERO);
/// server.await?;
/// drop(notifier);
/// # Ok(())
/// # }
/// ```
#[must_use = "a notifier that is dropped tells nothing any more, and its watchdog bites"]
pub struct Notifier {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Notifier {
    /// Begins to inform the manager that `NOTIFY_SOCKET` names; `None` when the variable is not set. For
    /// a [`Server`](crate::Server) and an [`Incoming`](crate::Incoming) alike.
    ///
    /// # Errors
    /// `NOTIFY_SOCKET` names nothing that can be reached (the error says what), or the thread cannot be
    /// started.
    pub fn start(handle: &Handle) -> io::Result<Option<Self>> {
        let interval = sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero());
        match Manager::of_process()? {
            None => Ok(None),
            Some(manager) => Self::inform(manager, handle, interval).map(Some),
        }
    }

    fn inform(manager: Manager, handle: &Handle, interval: Option<Duration>) -> io::Result<Self> {
        let core = Arc::clone(&handle.0);
        let liveness = Liveness::new(Arc::clone(&core), runtime::Handle::try_current().ok());
        let dog = interval.map(|interval| Dog { liveness, tick: (interval / 2).max(SHORTEST_TICK) });
        let desk =
            Arc::new(Desk { core, teller: Mutex::new(Teller::new(manager)), over: AtomicBool::new(false) });
        let at = Arc::clone(&desk);
        let thread = std::thread::Builder::new().name("anteroom-notify".into()).spawn(move || at.run(dog))?;
        Ok(Self { desk, thread: Some(thread) })
    }

    /// The settings are being read again: `RELOADING=1`, which `Type=notify-reload` waits for after its
    /// signal. Nothing while the server does not serve.
    ///
    /// # Errors
    /// The manager cannot be reached.
    ///
    /// # Bounds
    /// Sends on the calling thread, which waits for at most some seconds for a manager that does not read.
    pub fn reloading(&self) -> io::Result<()> {
        let (mut teller, phase) = self.desk.follow()?;
        if phase != Phase::Serving {
            return Ok(());
        }
        teller.reloading(&self.desk.core)
    }

    /// They are in force: `READY=1`. Nothing without a [`reloading`](Self::reloading) before.
    ///
    /// # Errors
    /// The manager cannot be reached.
    ///
    /// # Bounds
    /// As [`reloading`](Self::reloading).
    pub fn reloaded(&self) -> io::Result<()> {
        let (mut teller, phase) = self.desk.follow()?;
        if phase != Phase::Serving {
            return Ok(());
        }
        teller.reloaded(&self.desk.core)
    }

    /// Puts every open listener into the descriptor store, under its name, and says how many they were.
    /// The manager holds them while the service restarts, so that clients wait in their queues instead of
    /// being turned away, and gives them to the next start, where [`activated`](crate::activated) finds
    /// them. Needs `FileDescriptorStoreMax=`; the manager does not say whether it kept them.
    ///
    /// Not for listeners that a socket unit made: the manager holds those anyway, and would give each of
    /// them twice. From now on they are not exclusive: a drain does not fence them, and leaves what comes
    /// after it to the successor.
    ///
    /// # Errors
    /// A name that the store does not take: longer than 255 bytes, or with other than printable ASCII or
    /// with a colon, as the name of a listener has that was given none; nothing has been sent then. The
    /// manager cannot be reached.
    ///
    /// # Bounds
    /// As [`reloading`](Self::reloading), for each listener.
    pub fn store(&self) -> io::Result<usize> {
        let ports = self.desk.core.gate.ports();
        if let Some(port) = ports.iter().find(|port| !is_storable(&port.name)) {
            let error = format!("the listener {:?} needs a name that the descriptor store takes", port.name);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let (teller, _) = self.desk.follow()?;
        let mut stored = 0;
        for port in ports {
            let Some(listener) = port.listener() else { continue };
            let shared = listener.share()?;
            teller.store(&port.name, shared.as_fd())?;
            stored += 1;
        }
        Ok(stored)
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}

impl Drop for Notifier {
    /// Waits for the thread, which tells a phase that it has not told yet.
    fn drop(&mut self) {
        self.desk.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It has told of its panic by itself.
            let _ended = thread.join();
        }
    }
}

/// What the thread and its owner share.
#[derive(Debug)]
struct Desk {
    core: Arc<Core>,
    /// Held while something is told.
    teller: Mutex<Teller>,
    /// The `Notifier` was dropped.
    over: AtomicBool,
}

impl Desk {
    fn run(&self, mut dog: Option<Dog>) {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut draining = pin!(self.core.life.draining.cancelled());
        let mut stopped = pin!(self.core.life.stopped.cancelled());
        let mut next_tick = Instant::now();
        loop {
            // Before the look: what comes after it wakes this thread.
            let mut over = self.over.load(Ordering::Acquire);
            over |= stopped.as_mut().poll(&mut context).is_ready();
            let _seen_in_the_phase = draining.as_mut().poll(&mut context);
            self.look();
            if over {
                return;
            }
            let mut pause = LOOK_EVERY;
            if let Some(dog) = &mut dog {
                if Instant::now() >= next_tick {
                    next_tick = Instant::now() + dog.tick;
                    self.feed(dog);
                }
                pause = pause.min(next_tick.saturating_duration_since(Instant::now()));
            }
            std::thread::park_timeout(pause);
        }
    }

    /// Tells what has changed. What the manager does not take is told at the next look.
    fn look(&self) {
        let Ok((mut teller, phase)) = self.follow() else { return };
        let _told_later = teller.status(&self.core, phase);
    }

    /// Tells the phase, if it is a new one.
    fn follow(&self) -> io::Result<(MutexGuard<'_, Teller>, Phase)> {
        let mut teller = self.teller.lock().unwrap_or_else(PoisonError::into_inner);
        let phase = match self.core.life.phase() {
            // Held later than that, it hands over, and is not at its end until that has succeeded.
            Phase::Serving if self.core.life.is_held() && teller.phase() == Phase::Starting => {
                Phase::Starting
            }
            phase => phase,
        };
        teller.follow(&self.core, phase)?;
        Ok((teller, phase))
    }

    fn feed(&self, dog: &mut Dog) {
        if dog.liveness.look() == Pulse::Both {
            let teller = self.teller.lock().unwrap_or_else(PoisonError::into_inner);
            // One that was not taken is missed, and the next one comes in time.
            let _missed = teller.alive();
        }
    }
}

/// The watchdog to be fed.
#[derive(Debug)]
struct Dog {
    liveness: Liveness,
    /// Half of its interval.
    tick: Duration,
}

/// Wakes the notifier's thread from a signal.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::{Incoming, Listener};

    /// A manager's socket, and a notifier's way to it.
    fn manager() -> (UnixDatagram, Manager) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("anteroom-notifier-{}-{count}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        (socket, Manager::at(format!("@{name}").into()).unwrap())
    }

    fn next(socket: &UnixDatagram) -> String {
        let mut message = [0; 4096];
        let length = socket.recv(&mut message).expect("a message in time");
        std::str::from_utf8(&message[..length]).unwrap().to_owned()
    }

    /// All that is there and has not been read.
    fn rest(socket: &UnixDatagram) -> String {
        socket.set_nonblocking(true).unwrap();
        let mut message = [0; 4096];
        let read = || {
            socket
                .recv(&mut message)
                .ok()
                .map(|length| String::from_utf8_lossy(&message[..length]).into_owned())
        };
        std::iter::from_fn(read).collect()
    }

    fn incoming() -> Incoming {
        Incoming::builder()
            .listen(Listener::builder().name("in").bind("127.0.0.1:0").unwrap())
            .start()
            .unwrap()
    }

    #[test]
    fn an_incoming_without_a_runtime_is_followed_and_its_watchdog_fed() {
        let (socket, manager) = manager();
        let incoming = incoming();
        let interval = Some(Duration::from_millis(20));
        let notifier = Notifier::inform(manager, &incoming.handle(), interval).unwrap();
        let first = next(&socket);
        assert!(first.contains("READY=1\n"), "{first}");
        assert!(first.contains("STATUS=serving: 0 open, 0 waiting, queue in "), "{first}");
        assert_eq!(next(&socket), "WATCHDOG=1\n");
        drop(incoming);
        let ended =
            std::iter::repeat_with(|| next(&socket)).find(|message| message != "WATCHDOG=1\n").unwrap();
        assert!(ended.contains("STOPPING=1\n"), "{ended}");
        drop(notifier);
    }

    #[test]
    fn a_notifier_that_is_dropped_has_told_what_there_was_and_tells_nothing_more() {
        let (socket, manager) = manager();
        let incoming = incoming();
        let notifier = Notifier::inform(manager, &incoming.handle(), Some(Duration::from_millis(2))).unwrap();
        drop(notifier);
        let told = rest(&socket);
        assert!(told.contains("READY=1"), "{told}");
        drop(incoming.handle().drain(Duration::ZERO));
        assert_eq!(rest(&socket), "");
    }

    #[test]
    fn a_server_with_a_successor_names_it_instead_of_stopping_and_is_silent() {
        let (socket, manager) = manager();
        let incoming = incoming();
        let handle = incoming.handle();
        let notifier = Notifier::inform(manager, &handle, Some(Duration::from_millis(2))).unwrap();
        assert!(next(&socket).contains("READY=1"));
        handle.0.life.succeeded_by(4321);
        drop(handle.drain(Duration::ZERO));
        // The line for people may follow the readiness by itself.
        let is_chat = |message: &str| message == "WATCHDOG=1\n" || message.starts_with("STATUS=");
        let last = std::iter::repeat_with(|| next(&socket)).find(|message| !is_chat(message));
        assert_eq!(last.as_deref(), Some("MAINPID=4321\n"));
        drop(notifier);
        assert_eq!(rest(&socket), "");
    }

    #[cfg(all(feature = "handover", target_os = "linux"))]
    #[test]
    fn who_is_held_back_is_not_ready() {
        let (socket, manager) = manager();
        let incoming = incoming();
        incoming.handle().0.life.hold();
        let notifier = Notifier::inform(manager, &incoming.handle(), None).unwrap();
        notifier.reloading().unwrap();
        assert!(!rest(&socket).contains("READY=1"));
        socket.set_nonblocking(false).unwrap();
        incoming.handle().0.life.let_go();
        assert!(std::iter::repeat_with(|| next(&socket)).any(|message| message.contains("READY=1\n")));
        drop(notifier);
    }

    #[cfg(all(feature = "handover", target_os = "linux"))]
    #[test]
    fn who_holds_back_for_a_successor_is_not_told_to_stop() {
        let (socket, manager) = manager();
        let incoming = incoming();
        let notifier = Notifier::inform(manager, &incoming.handle(), None).unwrap();
        assert!(next(&socket).contains("READY=1"));
        incoming.handle().0.life.hold();
        notifier.reloaded().unwrap();
        drop(notifier);
        let rest = rest(&socket);
        assert!(!rest.contains("STOPPING=1"), "{rest}");
    }

    #[test]
    fn a_server_that_does_not_serve_does_not_reload() {
        let (socket, manager) = manager();
        let incoming = incoming();
        let notifier = Notifier::inform(manager, &incoming.handle(), None).unwrap();
        notifier.reloaded().unwrap();
        assert!(next(&socket).contains("READY=1"));
        drop(incoming.handle().drain(Duration::ZERO));
        notifier.reloading().unwrap();
        notifier.reloaded().unwrap();
        drop(notifier);
        let rest = rest(&socket);
        assert!(rest.contains("STOPPING=1"), "{rest}");
        assert!(!rest.contains("RELOADING=1") && !rest.contains("READY=1"), "{rest}");
    }
}
