//! The connections under way of one load client, all on one epoll set.
//!
//! Owns: connect, send, await the first byte, reset.
//! Never: decides when a connection starts; the two loops do.

use super::{begin_connect, reset_on_close, stream_socket};
use rustix::event::{Timespec, epoll};
use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

/// How many events one wait takes at most.
const EVENTS_PER_WAIT: usize = 256;

/// What a client says; any first byte back ends the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    request: Arc<[u8]>,
}

impl Exchange {
    /// One byte there, one byte back.
    #[must_use]
    pub fn one_byte() -> Self {
        Self { request: Arc::from(&b"x"[..]) }
    }

    /// `GET /` on a connection that is not used again.
    #[must_use]
    pub fn http_get() -> Self {
        Self { request: Arc::from(&b"GET / HTTP/1.1\r\nHost: load\r\nConnection: close\r\n\r\n"[..]) }
    }

    /// The bytes that the client sends.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        &self.request
    }
}

/// How one connection ended.
pub(super) enum Landing {
    /// The first byte came `0` after the intended start.
    Answered(Duration),
    /// It did not.
    Failed(io::Error),
}

struct Flight {
    socket: OwnedFd,
    intended: Instant,
    unsent: usize,
}

/// See the module.
pub(super) struct Flights {
    target: SocketAddr,
    exchange: Exchange,
    epoll: OwnedFd,
    flights: Vec<Option<Flight>>,
    free: Vec<usize>,
    events: Vec<epoll::Event>,
}

impl Flights {
    pub(super) fn new(target: SocketAddr, exchange: Exchange) -> io::Result<Self> {
        Ok(Self {
            target,
            exchange,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            flights: Vec::new(),
            free: Vec::new(),
            events: Vec::with_capacity(EVENTS_PER_WAIT),
        })
    }

    /// How many are under way.
    pub(super) fn under_way(&self) -> usize {
        self.flights.len() - self.free.len()
    }

    /// Starts one whose time counts from `intended`. An error concerns this one alone.
    pub(super) fn launch(&mut self, intended: Instant) -> io::Result<()> {
        let socket = stream_socket(self.target)?;
        reset_on_close(&socket)?;
        begin_connect(&socket, self.target)?;
        let mut flight = Flight { socket, intended, unsent: self.exchange.request.len() };
        send(&mut flight, &self.exchange)?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.flights.push(None);
            self.flights.len() - 1
        });
        let data = epoll::EventData::new_u64(slot as u64);
        match epoll::add(&self.epoll, &flight.socket, data, interest(&flight)) {
            Ok(()) => {
                if let Some(place) = self.flights.get_mut(slot) {
                    *place = Some(flight);
                }
                Ok(())
            }
            Err(error) => {
                self.free.push(slot);
                Err(error.into())
            }
        }
    }

    /// Waits until something happened, `timeout` at most (to the nanosecond: an open loop needs it), and tells
    /// each connection that ended.
    pub(super) fn wait(&mut self, timeout: Duration, mut landed: impl FnMut(Landing)) -> io::Result<()> {
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        self.events.clear();
        let mut events = std::mem::take(&mut self.events);
        let waited = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout));
        match waited {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let slot = usize::try_from({ event.data }.u64()).unwrap_or(usize::MAX);
            if let Some(landing) = self.step(slot) {
                landed(landing);
            }
        }
        self.events = events;
        Ok(())
    }

    /// Ends everything that is under way; the number that had no answer.
    pub(super) fn abandon(&mut self) -> u64 {
        let lost = self.under_way() as u64;
        self.flights.clear();
        self.free.clear();
        lost
    }

    fn step(&mut self, slot: usize) -> Option<Landing> {
        let place = self.flights.get_mut(slot)?;
        let flight = place.as_mut()?;
        let landing = match advance(flight, &self.exchange, &self.epoll, slot) {
            Ok(Some(took)) => Landing::Answered(took),
            Ok(None) => return None,
            Err(error) => Landing::Failed(error),
        };
        // Closing takes the socket out of the epoll set, and resets the connection.
        *place = None;
        self.free.push(slot);
        Some(landing)
    }
}

fn interest(flight: &Flight) -> epoll::EventFlags {
    if flight.unsent > 0 { epoll::EventFlags::OUT } else { epoll::EventFlags::IN }
}

fn advance(
    flight: &mut Flight,
    exchange: &Exchange,
    epoll: &OwnedFd,
    slot: usize,
) -> io::Result<Option<Duration>> {
    if flight.unsent > 0 {
        send(flight, exchange)?;
        if flight.unsent == 0 {
            epoll::modify(
                epoll,
                &flight.socket,
                epoll::EventData::new_u64(slot as u64),
                epoll::EventFlags::IN,
            )?;
        }
        return Ok(None);
    }
    let mut answer = [0_u8; 512];
    match rustix::io::read(&flight.socket, &mut answer) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer")),
        Ok(_) => Ok(Some(flight.intended.elapsed())),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sends what is left. A handshake that has not ended is not an error: the socket becomes writable later.
fn send(flight: &mut Flight, exchange: &Exchange) -> io::Result<()> {
    let sent = exchange.request.len() - flight.unsent;
    let Some(rest) = exchange.request.get(sent..) else { return Ok(()) };
    match rustix::net::send(&flight.socket, rest, rustix::net::SendFlags::NOSIGNAL) {
        Ok(more) => flight.unsent -= more.min(flight.unsent),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR | rustix::io::Errno::NOTCONN) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
