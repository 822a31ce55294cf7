//! The admin listener as its owner sees it: how it is made, and that it ends with its owner.

use std::net::IpAddr;
use std::thread::JoinHandle;

use anteroom::{Address, AddressError, Handle, Listener};
use tokio::sync::oneshot;

use crate::answers::Answers;
use crate::error::AdminError;
use crate::house;

/// An admin listener that runs. It ends when this is dropped, and with it its thread.
///
/// It outlives the servers that it tells of: of one that has stopped it says so.
#[derive(Debug)]
#[must_use = "dropped, it ends: keep it for as long as it is to answer"]
pub struct Admin {
    address: Address,
    /// Dropped, it tells the thread to end.
    open: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Tells of `server` on `address`: TCP on loopback, or a Unix socket (`unix:/run/app/admin.sock`, for this
    /// user alone; not an abstract name, which everybody on this host may connect to). No runtime is needed, and it answers at once.
    ///
    /// # Errors
    /// The address cannot be read or bound or can be reached from elsewhere, or a thread cannot be had.
    pub fn serve(
        server: &Handle,
        address: impl TryInto<Address, Error: Into<AddressError>>,
    ) -> Result<Self, AdminError> {
        Self::builder().server(server).bind(address)
    }

    /// Begins to gather servers.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens, with the port that the kernel chose.
    #[must_use]
    pub fn local_addr(&self) -> &Address {
        &self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.open.take());
        if let Some(thread) = self.thread.take() {
            // It waits for nobody; a panic in it has been told by the hook.
            let _ended = thread.join();
        }
    }
}

/// Gathers what an admin listener tells of; see [`Admin::builder`].
#[derive(Debug, Default)]
#[must_use = "nothing is told until bind is called"]
pub struct Builder {
    servers: Vec<(String, Handle)>,
    beyond_loopback: bool,
}

impl Builder {
    /// One server, called `server` in the answers.
    pub fn server(self, server: &Handle) -> Self {
        self.named("server", server)
    }

    /// One server of several, by name. It is ready when all are.
    pub fn named(mut self, name: &str, server: &Handle) -> Self {
        self.servers.push((name.to_owned(), server.clone()));
        self
    }

    /// Allows addresses that can be reached from elsewhere, abstract Unix names, and requests that name a host:
    /// everybody who reaches it may read who your clients are. For probes of an orchestrator, on a network that is its own.
    pub fn beyond_loopback(mut self) -> Self {
        self.beyond_loopback = true;
        self
    }

    /// Binds, and answers at once.
    ///
    /// # Errors
    /// As [`Admin::serve`]; or no server was given, or two of one name.
    pub fn bind(
        self,
        address: impl TryInto<Address, Error: Into<AddressError>>,
    ) -> Result<Admin, AdminError> {
        let address = address.try_into().map_err(|error| AdminError::Address(error.into()))?;
        let Self { servers, beyond_loopback } = self;
        if servers.is_empty() {
            return Err(AdminError::NothingToTell);
        }
        for (position, (name, _)) in servers.iter().enumerate() {
            if servers.iter().take(position).any(|(earlier, _)| earlier == name) {
                return Err(AdminError::TwoOfOneName { name: name.clone() });
            }
        }
        let is_local = |ip: IpAddr| ip.to_canonical().is_loopback();
        if !beyond_loopback && address.tcp().is_some_and(|tcp| !is_local(tcp.ip())) {
            return Err(AdminError::BeyondLoopback { address });
        }
        // A name without a file has no mode.
        if !beyond_loopback && address.tcp().is_none() && address.path().is_none() {
            return Err(AdminError::Unprotected { address });
        }
        let mut listener = Listener::builder().name("admin");
        if address.path().is_some() {
            listener = listener.mode(0o600);
        }
        let listener = listener.bind(address).map_err(AdminError::Bind)?;
        let address = listener.local_addr().clone();
        let hosts = if beyond_loopback || address.tcp().is_none() { Hosts::Any } else { Hosts::Local };
        let (open, closed) = oneshot::channel();
        let thread = house::open(listener, Answers::new(servers, hosts), closed)?;
        Ok(Admin { address, open: Some(open), thread: Some(thread) })
    }
}

/// Which names a request may call this host by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hosts {
    Any,
    /// An address, or `localhost`: a page in a browser whose name is made to resolve to loopback is no owner of
    /// this host.
    Local,
}
