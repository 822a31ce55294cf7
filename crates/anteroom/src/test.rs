//! For the tests of your own program: a connection without sockets.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anteroom_listener::{PeerAddr, Poller};
use tokio::io::DuplexStream;
use tokio_util::sync::CancellationToken;

use crate::admit::LaneRules;
use crate::config::Config;
use crate::connection::{Connection, Facts, Hooks, Info, Outlet, in_memory};
use crate::gate::{Gate, OpenKey, Plan, Policy};
use crate::observe::Notes;

/// Bytes that each direction holds before its writer waits.
const BUFFER: usize = 64 * 1024;

/// A connection in memory, the client's end of it, and the switches of its surroundings. No
/// descriptor carries its bytes, so it works under tokio's paused time.
///
/// # Panics
/// When the process has no descriptor left for an epoll set.
///
/// # Examples
/// ```
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> std::io::Result<()> {
/// let (mut connection, mut client, remote) = anteroom::test::connection();
/// client.write_all(b"ping").await?;
/// let mut bytes = [0; 4];
/// connection.read_exact(&mut bytes).await?;
///
/// let draining = connection.draining();
/// remote.drain();
/// draining.await;
///
/// drop(connection);
/// assert_eq!(remote.permits(), 0);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn connection() -> (Connection, DuplexStream, Remote) {
    let config = Config::default();
    let plan = Plan {
        ports: Vec::new(),
        lanes: vec![LaneRules::default()],
        halls: 1,
        rules: config.rules(None),
        policy: Policy::of(&config, None),
        seed: 0,
        notes: Arc::new(Notes::default()),
        accept_on: config.accept_on,
    };
    #[expect(clippy::expect_used, reason = "a test without descriptors cannot go on")]
    let poller = Poller::new().expect("a test has a descriptor left");
    let gate = Arc::new(Gate::new(plan, poller));
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    let facts = Facts {
        id: 0,
        peer: PeerAddr::Unix,
        local: Arc::new(SocketAddr::from(([127, 0, 0, 1], 0)).into()),
        listener: "test".into(),
        kernel_wait: None,
        room_wait: Duration::ZERO,
    };
    let key = gate.pretend_open();
    let draining = CancellationToken::new();
    let socket = in_memory(ours);
    let outlet = Arc::new(Outlet {
        gate: Arc::clone(&gate),
        lane: 0,
        draining: draining.clone(),
        board: None,
        hooks: Hooks::default(),
    });
    let connection = Connection::assemble(&outlet, key, socket, Info::new(facts));
    (connection, theirs, Remote { gate, key, draining })
}

/// What happens around a [`connection`].
pub struct Remote {
    gate: Arc<Gate>,
    key: OpenKey,
    draining: CancellationToken,
}

impl Remote {
    /// The server begins to drain.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// The peer closes its side: [`Connection::peer_gone`] resolves. The client's end of the bytes
    /// stays as it is; drop it to end the reading as well.
    pub fn hang_up(&self) {
        self.gate.pretend_gone(self.key);
    }

    /// Places taken: 1 until the connection and all its parts are dropped.
    #[must_use]
    pub fn permits(&self) -> usize {
        self.gate.occupancy().open
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("permits", &self.permits()).finish_non_exhaustive()
    }
}
