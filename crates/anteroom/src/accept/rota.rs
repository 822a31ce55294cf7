//! Whose turn it is: every ready listener gets one batch per round, and the round starts with
//! another one each time.
//!
//! Owns the order. Never accepts.

#[derive(Debug)]
pub(super) struct Rota {
    ready: Vec<bool>,
    first: usize,
}

impl Rota {
    pub(super) fn new(listeners: usize) -> Self {
        Self { ready: vec![false; listeners], first: 0 }
    }

    pub(super) fn mark_ready(&mut self, listener: usize) {
        if let Some(ready) = self.ready.get_mut(listener) {
            *ready = true;
        }
    }

    /// The ready listeners of one round, each once. Those that have more to accept are marked anew
    /// by the next look at the kernel.
    pub(super) fn round(&mut self, turns: &mut Vec<usize>) {
        turns.clear();
        let listeners = self.ready.len();
        for step in 0..listeners {
            let listener = (self.first + step) % listeners;
            if self.ready.get_mut(listener).is_some_and(std::mem::take) {
                turns.push(listener);
            }
        }
        if let Some(&first) = turns.first() {
            self.first = first + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(rota: &mut Rota, ready: &[usize]) -> Vec<usize> {
        let mut turns = Vec::new();
        ready.iter().for_each(|&listener| rota.mark_ready(listener));
        rota.round(&mut turns);
        turns
    }

    #[test]
    fn a_flooded_listener_has_one_turn_per_round_and_does_not_always_go_first() {
        let mut rota = Rota::new(3);
        assert_eq!(round(&mut rota, &[0, 2]), [0, 2]);
        assert_eq!(round(&mut rota, &[0, 2]), [2, 0]);
        assert_eq!(round(&mut rota, &[0]), [0]);
        assert_eq!(round(&mut rota, &[0, 1]), [1, 0]);
        assert_eq!(round(&mut rota, &[0, 0, 0]), [0]);
    }

    #[test]
    fn nobody_ready_is_an_empty_round_and_an_unknown_listener_is_ignored() {
        let mut rota = Rota::new(1);
        assert!(round(&mut rota, &[7]).is_empty());
        assert!(round(&mut Rota::new(0), &[]).is_empty());
    }
}
