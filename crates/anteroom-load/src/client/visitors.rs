//! Clients that wait for an answer as long as their patience lasts, all on one epoll set.
//!
//! Owns: connect, send, hear, give up in the named manner, and one [`Visit`] for each.
//! Never: decides when somebody comes; its caller does.

use super::{
    Leaving,
    visit::{Ending, Hearing, Visit, Visitor},
    {begin_connect, reset_on_close, stream_socket},
};
use crate::measure::now;
use rustix::{
    event::{Timespec, epoll},
    io::Errno,
    net::{SendFlags, Shutdown, sockopt},
};
use std::{cmp::Reverse, collections::BinaryHeap, fmt, io, net::SocketAddr, os::fd::OwnedFd, time::Duration};

const EVENTS_PER_WAIT: usize = 256;

/// What one read takes at most.
const READ: usize = 4096;

struct Present {
    socket: OwnedFd,
    visitor: Visitor,
    visit: Visit,
    unsent: usize,
    /// The slot's occupants differ in it.
    number: u64,
    half_closed: HalfClosed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum HalfClosed {
    No,
    Yes,
}

/// See the module.
pub struct Visitors {
    epoll: OwnedFd,
    present: Vec<Option<Present>>,
    free: Vec<usize>,
    departures: BinaryHeap<Reverse<(Duration, usize, u64)>>,
    ended: Vec<Visit>,
    count: u64,
    events: Vec<epoll::Event>,
}

impl Visitors {
    /// Nobody.
    ///
    /// # Errors
    ///
    /// There is no epoll set to be had.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            present: Vec::new(),
            free: Vec::new(),
            departures: BinaryHeap::new(),
            ended: Vec::new(),
            count: 0,
            events: Vec::with_capacity(EVENTS_PER_WAIT),
        })
    }

    /// One more, who was meant to come at `intended`. Whatever goes wrong is its ending.
    pub fn arrive(&mut self, visitor: Visitor, intended: Duration) {
        let began = now();
        let visit = Visit {
            local: None,
            intended,
            began,
            connected: None,
            sent: None,
            ended: began,
            leaving: visitor.leaving,
            ending: Ending::NotStarted,
            heard: Vec::new(),
        };
        match begin(&visitor) {
            Ok(socket) => self.admit(socket, visitor, visit),
            Err(_) => self.ended.push(visit),
        }
    }

    /// How many have not ended.
    #[must_use]
    pub fn present(&self) -> usize {
        self.present.len() - self.free.len()
    }

    /// Drives everybody until `until`, and returns as soon as something happened.
    ///
    /// # Errors
    ///
    /// When waiting itself fails.
    pub fn wait(&mut self, until: Duration) -> io::Result<()> {
        let departure = self.departures.peek().map_or(until, |Reverse((moment, ..))| *moment);
        let timeout = departure.min(until).saturating_sub(now());
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        self.events.clear();
        let mut events = std::mem::take(&mut self.events);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            self.step(usize::try_from({ event.data }.u64()).unwrap_or(usize::MAX));
        }
        self.events = events;
        self.leave_due();
        Ok(())
    }

    /// The records of those who ended since this was asked last.
    pub fn take_ended(&mut self) -> Vec<Visit> {
        std::mem::take(&mut self.ended)
    }

    /// Everybody leaves now, in his manner.
    pub fn dismiss(&mut self) {
        for slot in 0..self.present.len() {
            self.give_up(slot);
        }
        self.departures.clear();
    }

    /// The visitor that `which` counts off among the present leaves now, in its manner; wraps around.
    /// `None` when nobody is there.
    pub fn dismiss_one(&mut self, which: usize) -> Option<Visit> {
        let occupied: Vec<_> = self
            .present
            .iter()
            .enumerate()
            .filter(|(_, place)| place.is_some())
            .map(|(slot, _)| slot)
            .collect();
        let slot = occupied.get(which.checked_rem(occupied.len())?)?;
        self.give_up(*slot);
        self.ended.pop()
    }

    fn admit(&mut self, socket: OwnedFd, visitor: Visitor, mut visit: Visit) {
        visit.local = rustix::net::getsockname(&socket).ok().and_then(|name| SocketAddr::try_from(name).ok());
        let unsent = if speaks(visitor.leaving) { visitor.request.len() } else { 0 };
        let leaves = visit.began.saturating_add(visitor.patience);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.present.push(None);
            self.present.len() - 1
        });
        self.count += 1;
        let mut present =
            Present { socket, visitor, visit, unsent, number: self.count, half_closed: HalfClosed::No };
        present.see_handshake();
        // An error shows at the next event.
        let _ = present.send();
        let data = epoll::EventData::new_u64(slot as u64);
        if epoll::add(&self.epoll, &present.socket, data, present.interest()).is_err() {
            self.free.push(slot);
            self.ended.push(present.visit);
            return;
        }
        self.departures.push(Reverse((leaves, slot, present.number)));
        if let Some(place) = self.present.get_mut(slot) {
            *place = Some(present);
        }
    }

    fn step(&mut self, slot: usize) {
        let Some(present) = self.present.get_mut(slot).and_then(Option::as_mut) else { return };
        let before = present.interest();
        present.see_handshake();
        let ending = match present.send().and_then(|()| present.hear()) {
            Ok(None) => {
                let interest = present.interest();
                if interest != before {
                    let data = epoll::EventData::new_u64(slot as u64);
                    // The socket is in the set: it was added, and closing is the only way out.
                    let _ = epoll::modify(&self.epoll, &present.socket, data, interest);
                }
                return;
            }
            Ok(Some(ending)) => ending,
            Err(_) if present.visit.connected.is_none() => Ending::NeverConnected,
            Err(_) => Ending::Reset,
        };
        self.end(slot, ending);
    }

    fn leave_due(&mut self) {
        let moment = now();
        while let Some(Reverse((leaves, slot, number))) = self.departures.peek().copied() {
            if leaves > moment {
                return;
            }
            self.departures.pop();
            let here = self.present.get(slot).and_then(Option::as_ref);
            if here.is_some_and(|present| present.number == number) {
                self.give_up(slot);
            }
        }
    }

    fn give_up(&mut self, slot: usize) {
        let Some(present) = self.present.get_mut(slot).and_then(Option::as_mut) else { return };
        present.see_handshake();
        let manner = present.visitor.leaving;
        if present.visit.connected.is_none() {
            return self.end(slot, Ending::NeverConnected);
        }
        if manner == Leaving::SendAndHalfClose && present.half_closed == HalfClosed::No {
            present.half_closed = HalfClosed::Yes;
            let _ = rustix::net::shutdown(&present.socket, Shutdown::Write);
            let again = now().saturating_add(present.visitor.patience);
            self.departures.push(Reverse((again, slot, present.number)));
            return;
        }
        self.end(slot, Ending::GaveUp);
    }

    fn end(&mut self, slot: usize, ending: Ending) {
        let Some(mut present) = self.present.get_mut(slot).and_then(Option::take) else { return };
        self.free.push(slot);
        let leaves_by_fin = ending == Ending::GaveUp
            && matches!(present.visitor.leaving, Leaving::Silent | Leaving::SendAndClose);
        if !leaves_by_fin {
            // A reset leaves no TIME_WAIT, of which a load would make too many. The socket is valid.
            let _ = reset_on_close(&present.socket);
        }
        drop(present.socket);
        // After the close: from this moment on the server could know.
        present.visit.ended = now();
        present.visit.ending = ending;
        self.ended.push(present.visit);
    }
}

impl Present {
    fn interest(&self) -> epoll::EventFlags {
        let hearing = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        let busy = self.unsent > 0 || self.visit.connected.is_none();
        if busy { hearing | epoll::EventFlags::OUT } else { hearing }
    }

    fn see_handshake(&mut self) {
        if self.visit.connected.is_none() && rustix::net::getpeername(&self.socket).is_ok() {
            self.visit.connected = Some(now());
        }
    }

    fn send(&mut self) -> io::Result<()> {
        while self.unsent > 0 {
            let sent = self.visitor.request.len() - self.unsent;
            let rest = self.visitor.request.get(sent..).unwrap_or_default();
            match rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL) {
                Ok(more) => self.unsent -= more.min(self.unsent),
                Err(Errno::AGAIN | Errno::INTR | Errno::NOTCONN) => return Ok(()),
                // What the server said before it closed can still be read.
                Err(Errno::PIPE | Errno::CONNRESET) => break,
                Err(error) => return Err(error.into()),
            }
        }
        if self.visit.sent.is_none() && self.unsent == 0 {
            self.visit.sent = Some(now());
        }
        Ok(())
    }

    fn hear(&mut self) -> io::Result<Option<Ending>> {
        let mut bytes = [0_u8; READ];
        loop {
            match rustix::io::read(&self.socket, &mut bytes) {
                Ok(0) if self.visit.heard.is_empty() => return Ok(Some(Ending::Closed)),
                Ok(0) => return Ok(Some(Ending::Answered)),
                Ok(count) => {
                    self.visit.heard.extend(bytes.get(..count).unwrap_or_default());
                    if self.visitor.hearing == Hearing::FirstByte {
                        return Ok(Some(Ending::Answered));
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
                // An unfinished handshake.
                Err(Errno::NOTCONN) if self.visit.connected.is_none() => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl fmt::Debug for Visitors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitors")
            .field("present", &self.present())
            .field("ended", &self.ended.len())
            .finish()
    }
}

fn speaks(manner: Leaving) -> bool {
    matches!(manner, Leaving::SendAndClose | Leaving::SendAndHalfClose)
}

fn begin(visitor: &Visitor) -> io::Result<OwnedFd> {
    let socket = stream_socket(visitor.target)?;
    if let Some(source) = visitor.source {
        if source.is_ipv6() {
            // An address of a prefix that is routed here need not be configured one by one.
            sockopt::set_ipv6_freebind(&socket, true)?;
        }
        rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
    }
    begin_connect(&socket, visitor.target)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::{Shutdown as Side, TcpListener, TcpStream},
        sync::Arc,
    };

    const FAR: Duration = Duration::from_secs(20);

    fn visitor(listener: &TcpListener, leaving: Leaving, patience: Duration) -> Visitor {
        Visitor {
            target: listener.local_addr().unwrap(),
            source: Some("127.0.7.8".parse().unwrap()),
            request: Arc::from(&b"hello"[..]),
            hearing: Hearing::FirstByte,
            leaving,
            patience,
        }
    }

    fn listen() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    fn the_only(visitors: &mut Visitors) -> Visit {
        let bound = now() + FAR;
        loop {
            visitors.wait(bound).unwrap();
            if let Some(visit) = visitors.take_ended().pop() {
                return visit;
            }
            assert!(now() < bound, "nobody ends");
        }
    }

    fn accept(listener: &TcpListener) -> TcpStream {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(FAR)).unwrap();
        stream
    }

    #[test]
    fn who_is_answered_in_time_says_when_and_from_where() {
        let listener = listen();
        let mut visitors = Visitors::new().unwrap();
        visitors.arrive(visitor(&listener, Leaving::Silent, FAR), now());
        let mut stream = accept(&listener);
        let peer = stream.peer_addr().ok();
        stream.write_all(b"y").unwrap();
        let visit = the_only(&mut visitors);
        assert_eq!((visit.ending, &visit.heard[..]), (Ending::Answered, &b"y"[..]));
        assert_eq!(visit.local, peer);
        assert!(visit.began <= visit.connected.unwrap() && visit.connected.unwrap() <= visit.ended);
        assert_eq!(visitors.present(), 0);
    }

    #[test]
    fn who_loses_patience_leaves_in_the_named_manner() {
        let listener = listen();
        for (leaving, expected) in [
            (Leaving::Silent, Ok(0)),
            (Leaving::Reset, Err(io::ErrorKind::ConnectionReset)),
            (Leaving::SendAndClose, Ok(5)),
        ] {
            let mut visitors = Visitors::new().unwrap();
            visitors.arrive(visitor(&listener, leaving, Duration::from_millis(20)), now());
            let visit = the_only(&mut visitors);
            assert!(visit.left(leaving), "{visit:?}");
            assert!(visit.took() >= Duration::from_millis(20), "{visit:?}");
            let mut bytes = [0; 16];
            assert_eq!(
                accept(&listener).read(&mut bytes).map_err(|error| error.kind()),
                expected,
                "{leaving}"
            );
        }
    }

    #[test]
    fn who_half_closed_is_answered_still() {
        let listener = listen();
        let mut visitors = Visitors::new().unwrap();
        visitors.arrive(visitor(&listener, Leaving::SendAndHalfClose, FAR), now());
        visitors.dismiss();
        let mut stream = accept(&listener);
        let mut request = Vec::new();
        stream.read_to_end(&mut request).unwrap();
        assert_eq!(request, b"hello");
        stream.write_all(b"y").unwrap();
        assert_eq!(the_only(&mut visitors).ending, Ending::Answered);
    }

    #[test]
    fn what_the_server_does_instead_has_its_own_name() {
        let listener = listen();
        let mut visitors = Visitors::new().unwrap();
        visitors.arrive(visitor(&listener, Leaving::Silent, FAR), now());
        drop(accept(&listener));
        assert_eq!(the_only(&mut visitors).ending, Ending::Closed);
        visitors.arrive(visitor(&listener, Leaving::SendAndClose, FAR), now());
        let stream = accept(&listener);
        stream.peek(&mut [0]).unwrap();
        // Unread bytes: the close is a reset.
        drop(stream);
        assert_eq!(the_only(&mut visitors).ending, Ending::Reset);
        let nobody = listener.local_addr().unwrap();
        drop(listener);
        let stranger = Visitor { target: nobody, ..visitor(&listen(), Leaving::Silent, FAR) };
        visitors.arrive(stranger, now());
        let ending = the_only(&mut visitors).ending;
        assert!(matches!(ending, Ending::NeverConnected | Ending::NotStarted), "{ending}");
    }

    #[test]
    fn a_long_request_is_sent_to_the_end_and_a_long_answer_is_heard_to_the_end() {
        let listener = listen();
        let mut visitors = Visitors::new().unwrap();
        let long: Arc<[u8]> = vec![7; 4_000_000].into();
        let talker = Visitor {
            request: Arc::clone(&long),
            hearing: Hearing::UntilTheEnd,
            ..visitor(&listener, Leaving::SendAndClose, FAR)
        };
        visitors.arrive(talker, now());
        let mut stream = accept(&listener);
        let server = std::thread::spawn(move || {
            let mut request = vec![0; 4_000_000];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(&request[..1_000_000]).unwrap();
            stream.shutdown(Side::Write).unwrap();
            stream
        });
        let visit = the_only(&mut visitors);
        assert_eq!(visit.ending, Ending::Answered);
        assert_eq!(visit.heard, long[..1_000_000]);
        assert!(visit.sent.is_some());
        server.join().unwrap();
    }
}
