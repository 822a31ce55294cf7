//! One listener as it was seen from its desk in the last turns.
//!
//! Owns what is remembered of its queue, and what a taker met there. Never asks the kernel.

use super::desk::Met;
use crate::tick::Tick;

/// So many turns in a row that found one connection, and the next is taken to find one as well.
const ALONE: u8 = 2;

/// One listener, as it was seen from the desk in the last turns.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Since when everybody has come who may stand in its queue.
    pub(super) swept: Option<Tick>,
    /// Turns in a row that found no more than one.
    alone: u8,
    /// A taker has accepted somebody since it last met something.
    pub(super) has_accepted: bool,
    pub(super) met: Option<Met>,
}

impl Window {
    /// Its queue was seen empty, or emptied of who stood in it at that time.
    pub(super) fn sweep(&mut self, at: Tick) {
        self.swept = Some(at);
    }

    /// So many were found in a turn, and perhaps more.
    pub(super) fn found(&mut self, connections: usize, is_all: bool) {
        self.alone = if is_all && connections <= 1 { self.alone.saturating_add(1) } else { 0 };
    }

    pub(super) fn comes_alone(&self) -> bool {
        self.alone >= ALONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_alone_twice_is_taken_to_come_alone_until_two_come_together() {
        let mut queue = Window::default();
        let mut after = |connections, is_all| {
            queue.found(connections, is_all);
            queue.comes_alone()
        };
        assert_eq!([after(1, true), after(1, true), after(0, true)], [false, true, true]);
        assert_eq!([after(1, false), after(1, true), after(1, true)], [false, false, true], "one was left");
        assert_eq!([after(2, true), after(1, true), after(1, true)], [false, false, true]);
    }
}
