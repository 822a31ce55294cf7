//! One client: connects, says its part, and tells how that ended.
//!
//! Owns its socket. Never tries again: the first answer, refusal, end or reset is its outcome.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How long after the cue a client goes on hoping: beyond the deadline of any drain here.
const HOPE: Duration = Duration::from_secs(20);

/// Where a client goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// TCP, by either version of IP.
    Tcp(SocketAddr),
    /// A Unix socket with a path.
    Unix(PathBuf),
}

/// What is said in each part: the servers of these tests do not all speak alike.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// Has an answer, and nothing follows it.
    pub quick: &'static [u8],
    /// Has an answer once both are there.
    pub in_two: [&'static [u8]; 2],
    /// Has an answer that does not end.
    pub endless: &'static [u8],
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Asks as soon as it is connected.
    Quick,
    /// Begins to ask as soon as it is connected, and ends so long after the cue.
    InTwo(Duration),
    /// Is connected, and asks so long after the cue.
    Silent(Duration),
    /// Reads an answer that does not end.
    Endless,
}

/// What became of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `connect` failed, by a reset that answered its SYN or because nobody listens.
    Refused,
    /// `connect` had not come to an end when it gave up.
    NeverConnected,
    /// The first byte of an answer came.
    Answered,
    /// `connect` succeeded; then a reset came instead of an answer.
    ResetUnserved,
    /// `connect` succeeded; then the server closed instead of answering.
    ClosedUnserved,
    /// `connect` succeeded; then nothing came.
    Unheard,
    /// The endless answer came, and was ended by the server.
    Cut,
}

impl Outcome {
    /// Every one, in the order of the tallies.
    pub const ALL: [Self; 7] = [
        Self::Refused,
        Self::NeverConnected,
        Self::Answered,
        Self::ResetUnserved,
        Self::ClosedUnserved,
        Self::Unheard,
        Self::Cut,
    ];

    /// Whether its `connect` succeeded.
    #[must_use]
    pub fn had_connected(self) -> bool {
        !matches!(self, Self::Refused | Self::NeverConnected)
    }

    /// Whether its `connect` succeeded and it got nothing for it.
    #[must_use]
    pub fn is_lost(self) -> bool {
        matches!(self, Self::ResetUnserved | Self::ClosedUnserved | Self::Unheard)
    }
}

/// When the server was told to stop, once it was.
#[derive(Clone, Debug)]
pub(super) struct Cue(pub(super) watch::Receiver<Option<Instant>>);

impl Cue {
    /// Never, when nobody is there any more to give it.
    async fn and(&mut self, then: Duration) {
        let given = self.0.wait_for(Option::is_some).await.map(|cue| *cue);
        match given {
            Ok(Some(given)) => sleep_until(given + then).await,
            _ => std::future::pending().await,
        }
    }
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<W: AsyncRead + AsyncWrite + Unpin + Send> Wire for W {}

/// Plays a part. `connected` is called when its `connect` has succeeded.
pub(super) async fn play(
    part: Part,
    target: Target,
    dialect: Dialect,
    mut cue: Cue,
    connected: impl FnOnce(),
) -> Outcome {
    let Some(result) = hoping(&mut cue.clone(), connect(&target)).await else {
        return Outcome::NeverConnected;
    };
    let mut wire = match result {
        Ok(wire) => wire,
        // To a segment that answers its SYN the kernel says "refused", to any later one "reset": then it
        // was connected, if only for a moment.
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
            connected();
            return Outcome::ResetUnserved;
        }
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {
            return Outcome::Refused;
        }
        Err(error) => panic!("the client itself cannot go on: {target:?}: {error}"),
    };
    connected();
    let hope = &mut cue.clone();
    match hoping(hope, ask(&mut *wire, part, dialect, &mut cue)).await {
        Some(outcome) => outcome.unwrap_or(Outcome::ResetUnserved),
        None => Outcome::Unheard,
    }
}

/// What comes of it, unless it takes too long.
async fn hoping<F: Future>(cue: &mut Cue, what: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = what => Some(output),
        () = cue.and(HOPE) => None,
    }
}

async fn connect(target: &Target) -> io::Result<Box<dyn Wire>> {
    match target {
        Target::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            // The kernel chose the listener's own port for a client, whom nobody answers: both ends are one.
            if stream.local_addr()? == *address {
                return Err(ErrorKind::ConnectionRefused.into());
            }
            // Closed with a reset, which leaves no `TIME_WAIT` on either side, as nothing is left to be said.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            Ok(Box::new(stream))
        }
        Target::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
    }
}

/// An error is a reset before the answer.
async fn ask(wire: &mut dyn Wire, part: Part, dialect: Dialect, cue: &mut Cue) -> io::Result<Outcome> {
    match part {
        Part::Quick => wire.write_all(dialect.quick).await?,
        Part::Silent(time) => {
            cue.and(time).await;
            wire.write_all(dialect.quick).await?;
        }
        Part::InTwo(time) => {
            let [first, second] = dialect.in_two;
            wire.write_all(first).await?;
            cue.and(time).await;
            wire.write_all(second).await?;
        }
        Part::Endless => wire.write_all(dialect.endless).await?,
    }
    let mut bytes = [0; 4096];
    if wire.read(&mut bytes).await? == 0 {
        return Ok(Outcome::ClosedUnserved);
    }
    if part != Part::Endless {
        return Ok(Outcome::Answered);
    }
    while !matches!(wire.read(&mut bytes).await, Ok(0) | Err(_)) {}
    Ok(Outcome::Cut)
}
