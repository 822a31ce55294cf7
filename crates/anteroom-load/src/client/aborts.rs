//! Clients that end their connection with a reset, at any moment of its life.
//!
//! Owns: who says what before, and when it ends: the next connection takes the place of one that is drawn, so
//! that ages differ from nothing to long.
//! Never: reads, waits for anything, or notes more than a count; a million must be cheap.

use super::{begin_connect, reset_on_close, stream_socket};
use rustix::net::{SendFlags, bind, send};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A load of aborted connections, for one thread.
#[derive(Clone, Debug)]
pub struct Aborts {
    /// The server.
    pub target: SocketAddr,
    /// Drawn for each.
    pub sources: Vec<IpAddr>,
    /// Drawn for each; an empty one is silence.
    pub requests: Vec<Arc<[u8]>>,
    /// How many connections.
    pub count: u64,
    /// How many there are at a time: a connection lives for so many others on average.
    pub at_once: usize,
    /// Of what is drawn.
    pub seed: u64,
}

impl Aborts {
    /// Runs on this thread; counts in `made` what has been begun, and gives how many could not begin.
    ///
    /// # Errors
    ///
    /// When there is nothing to draw from, or not one connection can begin.
    pub fn run(&self, made: &AtomicU64) -> io::Result<u64> {
        let mut draw = Draw(self.seed | 1);
        let mut present: Vec<Option<OwnedFd>> = Vec::new();
        present.resize_with(self.at_once.max(1), || None);
        let mut not_begun = 0;
        for _ in 0..self.count {
            let (Some(source), Some(request)) = (draw.of(&self.sources), draw.of(&self.requests)) else {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "nothing to draw from"));
            };
            match self.begin(*source, request) {
                Ok(socket) => {
                    made.fetch_add(1, Ordering::Relaxed);
                    let slot = draw.below(present.len());
                    // Whoever was there is reset with it.
                    if let Some(place) = present.get_mut(slot) {
                        *place = Some(socket);
                    }
                }
                Err(error) => {
                    not_begun += 1;
                    if not_begun == self.count {
                        return Err(error);
                    }
                }
            }
        }
        Ok(not_begun)
    }

    fn begin(&self, source: IpAddr, request: &[u8]) -> io::Result<OwnedFd> {
        let socket = stream_socket(self.target)?;
        reset_on_close(&socket)?;
        bind(&socket, &SocketAddr::new(source, 0))?;
        begin_connect(&socket, self.target)?;
        if !request.is_empty() {
            // Refused already, or not yet connected: then it is one that said nothing.
            let _ = send(&socket, request, SendFlags::NOSIGNAL);
        }
        Ok(socket)
    }
}

/// Xorshift: what is drawn depends on the seed alone.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0).checked_rem(bound).unwrap_or(0)
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read, net::TcpListener};

    #[test]
    fn every_connection_ends_with_a_reset_whatever_it_said() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let aborts = Aborts {
            target: listener.local_addr().unwrap(),
            sources: vec!["127.0.0.2".parse().unwrap(), "127.0.0.3".parse().unwrap()],
            requests: vec![Arc::from(&b""[..]), Arc::from(&b"hello"[..])],
            count: 40,
            at_once: 8,
            seed: 1,
        };
        let made = AtomicU64::new(0);
        assert_eq!(aborts.run(&made).unwrap(), 0);
        assert_eq!(made.load(Ordering::Relaxed), 40);
        let mut sources = Vec::new();
        for _ in 0..40 {
            let (mut stream, peer) = listener.accept().unwrap();
            sources.push(peer.ip());
            let mut said = Vec::new();
            let end = stream.read_to_end(&mut said).unwrap_err();
            assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
        }
        sources.sort();
        sources.dedup();
        assert_eq!(sources, aborts.sources);
    }
}
