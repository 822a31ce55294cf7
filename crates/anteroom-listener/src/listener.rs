//! A listening socket that tells what the kernel knows about it.
//!
//! Owns the descriptor, and the file of a Unix socket that it made. Never waits, never decides who is served, never
//! passes an error of `accept` off as something else.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::{Mutex, PoisonError},
};

use socket2::SockRef;

use crate::{
    Accepted, Address, AddressError, AdoptError, Backlog, BindError, BindErrorKind, Builder, Census,
    PeerAddr, Queue, Stream, diag,
    error::Act,
    handshakes::CookiesBefore,
    queue::{self, TcpKind},
    sharing::{Origin, Sharing},
    socket_file::SocketFile,
    sys,
};

/// A TCP or Unix stream socket that listens: non-blocking, close-on-exec.
///
/// Dropping it closes it. The kernel then resets every connection that is still in its queue (on a Unix socket: closes
/// it), and a Unix socket's file that was made here is removed first, if it is still the same one.
///
/// A Unix listener holds a second descriptor, on which it asks the kernel for its queue: so the answer is there even
/// when the process is out of descriptors.
///
/// # Examples
///
/// ```
/// use anteroom_listener::Listener;
///
/// let listener = Listener::bind("[::1]:0")?;
/// let backlog = listener.backlog();
/// if backlog.is_clamped() {
///     eprintln!("{}: the kernel granted {:?}", listener.name(), backlog.effective);
/// }
/// # Ok::<(), anteroom_listener::BindError>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    // In this order: the file goes before the queue is destroyed, so that a client finds nobody rather than a reset.
    file: Option<SocketFile>,
    fd: OwnedFd,
    local: Address,
    name: String,
    backlog: Mutex<Backlog>,
    strictness: Strictness,
    pub(crate) tcp_kind: TcpKind,
    pub(crate) sharing: Sharing,
    pub(crate) cookies: CookiesBefore,
    unix_queue: Option<diag::UnixQueue>,
}

/// Whether less than the requested backlog is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Strictness {
    #[default]
    Lenient,
    Strict,
}

/// A bound socket on its way to become a listener.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) fd: OwnedFd,
    pub(crate) local: Address,
    pub(crate) file: Option<SocketFile>,
}

impl Listener {
    /// Chooses how it is made.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Listens on an address with every default: [`Builder::bind`].
    ///
    /// # Errors
    ///
    /// As [`Builder::bind`].
    pub fn bind(address: impl TryInto<Address, Error: Into<AddressError>>) -> Result<Self, BindError> {
        Self::builder().bind(address)
    }

    /// Takes a listening socket that somebody else made: a service manager, a predecessor, another library.
    ///
    /// It checks that it is a stream socket of TCP or Unix that listens, and makes it non-blocking (for everybody who
    /// shares the open socket) and close-on-exec. Its backlog is left as it is, and so is a Unix socket's file when it
    /// closes.
    ///
    /// # Errors
    ///
    /// If it is none of these. The error gives the descriptor back.
    pub fn adopt(fd: OwnedFd) -> Result<Self, AdoptError> {
        crate::adopt::adopt(fd)
    }

    /// Gives it another name.
    #[must_use]
    pub fn with_name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// What it is called in labels and logs; by default the bound address as text.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address as bound, with the port that the kernel chose.
    pub fn local_addr(&self) -> &Address {
        &self.local
    }

    /// What was asked for as the queue's limit, and what the kernel granted when it was last set here.
    pub fn backlog(&self) -> Backlog {
        *self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the limit of the queue at once, by a second listen(2). Nothing that is queued is lost; clients that were
    /// turned away come in at their next retry.
    ///
    /// # Errors
    ///
    /// A backlog of 0; what the kernel says; and for a [strict](Builder::strict_backlog) listener, that the kernel
    /// granted less, in which case that lower limit is in force all the same.
    pub fn set_backlog(&self, backlog: u32) -> Result<Backlog, BindError> {
        if backlog == 0 {
            let error =
                BindError::new(&self.local, BindErrorKind::ZeroBacklog, "a queue needs at least one place");
            return Err(error.during(Act::ChangeBacklog));
        }
        self.listen(Some(backlog)).map_err(|error| error.during(Act::ChangeBacklog))
    }

    /// The queue now. Two calls into the kernel on TCP, neither through netlink (`TCP_INFO`, `SO_MEMINFO`); on a Unix
    /// socket a question to `unix_diag`.
    ///
    /// # Platform
    ///
    /// Linux; elsewhere every field is `None`. So it is on Linux where something between forbids it, as sandboxes do.
    pub fn queue(&self) -> Queue {
        match &self.local {
            Address::Tcp(_) => Queue::of_tcp(self.as_fd(), self.tcp_kind),
            Address::Unix(_) => {
                let (depth, limit) =
                    self.unix_queue.as_ref().and_then(diag::UnixQueue::depth_and_limit).unzip();
                Queue { depth, limit, ..Queue::UNKNOWN }
            }
        }
    }

    /// How many connections wait in the queue: one `TCP_INFO`, cheap enough for every turn of an accept loop. `None` on
    /// a Unix socket, whose answer is dearer (see [`queue`](Self::queue)), and where the platform does not tell.
    pub fn depth(&self) -> Option<u32> {
        match &self.local {
            Address::Tcp(_) => Some(queue::tcp_depth_and_limit(self.as_fd())?.0),
            Address::Unix(_) => None,
        }
    }

    /// What the peers of the queued connections did, counted before anybody accepts them (`sock_diag`, sock_diag(7)).
    ///
    /// Its cost grows with the number of connections of the whole network namespace: ask rarely, or on demand.
    ///
    /// `None` for a Unix socket, where the platform does not tell, and with `SO_REUSEPORT`, where the kernel does not say
    /// which listener of the group a connection waits at.
    ///
    /// # Errors
    ///
    /// What socket(2), send(2) or recv(2) on the netlink socket gives, or an answer that cannot be read.
    pub fn census(&self) -> io::Result<Option<Census>> {
        let Some(local) = self.local.tcp() else { return Ok(None) };
        if SockRef::from(self).reuse_port()? {
            return Ok(None);
        }
        let Some(before) = self.depth() else { return Ok(None) };
        let Some((open, closed)) = diag::queued_by_state(local)? else { return Ok(None) };
        // Accepting and arriving move the depth meanwhile; the lower of the two readings errs towards no resets.
        let depth = self.depth().map_or(before, |after| after.min(before));
        Ok(Some(Census::new(open, closed, depth)))
    }

    /// Takes one connection from the queue: one accept4(2), which never waits. The new socket is non-blocking and
    /// close-on-exec.
    ///
    /// # Errors
    ///
    /// What the kernel says, as it is; [`AcceptErrorClass`](crate::AcceptErrorClass) sorts it. `WouldBlock`: the queue is
    /// empty.
    pub fn accept(&self) -> io::Result<Accepted> {
        let (socket, address) = sys::accept(self.as_fd())?;
        let fd = OwnedFd::from(socket);
        Ok(match &self.local {
            Address::Unix(_) => Accepted::new(Stream::Unix(fd.into()), PeerAddr::Unix),
            Address::Tcp(_) => {
                let peer = address.as_socket().ok_or_else(|| io::Error::from_raw_os_error(libc::EPROTO))?;
                Accepted {
                    stream: Stream::Tcp(fd.into()),
                    peer: PeerAddr::Tcp(peer),
                    tcp_kind: Some(self.tcp_kind),
                }
            }
        })
    }

    /// Closes it: the same as dropping it, said aloud.
    pub fn close(self) {}

    /// listen(2) on what was just bound.
    pub(crate) fn start(
        parts: Parts,
        name: Option<String>,
        backlog: Option<u32>,
        strictness: Strictness,
    ) -> Result<Self, BindError> {
        let listener = Self::from_parts(parts, name, strictness, Origin::Own);
        listener.listen(backlog)?;
        Ok(listener)
    }

    pub(crate) fn socket_file(&self) -> Option<&SocketFile> {
        self.file.as_ref()
    }

    /// Leaves a Unix socket's file behind when this closes.
    pub(crate) fn keep_socket_file(&mut self) {
        if let Some(file) = self.file.take() {
            file.keep();
        }
    }

    /// What listens already.
    pub(crate) fn adopted(parts: Parts) -> Self {
        let listener = Self::from_parts(parts, None, Strictness::Lenient, Origin::Adopted);
        listener.remember(Backlog { requested: None, effective: listener.queue().limit });
        listener
    }

    fn from_parts(parts: Parts, name: Option<String>, strictness: Strictness, origin: Origin) -> Self {
        let Parts { fd, local, file } = parts;
        let unix_queue = match &local {
            Address::Tcp(_) => None,
            Address::Unix(_) => diag::UnixQueue::of(fd.as_fd()),
        };
        let tcp_kind = if sys::options::is_mptcp(fd.as_fd()) { TcpKind::Multipath } else { TcpKind::Plain };
        let name = name.unwrap_or_else(|| local.to_string());
        let backlog = Mutex::new(Backlog { requested: None, effective: None });
        let (sharing, cookies) = (Sharing::new(origin), CookiesBefore::of(&local));
        Self { file, fd, local, name, backlog, strictness, tcp_kind, sharing, cookies, unix_queue }
    }

    /// listen(2), and what came of it.
    fn listen(&self, requested: Option<u32>) -> Result<Backlog, BindError> {
        let asked = requested.and_then(|backlog| i32::try_from(backlog).ok()).unwrap_or(i32::MAX);
        SockRef::from(self).listen(asked).map_err(|error| BindError::kernel(&self.local, error))?;
        let backlog = Backlog { requested, effective: self.queue().limit };
        self.remember(backlog);
        match (self.strictness, requested) {
            (Strictness::Strict, Some(requested)) => self.judge(requested, backlog),
            _ => Ok(backlog),
        }
    }

    fn judge(&self, requested: u32, backlog: Backlog) -> Result<Backlog, BindError> {
        match backlog.effective {
            Some(effective) if effective >= requested => Ok(backlog),
            Some(effective) => {
                let somaxconn = sys::somaxconn();
                let kind = BindErrorKind::Clamped { requested, effective, somaxconn };
                let advice = match somaxconn {
                    Some(now) => {
                        format!("net.core.somaxconn is {now}: raise it to {requested} or ask for less")
                    }
                    None => format!("raise net.core.somaxconn to {requested} or ask for less"),
                };
                Err(BindError::new(&self.local, kind, advice))
            }
            None => {
                let advice = "leave strict_backlog out where the effective backlog cannot be read";
                Err(BindError::new(&self.local, BindErrorKind::BacklogUnknown, advice))
            }
        }
    }

    fn remember(&self, backlog: Backlog) {
        *self.backlog.lock().unwrap_or_else(PoisonError::into_inner) = backlog;
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// The descriptor goes on listening, or stays [fenced](Listener::fence) if it is; a Unix socket's file stays.
impl From<Listener> for OwnedFd {
    fn from(mut listener: Listener) -> Self {
        listener.keep_socket_file();
        listener.fd
    }
}
