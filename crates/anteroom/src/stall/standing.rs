//! Whether somebody stands before a listener while nobody is accepted from it.
//!
//! Owns what each listener had accepted at the last look. Time is passed in; never looks at anything itself.

use crate::tick::Tick;

#[derive(Debug, Default)]
pub(super) struct Standing(Vec<Before>);

#[derive(Clone, Copy, Debug, Default)]
struct Before {
    accepted: u64,
    since: Option<Tick>,
}

impl Standing {
    /// Takes one look in: of each listener how many it has accepted, and whether somebody stands there. Since
    /// when the first does, and nobody has been accepted meanwhile.
    pub(super) fn look(
        &mut self,
        listeners: impl IntoIterator<Item = (u64, bool)>,
        now: Tick,
    ) -> Option<Tick> {
        let mut first: Option<Tick> = None;
        for (number, (accepted, stands)) in listeners.into_iter().enumerate() {
            if self.0.len() <= number {
                self.0.push(Before { accepted, since: None });
            }
            let Some(before) = self.0.get_mut(number) else { continue };
            let since = before.since.filter(|_| before.accepted == accepted).unwrap_or(now);
            *before = Before { accepted, since: stands.then_some(since) };
            first = [first, before.since].into_iter().flatten().min();
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn whoever_stands_counts_from_the_first_look_since_which_nobody_was_accepted() {
        let (mut standing, start) = (Standing::default(), Tick::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(standing.look([(7, false), (0, false)], at(0)), None);
        assert_eq!(standing.look([(7, true), (0, false)], at(50)), Some(at(50)));
        assert_eq!(standing.look([(7, true), (0, true)], at(100)), Some(at(50)));
        assert_eq!(
            standing.look([(8, true), (0, true)], at(150)),
            Some(at(100)),
            "one goes on, one does not"
        );
        assert_eq!(standing.look([(8, true), (0, false)], at(200)), Some(at(150)));
        assert_eq!(standing.look([(8, false), (0, false)], at(250)), None);
        assert_eq!(standing.look([(8, true), (0, false)], at(300)), Some(at(300)), "it begins anew");
    }
}
