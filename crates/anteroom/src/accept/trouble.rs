//! How to go on after `accept` has failed.
//!
//! Owns the rules from class and repetition to reaction. Pure: the errno table is the listener
//! crate's, acting is the acceptor's.

use std::time::Duration;

use anteroom_listener::AcceptErrorClass;

/// Errors of single connections that are met in a row without any pause.
const WITHOUT_PAUSE: u32 = 8;

/// The first pause after that; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// The longest pause for an error that is not the process's own want.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    GoOn,
    Pause(Duration),
    /// Refuse one connection with the reserve descriptor, then pause.
    ShedAndPause(Duration),
    /// The listener is broken.
    GiveUp,
}

/// One listener's errors in a row.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    in_a_row: u32,
}

impl Trouble {
    pub(super) fn is_over(&mut self) {
        self.in_a_row = 0;
    }

    /// `pause` is the configured one for want of descriptors or memory.
    pub(super) fn meet(&mut self, class: AcceptErrorClass, pause: Duration) -> Reaction {
        match class {
            AcceptErrorClass::Empty | AcceptErrorClass::Interrupted => Reaction::GoOn,
            AcceptErrorClass::Listener => Reaction::GiveUp,
            AcceptErrorClass::Descriptors => Reaction::ShedAndPause(pause),
            AcceptErrorClass::Memory => Reaction::Pause(pause),
            _ => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                match self.in_a_row.checked_sub(WITHOUT_PAUSE) {
                    None | Some(0) => Reaction::GoOn,
                    Some(more) => Reaction::Pause(doubled(FIRST_PAUSE, more - 1).min(LONGEST_PAUSE)),
                }
            }
        }
    }
}

fn doubled(pause: Duration, times: u32) -> Duration {
    pause.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(70);

    #[test]
    fn errors_of_connections_go_on_at_first_and_pause_ever_longer_up_to_100_ms() {
        for class in [AcceptErrorClass::Connection, AcceptErrorClass::Unknown] {
            let mut trouble = Trouble::default();
            let reactions: Vec<_> = (0..20).map(|_| trouble.meet(class, PAUSE)).collect();
            assert!(reactions[..8].iter().all(|&reaction| reaction == Reaction::GoOn));
            assert_eq!(reactions[8], Reaction::Pause(FIRST_PAUSE));
            assert_eq!(reactions[9], Reaction::Pause(FIRST_PAUSE * 2));
            assert_eq!(reactions[19], Reaction::Pause(LONGEST_PAUSE));
            trouble.in_a_row = u32::MAX;
            assert_eq!(trouble.meet(class, PAUSE), Reaction::Pause(LONGEST_PAUSE));
            trouble.is_over();
            assert_eq!(trouble.meet(class, PAUSE), Reaction::GoOn);
        }
    }

    #[test]
    fn every_class_has_its_reaction() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.meet(AcceptErrorClass::Descriptors, PAUSE), Reaction::ShedAndPause(PAUSE));
        assert_eq!(trouble.meet(AcceptErrorClass::Memory, PAUSE), Reaction::Pause(PAUSE));
        assert_eq!(trouble.meet(AcceptErrorClass::Listener, PAUSE), Reaction::GiveUp);
        assert_eq!(trouble.meet(AcceptErrorClass::Interrupted, PAUSE), Reaction::GoOn);
    }
}
