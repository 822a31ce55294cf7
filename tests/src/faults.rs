//! A handler that does what its client tells it to, above all what no handler should do.
//!
//! Owns the protocol of `anteroom-test-stalled`: a line is an order, and the line itself its answer once it
//! has been carried out. Never says how the server should take it.
//!
//! - `sleep MILLIS`, `burn MILLIS`: holds its thread, asleep or computing
//! - `compute MILLIS`: so much processor time, however long that takes
//! - `pipe MILLIS`: reads a pipe into which somebody writes so much later
//! - `deadlock 1`, `deadlock 2`: two mutexes in either order, each held when the other one is asked for
//! - `release-sleep MILLIS`: gives its place back, and sleeps on its thread in the same breath
//! - `leak`: keeps the permit for ever, and closes the connection
//! - `id`: answers `id NUMBER`, the connection's
//! - anything else is answered and nothing more

use std::io::{self, Read, Write};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anteroom::{Connection, Permit};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// What the handlers of one server share.
#[derive(Debug)]
pub struct Faults {
    holding: Mutex<Vec<Holding>>,
    one: Mutex<()>,
    other: Mutex<()>,
    both_locked: Barrier,
    kept: Mutex<Vec<Permit>>,
}

/// Somebody who does not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holding {
    connection: Option<u64>,
    thread: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            holding: Mutex::default(),
            one: Mutex::default(),
            other: Mutex::default(),
            both_locked: Barrier::new(2),
            kept: Mutex::default(),
        }
    }
}

impl Faults {
    /// Who holds a thread at this moment, and which: `connection` and `thread`, by their numbers.
    #[must_use]
    pub fn holding(&self) -> Value {
        let holding = lock(&self.holding);
        let one = |holding: &Holding| json!({ "connection": holding.connection, "thread": holding.thread });
        holding.iter().map(one).collect()
    }

    /// Holds the thread that runs it, asleep.
    pub fn sleep(&self, time: Duration, connection: Option<u64>) {
        self.hold(connection, || thread::sleep(time));
    }

    fn hold(&self, connection: Option<u64>, fault: impl FnOnce()) {
        let holding = Holding { connection, thread: own_thread() };
        lock(&self.holding).push(holding);
        fault();
        lock(&self.holding).retain(|other| *other != holding);
    }

    fn commit(&self, order: &str, id: Option<u64>) {
        let (fault, how) = order.split_once(' ').unwrap_or((order, ""));
        let time = || Duration::from_millis(how.parse().expect("a number of milliseconds"));
        match fault {
            "sleep" | "release-sleep" => self.sleep(time(), id),
            "burn" => self.hold(id, || burn(time())),
            "compute" => self.hold(id, || compute(time())),
            "pipe" => self.hold(id, || read_a_pipe(time())),
            "deadlock" if how == "1" => self.hold(id, || self.lock_both(&self.one, &self.other)),
            "deadlock" => self.hold(id, || self.lock_both(&self.other, &self.one)),
            _ => {}
        }
    }

    fn lock_both(&self, first: &Mutex<()>, then: &Mutex<()>) {
        let _first = lock(first);
        self.both_locked.wait();
        let _then = lock(then);
    }
}

/// Carries out what the client says until its end.
///
/// # Errors
/// Those of reading and writing.
pub async fn obey(connection: Connection, faults: &Faults) -> io::Result<()> {
    let id = Some(connection.info().id());
    let mut connection = BufReader::new(connection);
    let Some(order) = converse(&mut connection, id, faults).await? else { return Ok(()) };
    let (socket, permit, _) = connection.into_inner().into_parts();
    if order == "leak" {
        lock(&faults.kept).push(permit);
        return Ok(());
    }
    // Nothing is awaited in between: whoever takes the place was woken by this very thread.
    drop(permit);
    faults.commit(&order, id);
    let mut socket = BufReader::new(socket);
    tell(&mut socket, &order).await?;
    while let Some(order) = converse(&mut socket, id, faults).await? {
        tell(&mut socket, &order).await?;
    }
    Ok(())
}

/// The same for a plain loop, whose connections have no permit and no id.
///
/// # Errors
/// Those of reading and writing.
pub async fn obey_stream(stream: TcpStream, faults: &Faults) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(order) = converse(&mut stream, None, faults).await? {
        tell(&mut stream, &order).await?;
    }
    Ok(())
}

/// Until the client's end, or an order that concerns the permit.
async fn converse<Io>(io: &mut BufReader<Io>, id: Option<u64>, faults: &Faults) -> io::Result<Option<String>>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let mut line = String::new();
        if io.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let order = line.trim_end();
        match order {
            "leak" => return Ok(Some(order.to_owned())),
            "id" => tell(io, &id.map_or("id".to_owned(), |id| format!("id {id}"))).await?,
            order if order.starts_with("release") => return Ok(Some(order.to_owned())),
            order => {
                faults.commit(order, id);
                tell(io, order).await?;
            }
        }
    }
}

async fn tell<Io: AsyncRead + AsyncWrite + Unpin>(io: &mut BufReader<Io>, answer: &str) -> io::Result<()> {
    io.get_mut().write_all(format!("{answer}\n").as_bytes()).await
}

fn burn(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Unlike [`burn`] it takes the longer the less of a processor the thread gets.
fn compute(time: Duration) {
    let used = || {
        let used = clock_gettime(ClockId::ThreadCPUTime);
        Duration::try_from(used).expect("it counts from 0")
    };
    let before = used();
    while used() - before < time {
        std::hint::spin_loop();
    }
}

fn read_a_pipe(after: Duration) {
    let (mut reader, mut writer) = io::pipe().expect("a pipe");
    let writing = thread::spawn(move || {
        thread::sleep(after);
        writer.write_all(b"x").expect("somebody reads");
    });
    reader.read_exact(&mut [0]).expect("somebody writes");
    writing.join().expect("it has written");
}

/// The kernel's number of the thread that asks: the link is `PID/task/TID` (`proc(5)`).
fn own_thread() -> u32 {
    let link = std::fs::read_link("/proc/thread-self").expect("the kernel tells");
    let id = link.file_name().and_then(|name| name.to_str()?.parse().ok());
    id.expect("a number")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
