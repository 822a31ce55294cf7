//! How a listener is made: what to choose, and the order of the kernel calls.
//!
//! Owns the defaults. Never retries, except once for a Unix socket file whose owner is gone.

use std::{io, num::NonZeroUsize, os::fd::OwnedFd, time::Duration};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{
    Address, AddressError, BindError, BindErrorKind, KeepAlive, Listener, UnixAddress,
    address::kernel_name,
    listener::{Parts, Strictness},
    options::{AfterClose, IpVersions, Options, ReuseAddress, SmallWrites},
    socket_file::{self, InTheWay, SocketFile},
    sys,
};

/// Chooses how a listener is made. Every option is set once, on the listener; accepted sockets inherit it.
///
/// One builder can bind any number of addresses.
///
/// # Examples
///
/// ```
/// use anteroom_listener::{KeepAlive, Listener};
/// use std::time::Duration;
///
/// let listener = Listener::builder()
///     .name("public")
///     .backlog(1024)
///     .keep_alive(KeepAlive { idle: Duration::from_secs(30), ..KeepAlive::default() })
///     .bind("127.0.0.1:0")?;
/// assert_eq!(listener.name(), "public");
/// # Ok::<(), anteroom_listener::BindError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    name: Option<String>,
    backlog: Option<u32>,
    strictness: Strictness,
    options: Options,
}

impl Builder {
    /// What it is called in labels and logs. Default: the bound address as text.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// The limit of the accept queue (listen(2)). Default: the most that the kernel grants. The kernel cuts it to
    /// `net.core.somaxconn` without a word; [`Listener::backlog`] tells.
    #[must_use]
    pub fn backlog(self, backlog: u32) -> Self {
        Self { backlog: Some(backlog), ..self }
    }

    /// Makes it an error if the kernel grants less than was asked for, or does not tell. It also holds for
    /// [`Listener::set_backlog`]. Without [`backlog`](Self::backlog) there is nothing to be strict about.
    #[must_use]
    pub fn strict_backlog(self) -> Self {
        Self { strictness: Strictness::Strict, ..self }
    }

    /// `SO_REUSEADDR`: a restarted server can bind while old connections are in `TIME_WAIT`. The default, on TCP.
    #[must_use]
    pub fn reuse_address(self) -> Self {
        self.with(|options| options.reuse_address = ReuseAddress::Yes)
    }

    /// Switches [`reuse_address`](Self::reuse_address) off. TCP.
    #[must_use]
    pub fn no_reuse_address(self) -> Self {
        self.with(|options| options.reuse_address = ReuseAddress::No)
    }

    /// `SO_REUSEPORT`: several listeners of one user share the port, and the kernel spreads new connections over them.
    /// Closing one resets what is queued there, unless `net.ipv4.tcp_migrate_req` is 1. TCP.
    #[must_use]
    pub fn reuse_port(self) -> Self {
        self.with(|options| options.reuse_port = Some(()))
    }

    /// `IPV6_V6ONLY`: an IPv6 listener takes no IPv4 clients. Default: the system's (`net.ipv6.bindv6only`).
    #[must_use]
    pub fn only_v6(self) -> Self {
        self.with(|options| options.ip_versions = Some(IpVersions::OnlyV6))
    }

    /// The opposite of [`only_v6`](Self::only_v6): a listener on `[::]` takes IPv4 clients too and shows them by their
    /// mapped addresses.
    #[must_use]
    pub fn dual_stack(self) -> Self {
        self.with(|options| options.ip_versions = Some(IpVersions::Both))
    }

    /// `TCP_NODELAY`: small writes go out at once. The default, on TCP.
    #[must_use]
    pub fn no_delay(self) -> Self {
        self.with(|options| options.small_writes = SmallWrites::AtOnce)
    }

    /// Switches [`no_delay`](Self::no_delay) off: small writes are gathered (Nagle's algorithm). TCP.
    #[must_use]
    pub fn nagle(self) -> Self {
        self.with(|options| options.small_writes = SmallWrites::Gathered)
    }

    /// Probes silent peers. Default: off, as the kernel's. TCP.
    #[must_use]
    pub fn keep_alive(self, keep_alive: KeepAlive) -> Self {
        self.with(|options| options.keep_alive = Some(keep_alive))
    }

    /// `TCP_USER_TIMEOUT`: how long what was sent may stay unacknowledged before the kernel gives the connection up, in
    /// whole milliseconds. TCP on Linux.
    #[must_use]
    pub fn user_timeout(self, timeout: Duration) -> Self {
        self.with(|options| options.user_timeout = Some(timeout))
    }

    /// `SO_RCVBUF`, in bytes. Linux doubles it for its own bookkeeping, cuts it to `net.core.rmem_max` and stops sizing
    /// the buffer by itself.
    #[must_use]
    pub fn receive_buffer(self, bytes: usize) -> Self {
        self.with(|options| options.receive_buffer = Some(bytes))
    }

    /// `SO_SNDBUF`, in bytes; see [`receive_buffer`](Self::receive_buffer).
    #[must_use]
    pub fn send_buffer(self, bytes: usize) -> Self {
        self.with(|options| options.send_buffer = Some(bytes))
    }

    /// `SO_BINDTODEVICE`: only connections through this network interface, or of this VRF. TCP on Linux.
    #[must_use]
    pub fn device(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.with(|options| options.device = Some(name))
    }

    /// `IP_FREEBIND`: an address that no interface has yet may be bound. TCP on Linux.
    #[must_use]
    pub fn free_bind(self) -> Self {
        self.with(|options| options.free_bind = Some(()))
    }

    /// `IP_TOS` and `IPV6_TCLASS`: the byte whose upper six bits are the DSCP. TCP on Linux.
    #[must_use]
    pub fn type_of_service(self, value: u8) -> Self {
        self.with(|options| options.type_of_service = Some(value))
    }

    /// `TCP_DEFER_ACCEPT`: a connection comes into the queue when its first bytes do, or after this time, rounded up to
    /// what the kernel's retransmissions give. Until then it counts nowhere: the depth does not show it, and closing the
    /// listener resets it. TCP on Linux.
    #[must_use]
    pub fn defer_accept(self, time: Duration) -> Self {
        self.with(|options| options.defer_accept = Some(time))
    }

    /// `TCP_FASTOPEN`: data in the SYN is taken (`net.ipv4.tcp_fastopen` must have bit 1 set); `queue` bounds the
    /// connections whose handshake is not finished. TCP on Linux.
    #[must_use]
    pub fn fast_open(self, queue: u32) -> Self {
        self.with(|options| options.fast_open = Some(queue))
    }

    /// Multipath TCP; clients that do not speak it get plain TCP. Some other options are refused on it, such as
    /// [`user_timeout`](Self::user_timeout), and its drops are not told. Linux with `net.mptcp.enabled`.
    #[must_use]
    pub fn mptcp(self) -> Self {
        self.with(|options| options.mptcp = Some(()))
    }

    /// The permissions of the socket's file, such as `0o660`, whatever the umask. They are set before anybody can
    /// connect. Unix, with a path.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        self.with(|options| options.mode = Some(mode))
    }

    /// Leaves the socket's file behind when the listener closes. By default it is removed, if it is still the one that
    /// was made. Unix, with a path.
    #[must_use]
    pub fn keep_socket_file(self) -> Self {
        self.with(|options| options.socket_file = AfterClose::Kept)
    }

    /// Makes the socket, binds it and listens.
    ///
    /// A Unix socket's file that is in the way is removed if nobody listens behind it any more: a connection to it is
    /// tried and refused. (Somebody who does listen sees that connection come and go.) Two servers that start on one
    /// path at the same moment can still take it from one another.
    ///
    /// # Errors
    ///
    /// [`BindErrorKind`] says what can be wrong.
    pub fn bind(
        &self,
        address: impl TryInto<Address, Error: Into<AddressError>>,
    ) -> Result<Listener, BindError> {
        let address = address.try_into().map_err(|error| BindError::not_an_address(error.into()))?;
        if self.backlog == Some(0) {
            let advice = "a queue needs at least one place; leave it out for the most that the kernel grants";
            return Err(BindError::new(&address, BindErrorKind::ZeroBacklog, advice));
        }
        self.options.check(&address).map_err(|misuse| {
            BindError::new(&address, BindErrorKind::OptionMisused { option: misuse.option }, misuse.advice)
        })?;
        let name = kernel_address(&address)?;
        let socket = self.socket(&address, name.domain())?;
        self.options
            .apply(&socket, &address)
            .map_err(|refused| BindError::refused(&address, refused.option, refused.error))?;
        let file = self.bind_socket(&socket, &name, &address)?;
        let bound = socket.local_addr().map_err(|error| BindError::kernel(&address, error))?;
        let local = Address::of_kernel(&bound).unwrap_or_else(|| address.clone());
        let parts = Parts { fd: OwnedFd::from(socket), local, file };
        let mut listener = Listener::start(parts, self.name.clone(), self.backlog, self.strictness)?;
        // Only now: what could not be made leaves nothing behind.
        if self.options.socket_file == AfterClose::Kept {
            listener.keep_socket_file();
        }
        Ok(listener)
    }

    /// So many listeners on one TCP address, which share its port by [`reuse_port`](Self::reuse_port): the kernel
    /// spreads new connections over them by a hash of both addresses. One for each core that serves by itself.
    ///
    /// With port 0 the kernel chooses once, for all. An application of the same user can join the group later; to see
    /// who did there is [`Listener::reuse_port_group`].
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind), for the first that cannot be bound; none is left then.
    ///
    /// # Examples
    ///
    /// ```
    /// use anteroom_listener::Listener;
    /// use std::num::NonZeroUsize;
    ///
    /// let listeners = Listener::builder().bind_group("127.0.0.1:0", NonZeroUsize::MIN.saturating_add(1))?;
    /// assert_eq!(listeners[0].local_addr(), listeners[1].local_addr());
    /// # Ok::<(), anteroom_listener::BindError>(())
    /// ```
    pub fn bind_group(
        &self,
        address: impl TryInto<Address, Error: Into<AddressError>>,
        listeners: NonZeroUsize,
    ) -> Result<Vec<Listener>, BindError> {
        let shared = self.clone().reuse_port();
        let first = shared.bind(address)?;
        let address = first.local_addr().clone();
        let others = (1..listeners.get()).map(|_| shared.bind(address.clone()));
        std::iter::once(Ok(first)).chain(others).collect()
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    fn socket(&self, address: &Address, domain: Domain) -> Result<Socket, BindError> {
        let protocol = match (address, self.options.mptcp) {
            (Address::Unix(_), _) => None,
            (Address::Tcp(_), None) => Some(Protocol::TCP),
            (Address::Tcp(_), Some(())) => {
                Some(sys::options::mptcp().map_err(|error| BindError::refused(address, "mptcp", error))?)
            }
        };
        let made = Socket::new(domain, Type::STREAM, protocol);
        let socket = made.map_err(|error| match self.options.mptcp {
            Some(()) => BindError::refused(address, "mptcp", error),
            None => BindError::kernel(address, error),
        })?;
        socket.set_nonblocking(true).map_err(|error| BindError::kernel(address, error))?;
        Ok(socket)
    }

    /// Binds; for a Unix path also cares for the file, before and after.
    fn bind_socket(
        &self,
        socket: &Socket,
        name: &SockAddr,
        address: &Address,
    ) -> Result<Option<SocketFile>, BindError> {
        let failed = |error| BindError::kernel(address, error);
        let Some(path) = address.path() else {
            return socket.bind(name).map(|()| None).map_err(failed);
        };
        match socket.bind(name) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                socket_file::remove_stale(path).map_err(|in_the_way| match in_the_way {
                    InTheWay::Listener => failed(error),
                    InTheWay::NotASocket => {
                        let advice =
                            "move it away or choose another path; only a dead socket's file is replaced";
                        BindError::new(address, BindErrorKind::NotASocket, advice).because(error)
                    }
                    InTheWay::Unknown(why) => {
                        let advice = "whether somebody listens behind it cannot be found out";
                        BindError::new(address, BindErrorKind::AddressInUse, advice).because(why)
                    }
                })?;
                socket.bind(name).map_err(failed)?;
            }
            result => result.map_err(failed)?,
        }
        let file = SocketFile::made(path).map_err(failed)?;
        if let Some(mode) = self.options.mode {
            file.set_mode(mode).map_err(|error| BindError::refused(address, "mode", error))?;
        }
        Ok(Some(file))
    }
}

/// The address as the kernel takes it.
fn kernel_address(address: &Address) -> Result<SockAddr, BindError> {
    let unix = match address {
        Address::Tcp(address) => return Ok(SockAddr::from(*address)),
        Address::Unix(unix) => unix,
    };
    let cannot = |advice| BindError::new(address, BindErrorKind::UnixName, advice);
    if matches!(unix, UnixAddress::Abstract(_)) && !cfg!(any(target_os = "linux", target_os = "android")) {
        return Err(cannot("only Linux has abstract names; give it a path"));
    }
    let name =
        kernel_name(unix).ok_or_else(|| cannot("it has none; write unix:/run/app.sock or unix:@app"))?;
    if matches!(unix, UnixAddress::Path(_)) && name.as_encoded_bytes().contains(&0) {
        return Err(cannot("a path cannot hold a NUL byte"));
    }
    SockAddr::unix(name)
        .map_err(|error| cannot("it is too long, 107 bytes is the most on Linux").because(error))
}
