//! What everybody passes on the way into the room: the judge, the lists of addresses, the filter.
//!
//! Owns nothing. Ends who does not pass, by the verdict of others, and never decides by itself.

use std::io;
use std::sync::Arc;

use anteroom_listener::{Accepted, Batch, Classified, PeerState, Unread};

use super::filter::{Answer, Candidate, Filter, Verdict};
use crate::admit::{Cause, Judgement, Stage, Voice};
use crate::gate::{Gate, Newcomer, Occupancy, Parked, Policy};
use crate::observe::Note;
use crate::tick::Tick;

/// What everybody has to pass before the room: the judge, the lists, the filter.
pub(super) struct Threshold<'a> {
    gate: &'a Gate,
    policy: Arc<Policy>,
    filter: Option<(&'a mut Filter, Occupancy)>,
    now: Tick,
}

impl<'a> Threshold<'a> {
    pub(super) fn of(gate: &'a Gate, filter: Option<&'a mut Filter>, now: Tick) -> Self {
        let filter = filter.map(|filter| (filter, gate.occupancy()));
        Self { gate, policy: gate.policy(), filter, now }
    }

    /// Whoever has left comes to its end.
    fn look(
        &self,
        parked: Parked,
        state: PeerState,
        unread: Unread,
        stage: Stage,
    ) -> Option<(Parked, Voice)> {
        let age = parked.age.since_handshake(self.now);
        match self.policy.judge.judge(&parked.peer, state, age) {
            Judgement::Serve if unread == Unread::Nothing => Some((parked, Voice::Silent)),
            Judgement::Serve => Some((parked, Voice::Spoke)),
            Judgement::ServeUntil(patience) => Some((parked, Voice::SpokeAndClosed(patience))),
            verdict => {
                self.gate.end(parked, verdict, stage, self.now);
                None
            }
        }
    }

    /// One who has passed before, here or at a predecessor's, is only looked at. It takes no share: what its source
    /// may have was asked when it came.
    pub(super) fn look_again(&self, parked: Parked, stage: Stage) -> Option<Newcomer> {
        let Parked { id, port, stream, peer, kernel_wait, age } = parked;
        let (mut batch, mut accepted) = (Batch::new(), Some(Accepted::new(stream, peer)));
        batch.fill(1, || accepted.take().ok_or_else(|| io::ErrorKind::WouldBlock.into()));
        let Classified { stream, peer, state, unread, .. } = batch.classify().next()?;
        let parked = Parked { id, port, stream, peer, kernel_wait, age };
        let (parked, voice) = self.look(parked, state, unread, stage)?;
        let from = parked.peer.ip();
        Some(Newcomer { parked, from, voice, is_moved: true })
    }

    /// Whoever does not pass has come to its end.
    pub(super) fn cross(&mut self, parked: Parked, state: PeerState, unread: Unread) -> Option<Newcomer> {
        let (parked, voice) = self.look(parked, state, unread, Stage::Queue)?;
        let Self { gate, policy, filter, now } = self;
        let (peer, now) = (parked.peer, *now);
        if !policy.access.admits(peer.ip()) {
            gate.refuse(parked, Cause::Denied, now);
            return None;
        }
        if let (Some((filter, occupancy)), Some(port)) = (filter, gate.ports().get(parked.port)) {
            let candidate = Candidate {
                peer: &peer,
                listener: &port.name,
                kernel_wait: parked.kernel_wait,
                open: occupancy.open,
                waiting: occupancy.waiting,
            };
            if let Some(cause) = ask(filter, &candidate, parked.port, gate) {
                gate.refuse(parked, cause, now);
                return None;
            }
        }
        Some(Newcomer { parked, from: peer.ip(), voice, is_moved: false })
    }
}

/// The cause for which the filter refuses, if it does.
fn ask(filter: &mut Filter, candidate: &Candidate<'_>, listener: usize, gate: &Gate) -> Option<Cause> {
    let verdict = match filter.ask(candidate, listener) {
        Answer::Verdict(verdict) => verdict,
        Answer::Late(verdict, took) => {
            gate.notes().leave(Note::FilterSlow { listener, took });
            verdict
        }
        Answer::Panicked => {
            gate.notes().leave(Note::FilterPanicked { listener });
            Verdict::Refuse(Cause::Denied)
        }
    };
    match verdict {
        Verdict::Admit => None,
        Verdict::Refuse(cause) => Some(cause),
    }
}
