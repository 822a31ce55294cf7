//! Whether an answer at the door was allowed.

use super::*;

impl Model {
    /// One comes whose handshake was so long ago. Under back-pressure it stays in the kernel where there
    /// is no vacancy: then it has not come.
    pub(in super::super) fn arrive(
        &mut self,
        lane: usize,
        from: Option<IpAddr>,
        voice: Voice,
        aged: Duration,
    ) -> Option<u32> {
        if self.is_back_pressure() && self.room.vacancies(lane) == 0 {
            return None;
        }
        let item = self.next;
        self.next += 1;
        self.ever_aged |= !aged.is_zero();
        let patience = match voice {
            Voice::SpokeAndClosed(patience) => Some(patience),
            Voice::Silent | Voice::Spoke => None,
        };
        let guest = Guest {
            item,
            lane,
            source: Source::of(from, &self.room.rules.share),
            since: before(self.now, aged),
            patience,
            is_silent: voice == Voice::Silent && self.config.first_byte.is_some(),
            is_watched: voice == Voice::Silent && self.config.first_byte.is_some(),
        };
        let age = Age::accepted(self.now, Some(aged));
        match self.room.arrive(Arrival { lane, age, from, voice, is_moved: false, item }, self.now) {
            Admission::Waits => self.let_in(guest, None),
            Admission::WaitsInsteadOf(out, cause) => self.let_in(guest, Some((out, cause))),
            Admission::Silent(token, out) => {
                assert!(guest.is_silent && self.room.is_silent(token));
                self.let_in(guest, out);
            }
            Admission::Refused(refused, cause) => {
                assert_eq!(refused, item);
                self.was_refused(&guest, cause);
            }
        }
        self.compare();
        Some(item)
    }

    fn has_room(&self, guest: &Guest) -> bool {
        let numbers = self.numbers(guest.lane);
        if guest.is_silent {
            numbers.silent < self.max_silent()
        } else {
            numbers.waiting < self.waiting_limit(guest.lane)
        }
    }

    fn has_socket(&self, lane: usize) -> bool {
        self.spare_sockets(lane).is_none_or(|spare| spare > 0)
    }

    /// The formula, for all places; and the number of a source.
    fn has_share(&self, guest: &Guest) -> bool {
        let Some(source) = guest.source else { return true };
        let held = self.held_of(guest.lane, source);
        let own = self.lanes[guest.lane].max_waiting.unwrap_or(self.config.max_waiting);
        let places = self.places(guest.lane).map(|places| places + own + self.max_silent());
        let free = places.map(|places| places.saturating_sub(self.numbers(guest.lane).held()));
        let spare = self.spare_sockets(guest.lane).map(|spare| usize::try_from(spare).unwrap_or(0));
        let free = free.into_iter().chain(spare).min();
        let by_formula = self.alpha().zip(free).is_none_or(|(alpha, free)| held <= alpha * free);
        let numbers = self.numbers(guest.lane);
        let (limit, all) = match guest.is_silent {
            true => (self.max_silent(), numbers.silent),
            false => (self.waiting_limit(guest.lane), numbers.waiting),
        };
        let in_stage = self.in_stage(guest, source);
        let by_stage = self.alpha().is_none_or(|alpha| in_stage <= alpha * limit.saturating_sub(all));
        by_formula && by_stage && self.config.share.max_per_source.is_none_or(|most| held < most)
    }

    /// How many of a source stand where a guest does.
    fn in_stage(&self, guest: &Guest, source: Source) -> usize {
        let beside = |other: &&Guest| other.lane == guest.lane && other.is_silent == guest.is_silent;
        self.guests.iter().filter(beside).filter(|other| other.source == Some(source)).count()
    }

    fn let_in(&mut self, guest: Guest, out: Option<(u32, Cause)>) {
        assert_eq!(self.is_due(&guest), [], "let in past its time");
        let lane = guest.lane;
        match out {
            None if self.is_back_pressure() => {
                let numbers = self.numbers(lane);
                let standing = numbers.waiting + numbers.silent;
                let room = standing < self.waiting_limit(lane) && self.has_socket(lane);
                assert!(standing == 0 || room, "a vacancy that was none");
            }
            None => assert!(self.has_room(&guest) && self.has_socket(lane), "a bound was passed"),
            Some((_, cause)) => assert!(
                match cause {
                    Cause::Full => !guest.is_silent && !self.has_room(&guest),
                    Cause::Silent => guest.is_silent && !self.has_room(&guest),
                    Cause::Resources => !self.has_socket(lane),
                    Cause::Share => !self.has_share(&guest),
                    _ => false,
                },
                "another went for {cause}"
            ),
        }
        let has_share = self.has_share(&guest);
        if let Some((out, cause)) = out {
            assert!(!self.is_back_pressure() || cause == Cause::Share);
            let first = self.guests.iter().find(|g| g.lane == lane && g.is_silent == guest.is_silent);
            if !self.ever_shared && cause != Cause::Resources {
                assert_eq!(first.map(|guest| guest.item), Some(out), "not who had waited longest");
            }
            let count = |source: Option<Source>| source.map_or(0, |source| self.in_stage(&guest, source));
            let counts = |guests: &[Guest]| {
                let evicted = guests.iter().find(|guest| guest.item == out);
                (count(evicted.and_then(|evicted| evicted.source)), count(guest.source))
            };
            let (theirs, ours) = counts(&self.guests);
            let evicted = self.end(out);
            assert_eq!(evicted.lane, lane, "one of another lane went");
            let makes_way = evicted.source == guest.source || theirs > ours;
            assert!(has_share || makes_way, "a source took another place");
        } else {
            assert!(has_share, "a source took another place");
        }
        if let (Some(source), Some(rate)) = (guest.source, self.config.share.per_second) {
            let times = self.let_in.entry((lane, source)).or_default();
            times.push(self.now);
            assert!(is_within(rate, times), "a source came too often");
        }
        self.guests.push(guest);
    }

    fn was_refused(&mut self, guest: &Guest, cause: Cause) {
        let due = self.is_due(guest);
        let lane = guest.lane;
        let waiting = self.numbers(lane).waiting;
        let why = match cause {
            Cause::TooOld | Cause::ProbablyLeft | Cause::Hopeless => due.contains(&cause),
            Cause::Silent => due.contains(&cause) || (guest.is_silent && self.max_silent() == 0),
            Cause::Full => !guest.is_silent && waiting == 0 && !self.has_room(guest),
            Cause::Resources => {
                let numbers = self.numbers(lane);
                numbers.waiting + numbers.silent == 0 && !self.has_socket(lane)
            }
            Cause::Share => !self.has_share(guest),
            Cause::Rate => self.came_lately(guest),
            Cause::Early => {
                let free = self.free_places(lane).unwrap_or(0);
                self.config.refuse_early.is_some_and(|early| waiting.saturating_sub(free) >= early.from)
            }
            _ => false,
        };
        assert!(why, "refused for {cause} without a reason");
        if self.is_back_pressure() {
            let by_right = !matches!(cause, Cause::Full | Cause::Resources | Cause::Early);
            assert!(by_right, "back-pressure refused for {cause}");
        }
        assert!(self.ended.insert(guest.item));
    }

    /// Whether one of its source was let in within the time that its rate remembers.
    fn came_lately(&self, guest: &Guest) -> bool {
        let (Some(source), Some(rate)) = (guest.source, self.config.share.per_second) else { return false };
        let memory = Duration::from_secs(1) * rate.burst / rate.per_second;
        let last = self.let_in.get(&(guest.lane, source)).and_then(|times| times.last());
        [last, Some(&self.changed)].into_iter().flatten().any(|&last| self.now < last + memory)
    }
}
