//! The waiting room in virtual time: for simulations, benchmarks and for trying settings out.
//!
//! Owns the virtual time, and the acceptor's few steps around the room: looking at the peer of an
//! arrival, watching who waits, looking again at who is taken. Whatever is decided is decided by the
//! very code that a server runs. Never a socket, a task or a clock: time comes in.

mod answer;
mod visitor;

use std::fmt;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anteroom_listener::PeerAddr;

pub use self::answer::{Arrived, Counts, Ended, Fate, Place, Taken, Tended, Ticket};
pub use self::visitor::{Peer, Visitor};
use crate::admit::{
    self, Access, Admission, Age, Arrival, Cause, Judge, Judgement, LaneRules, Take, Token, Turn, Voice,
};
use crate::config::{Config, ConfigError, DescriptorBudget};
use crate::gate::{LOOK_AGAIN_AFTER, Parked, WATCH_AFTER};
use crate::tick::Tick;

/// A waiting room without sockets. Every time is counted from its start and must not go back.
///
/// Who runs it is the kernel, the acceptor and the service at once: lets clients
/// [arrive](Self::arrive), [takes](Self::take) them when it can serve one more,
/// [releases](Self::release) their places, [tends](Self::tend) the room when something is
/// [due](Self::next_due), and says when a client that is watched [hangs up](Self::hang_up).
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use anteroom::simulate::{Peer, Room, Taken, Visitor};
///
/// let mut config = anteroom::Config::default();
/// config.max_connections = Some(1);
/// let mut room = Room::new(&config, 1, 0)?;
/// let ms = Duration::from_millis;
/// room.arrive(Visitor::new(1, ms(3)), ms(5));
/// room.arrive(Visitor::new(2, ms(4)), ms(5));
/// let Taken::Served { id: 1, place } = room.take(0, ms(5), |_| Peer::Spoke) else { panic!() };
/// assert!(matches!(room.take(0, ms(6), |_| Peer::Spoke), Taken::NoPlace));
/// room.release(place, ms(7));
/// // The second one has left meanwhile.
/// assert!(matches!(room.take(0, ms(8), |_| Peer::Reset), Taken::Ended { id: 2, .. }));
/// # Ok::<(), anteroom::ConfigError>(())
/// ```
pub struct Room {
    room: admit::Room<Standin>,
    judge: Judge,
    access: Access,
    lanes: usize,
    start: Tick,
}

/// What the room holds of a client: as large as what a server's room holds of a connection, so that
/// the memory it takes and moves is the same.
#[derive(Debug)]
struct Standin {
    id: u64,
    age: Age,
    is_unix: bool,
    /// What a connection has more.
    _rest: [u8; size_of::<Parked>() - size_of::<(u64, Age, bool)>()],
}

impl Standin {
    fn peer(&self) -> PeerAddr {
        if self.is_unix { PeerAddr::Unix } else { PeerAddr::Tcp(SOMEWHERE) }
    }
}

/// What is judged is whether it is TCP, not the address.
const SOMEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Room {
    /// A room for so many services, empty. Whatever happens in it follows from the settings, the
    /// `seed` and what is done to it.
    ///
    /// [`DescriptorBudget::Fixed`] holds; the other budgets ask the process and do not.
    ///
    /// # Errors
    /// The settings cannot be meant.
    pub fn new(config: &Config, lanes: usize, seed: u64) -> Result<Self, ConfigError> {
        config.check()?;
        let start = Tick::now();
        let lanes = lanes.max(1);
        let room = admit::Room::new(&vec![LaneRules::default(); lanes], rules(config), start, seed);
        Ok(Self { room, judge: config.judge(), access: config.access(), lanes, start })
    }

    /// From now on these settings hold.
    ///
    /// # Errors
    /// The settings cannot be meant; nothing has changed.
    pub fn reconfigure(&mut self, config: &Config, now: Duration) -> Result<(), ConfigError> {
        config.check()?;
        self.room.set_rules(rules(config), self.at(now));
        self.judge = config.judge();
        self.access = config.access();
        Ok(())
    }

    /// A connection is accepted.
    pub fn arrive(&mut self, visitor: Visitor, now: Duration) -> Arrived {
        let Visitor { id, handshake, from, peer, lane } = visitor;
        let now = self.at(now);
        let age = Age { handshake: self.at(handshake).min(now), accepted: now };
        let rest = [0; size_of::<Parked>() - size_of::<(u64, Age, bool)>()];
        let item = Standin { id, age, is_unix: from.is_none(), _rest: rest };
        let ended = |how| Arrived { fate: Fate::Ended(how), instead: None };
        let voice = match self.judge.judge(&item.peer(), peer.state(), age.since_handshake(now)) {
            Judgement::Serve if peer == Peer::Silent => Voice::Silent,
            Judgement::Serve => Voice::Spoke,
            Judgement::ServeUntil(patience) => Voice::SpokeAndClosed(patience),
            Judgement::Dead(death) => return ended(Ended::Dead(death)),
            Judgement::Refuse(cause) => return ended(Ended::Refused(cause)),
        };
        if !self.access.admits(from) {
            return ended(Ended::Refused(Cause::Denied));
        }
        match self.room.arrive(Arrival { lane, age, from, voice, is_moved: false, item }, now) {
            Admission::Waits => Arrived { fate: Fate::Waits, instead: None },
            Admission::WaitsInsteadOf(other, cause) => {
                Arrived { fate: Fate::Waits, instead: Some((other.id, cause)) }
            }
            Admission::Silent(token, other) => Arrived {
                fate: Fate::Silent(Ticket(token)),
                instead: other.map(|(other, cause)| (other.id, cause)),
            },
            Admission::Refused(_, cause) => ended(Ended::Refused(cause)),
        }
    }

    /// The service of `lane` can serve one more. As a server does, it looks once more at the socket
    /// (`peer`) of one who has stood in the room for a while.
    pub fn take(&mut self, lane: usize, now: Duration, peer: impl FnOnce(u64) -> Peer) -> Taken {
        let now = self.at(now);
        let (item, place) = match self.room.take(lane, now) {
            Take::Ready { item, place, .. } => (item, place),
            Take::Late(item, cause) => return Taken::Ended { id: item.id, how: Ended::Refused(cause) },
            Take::Empty => return Taken::Empty,
            Take::NoPlace => return Taken::NoPlace,
        };
        if now.since(item.age.accepted) >= LOOK_AGAIN_AFTER {
            let state = peer(item.id).state();
            let how = match self.judge.judge(&item.peer(), state, item.age.since_handshake(now)) {
                Judgement::Serve | Judgement::ServeUntil(_) => None,
                Judgement::Dead(death) => Some(Ended::Dead(death)),
                Judgement::Refuse(cause) => Some(Ended::Refused(cause)),
            };
            if let Some(how) = how {
                self.room.release(place, || now);
                return Taken::Ended { id: item.id, how };
            }
        }
        Taken::Served { id: item.id, place: Place(place) }
    }

    /// A place is free again.
    pub fn release(&mut self, place: Place, now: Duration) {
        let now = self.at(now);
        self.room.release(place.0, || now);
    }

    /// What time brings; call until `None`.
    pub fn tend(&mut self, now: Duration) -> Option<Tended> {
        let now = self.at(now);
        if let Some((item, cause)) = self.room.overdue(now) {
            return Some(Tended::Refused { id: item.id, cause });
        }
        let (token, item) = self.room.next_to_watch(now.checked_sub(WATCH_AFTER)?)?;
        Some(Tended::Watched { id: item.id, ticket: Ticket(token) })
    }

    /// When there is something to [tend](Self::tend), or a rate lets somebody be
    /// [taken](Self::take).
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        let turns = (0..self.lanes).map(|lane| self.room.turn(lane));
        let rates = turns.filter_map(|turn| if let Turn::From(then) = turn { Some(then) } else { None });
        let due = rates.chain(self.room.next_event(WATCH_AFTER)).min()?;
        Some(due.since(self.start))
    }

    /// The client of a watched connection has hung up, and its socket shows this. `None`: it stays for
    /// the time being, or was not there any more.
    pub fn hang_up(&mut self, ticket: Ticket, peer: Peer, now: Duration) -> Option<(u64, Ended)> {
        let (Ticket(token), now) = (ticket, self.at(now));
        let item = self.room.standing(token)?;
        let how = match self.judge.judge(&item.peer(), peer.state(), item.age.since_handshake(now)) {
            Judgement::Dead(death) => Ended::Dead(death),
            Judgement::Refuse(cause) => Ended::Refused(cause),
            Judgement::Serve => return self.hear(token, now),
            Judgement::ServeUntil(patience) => {
                let refused = self.hear(token, now);
                self.room.lose_patience(token, patience);
                return refused;
            }
        };
        Some((self.room.leave(token, now)?.id, how))
    }

    /// A silent connection has sent its first byte, and waits from now on. Who is refused for it.
    pub fn speak(&mut self, ticket: Ticket, now: Duration) -> Option<(u64, Ended)> {
        self.hear(ticket.0, self.at(now))
    }

    fn hear(&mut self, token: Token, now: Tick) -> Option<(u64, Ended)> {
        let (item, cause) = self.room.speak(token, now)?;
        Some((item.id, Ended::Refused(cause)))
    }

    /// How many more `lane` accepts without anybody being refused for it; see
    /// [`WhenFull::BackPressure`](crate::WhenFull::BackPressure).
    #[must_use]
    pub fn vacancies(&self, lane: usize) -> usize {
        self.room.vacancies(lane)
    }

    /// Lanes whose order has changed since the last call, and whether it is newest first now.
    pub fn reordered(&mut self) -> impl Iterator<Item = (usize, bool)> {
        self.room.reordered()
    }

    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let silent = self.room.silent();
        Counts {
            open: self.room.open(),
            waiting: self.room.len() - silent,
            silent,
            sources: self.room.sources(),
        }
    }

    fn at(&self, time: Duration) -> Tick {
        self.start.checked_add(time).unwrap_or(self.start)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

fn rules(config: &Config) -> admit::Rules {
    config.rules(match config.descriptors {
        DescriptorBudget::Fixed(sockets) => Some(sockets),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Death, FirstByte, Order};

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn room(set: impl FnOnce(&mut Config)) -> Room {
        let mut config = Config { max_connections: Some(1), ..Config::default() };
        set(&mut config);
        Room::new(&config, 1, 7).unwrap()
    }

    fn served(taken: Taken) -> (u64, Place) {
        match taken {
            Taken::Served { id, place } => (id, place),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_standin_is_as_large_as_a_connection_in_a_real_room() {
        assert_eq!(size_of::<Standin>(), size_of::<Parked>());
    }

    #[test]
    fn a_watched_client_that_hangs_up_is_gone_at_once() {
        let mut room = room(|_| ());
        room.arrive(Visitor::new(1, ms(0)), ms(0));
        assert_eq!(room.tend(ms(49)), None);
        assert_eq!(room.next_due(), Some(ms(50)));
        let Some(Tended::Watched { id: 1, ticket }) = room.tend(ms(50)) else { panic!("not watched") };
        assert_eq!(room.hang_up(ticket, Peer::Reset, ms(60)), Some((1, Ended::Dead(Death::Reset))));
        assert_eq!(room.hang_up(ticket, Peer::Reset, ms(60)), None, "nobody by that name");
        assert_eq!(room.counts(), Counts::default());
    }

    #[test]
    fn who_sent_and_closed_is_served_within_the_patience_and_refused_after_it() {
        let mut room = room(|_| ());
        for id in [1, 2] {
            let visitor = Visitor::new(id, ms(0)).from(SOMEWHERE.ip()).peer(Peer::SpokeAndClosed);
            room.arrive(visitor, ms(10));
        }
        let (id, place) = served(room.take(0, ms(999), |_| Peer::SpokeAndClosed));
        assert_eq!(id, 1);
        room.release(place, ms(1_000));
        let late = room.tend(ms(1_000));
        assert_eq!(late, Some(Tended::Refused { id: 2, cause: Cause::ProbablyLeft }));
    }

    #[test]
    fn a_silent_one_waits_outside_until_it_speaks() {
        let mut room = room(|config| config.first_byte = Some(FirstByte::within(ms(300))));
        let arrived = room.arrive(Visitor::new(1, ms(0)).peer(Peer::Silent), ms(0));
        let Fate::Silent(ticket) = arrived.fate else { panic!("{arrived:?}") };
        assert!(matches!(room.take(0, ms(1), |_| Peer::Silent), Taken::Empty));
        assert_eq!(room.speak(ticket, ms(200)), None);
        assert_eq!(served(room.take(0, ms(400), |_| Peer::Spoke)).0, 1);
    }

    #[test]
    fn settings_change_while_it_runs() {
        let mut room = room(|config| config.order = Order::Fifo);
        let places = |number| Config { max_connections: Some(number), ..Config::default() };
        assert!(room.reconfigure(&places(0), ms(0)).is_err());
        room.reconfigure(&places(2), ms(0)).unwrap();
        for id in 1..=3 {
            room.arrive(Visitor::new(id, ms(0)), ms(0));
        }
        let both =
            [served(room.take(0, ms(0), |_| Peer::Spoke)), served(room.take(0, ms(0), |_| Peer::Spoke))];
        assert_eq!(both.map(|(id, _)| id), [1, 2]);
        assert!(matches!(room.take(0, ms(0), |_| Peer::Spoke), Taken::NoPlace));
    }
}
