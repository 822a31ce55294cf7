//! What `axum::serve` accepts from.
//!
//! Owns the taking end. Never serves a request.

use std::fmt;
use std::future::pending;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;

use anteroom::{
    Address, AddressError, ConfigError, Connection, Handle, Incoming, Listener, PeerAddr, StartError,
};
use axum::serve::{ListenerExt, TapIo};

/// Listens on a TCP address with [`config`](crate::config), for [`axum::serve()`].
///
/// Dropping it, or the future of `axum::serve`, refuses what waits. The end that leaves nobody behind:
/// [`Handle::drain`], with [`Handle::exhausted`] as axum's shutdown signal.
///
/// axum then closes idle HTTP/1 connections at once, and a request that crosses the close is lost;
/// [`Http`](crate::Http), which serves the same router, tells them with their next answer. The guide has
/// a layer that does it under axum.
///
/// # Errors
/// The address cannot be read or bound, or is a Unix socket's (see [`HttpListener::any`]), or a
/// thread or descriptor cannot be had.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use axum::{Router, routing::get};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let app = Router::new().route("/", get(async || "hello\n"));
/// let listener = anteroom_http::bind("127.0.0.1:0")?;
/// let handle = listener.handle();
/// # let stop = handle.clone();
/// # tokio::task::spawn(async move { stop.drain(Duration::from_secs(5)).await });
/// axum::serve(listener, app).with_graceful_shutdown(handle.exhausted()).await?;
/// let report = handle.stopped().await?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
pub fn bind(address: impl TryInto<Address, Error: Into<AddressError>>) -> Result<HttpListener, StartError> {
    let listener = Listener::bind(address)?;
    HttpListener::new(Incoming::builder().config(crate::config()).listen(listener).start()?)
}

/// axum's listener over an [`Incoming`].
///
/// `Addr` is what a peer is known by: `SocketAddr` for TCP ([`new`](Self::new), [`bind`]),
/// [`PeerAddr`] for Unix sockets and mixtures ([`any`](HttpListener::any)).
///
/// axum's accept cannot fail: when the listener breaks or has been drained, it is silent for ever,
/// and [`Handle::exhausted`] resolves; [`Handle::stopped`] tells the error.
pub struct HttpListener<Addr = SocketAddr> {
    incoming: Incoming,
    known_by: PhantomData<fn() -> Addr>,
}

/// axum's own wrapper, which gives `ConnectInfo` the listener's kind of address.
pub type WithConnectInfo<Addr = SocketAddr> = TapIo<HttpListener<Addr>, fn(&mut Connection)>;

impl HttpListener<SocketAddr> {
    /// Takes from TCP listeners.
    ///
    /// # Errors
    /// [`StartError::Config`] if one of them is a Unix socket.
    pub fn new(incoming: Incoming) -> Result<Self, StartError> {
        if incoming.local_addrs().iter().any(|address| address.tcp().is_none()) {
            let problem = "is a unix socket, whose peers have no socket address; use HttpListener::any";
            return Err(StartError::Config(ConfigError::Invalid { setting: "address", problem }));
        }
        Ok(Self { incoming, known_by: PhantomData })
    }
}

impl HttpListener<PeerAddr> {
    /// Takes from listeners of any kind.
    #[must_use]
    pub fn any(incoming: Incoming) -> Self {
        Self { incoming, known_by: PhantomData }
    }
}

impl<Addr: PeerAddress> HttpListener<Addr> {
    /// A handle to look at the accept path and to drain it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.incoming.handle()
    }

    /// The address of the first listener, with the port that the kernel chose.
    #[must_use]
    pub fn local_addr(&self) -> &Address {
        self.incoming.local_addr()
    }

    /// For `axum::serve(.., app.into_make_service_with_connect_info::<SocketAddr>())`: axum gives
    /// `ConnectInfo` to its own listener types only, so this wraps it into one.
    #[must_use]
    pub fn with_connect_info(self) -> WithConnectInfo<Addr> {
        self.tap_io(|_| {})
    }
}

impl<Addr: PeerAddress> axum::serve::Listener for HttpListener<Addr> {
    type Io = Connection;
    type Addr = Addr;

    async fn accept(&mut self) -> (Connection, Addr) {
        while let Ok(Some(connection)) = self.incoming.accept().await {
            if let Some(peer) = Addr::of(connection.peer_addr()) {
                return (connection, peer);
            }
        }
        pending().await
    }

    fn local_addr(&self) -> io::Result<Addr> {
        Addr::of_local(self.incoming.local_addr()).ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}

impl<Addr> fmt::Debug for HttpListener<Addr> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpListener").field("incoming", &self.incoming).finish()
    }
}

/// What a peer can be known by.
pub trait PeerAddress: Sized + Send + 'static + sealed::Sealed {
    #[doc(hidden)]
    fn of(peer: &PeerAddr) -> Option<Self>;
    #[doc(hidden)]
    fn of_local(address: &Address) -> Option<Self>;
}

impl PeerAddress for SocketAddr {
    fn of(peer: &PeerAddr) -> Option<Self> {
        peer.tcp()
    }

    fn of_local(address: &Address) -> Option<Self> {
        address.tcp()
    }
}

impl PeerAddress for PeerAddr {
    fn of(peer: &PeerAddr) -> Option<Self> {
        Some(*peer)
    }

    fn of_local(address: &Address) -> Option<Self> {
        Some(address.tcp().map_or(Self::Unix, Self::Tcp))
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::net::SocketAddr {}
    impl Sealed for anteroom::PeerAddr {}
}
