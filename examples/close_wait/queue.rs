//! The accept queue of this process's listener.
//!
//! Owns: a second descriptor of the listener, so that the kernel can be asked whatever the runtime does.
//! Never: accepts.

use anteroom::Listener;
use std::{io, os::fd::AsFd};

/// What the kernel says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    /// Connections that wait.
    pub(crate) depth: Option<u64>,
    /// How many may, by the kernel's own count; one more fits.
    pub(crate) limit: Option<u64>,
    /// Segments that this listener dropped, because the queue was full for the most part.
    pub(crate) drops: Option<u64>,
}

/// See the module.
pub(crate) struct Gauge {
    listener: Listener,
}

impl Gauge {
    /// On any listening socket, whoever accepts from it.
    pub(crate) fn on(listener: &impl AsFd) -> io::Result<Self> {
        let second = listener.as_fd().try_clone_to_owned()?;
        Ok(Self { listener: Listener::adopt(second)? })
    }

    pub(crate) fn read(&self) -> Queue {
        let queue = self.listener.queue();
        Queue { depth: queue.depth.map(u64::from), limit: queue.limit.map(u64::from), drops: queue.drops }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_foreign_listener_is_read_while_somebody_else_holds_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gauge = Gauge::on(&listener).unwrap();
        let before = gauge.read();
        assert_eq!((before.depth, before.drops), (Some(0), Some(0)));
        assert!(before.limit > Some(0));
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while gauge.read().depth != Some(1) {
            assert!(std::time::Instant::now() < end, "{:?}", gauge.read());
            std::thread::yield_now();
        }
    }
}
