//! A service manager, as far as notifications go.
//!
//! Owns the socket that `NOTIFY_SOCKET` names, and what came in.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::waiting::found;

/// How soon its thread sees that it is over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The most descriptors in one message.
const MOST: usize = 8;

/// One notification.
#[derive(Debug)]
pub struct Message {
    /// When it was read.
    pub at: Instant,
    /// Its lines.
    pub lines: Vec<String>,
    /// What came along.
    pub descriptors: Vec<OwnedFd>,
}

impl Message {
    /// What a line that begins so goes on with.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether one of its lines is this.
    #[must_use]
    pub fn says(&self, line: &str) -> bool {
        self.lines.iter().any(|said| said == line)
    }
}

/// It listens until it is dropped.
#[derive(Debug)]
pub struct Manager {
    name: String,
    heard: Arc<Mutex<Vec<Message>>>,
}

impl Manager {
    /// Listens there: a path, or `@` and an abstract name.
    #[must_use]
    pub fn at(name: &str) -> Self {
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(name),
        };
        let socket = UnixDatagram::bind_addr(&address.expect("an address")).expect("nobody is there");
        socket.set_read_timeout(Some(LOOK_EVERY)).expect("it has a timeout");
        let heard = Arc::default();
        let ear = Arc::downgrade(&heard);
        thread::spawn(move || listen(&socket, &ear));
        Self { name: name.to_owned(), heard }
    }

    /// What starts a program as the manager does: for
    /// [`ServerProcess::start_under`](crate::child::ServerProcess::start_under).
    #[must_use]
    pub fn starter(&self, settings: &str) -> [String; 4] {
        let script = format!("export NOTIFY_SOCKET=\"$0\" {settings}; exec \"$@\"");
        ["sh".into(), "-c".into(), script, self.name.clone()]
    }

    /// Looks at what came so far, in its order.
    pub fn heard<T>(&self, look: impl FnOnce(&mut Vec<Message>) -> T) -> T {
        look(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a message that begins, ends or holds what is wanted, and gives its number.
    pub fn hears(&self, what: &str, is_it: impl Fn(&Message) -> bool) -> usize {
        found(what, || self.heard(|heard| heard.iter().position(&is_it)))
    }

    /// Waits for a message with this line, and gives its number.
    pub fn hears_line(&self, line: &str) -> usize {
        self.hears(line, |message| message.says(line))
    }

    /// Waits for one more message with this line than there are.
    pub fn hears_another(&self, line: &str) {
        let count = || self.heard(|heard| heard.iter().filter(|message| message.says(line)).count());
        let before = count();
        found(line, || (count() > before).then_some(()));
    }
}

fn listen(socket: &UnixDatagram, ear: &Weak<Mutex<Vec<Message>>>) {
    let mut text = [0; 8192];
    while ear.strong_count() > 0 {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut along = RecvAncillaryBuffer::new(&mut space);
        let read = recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut along, RecvFlags::CMSG_CLOEXEC);
        let (Ok(read), Some(heard)) = (read, ear.upgrade()) else { continue };
        let at = Instant::now();
        let lines = String::from_utf8_lossy(&text[..read.bytes]).lines().map(str::to_owned).collect();
        let descriptors = along
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten()
            .collect();
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(Message { at, lines, descriptors });
    }
}
