//! Slots with generations: a token that outlives its entry names nothing, never the next tenant.
//!
//! Owns storage and the numbering of tokens. Never decides anything about what it stores.

use slab::Slab;

/// Names one entry of an [`Arena`] for as long as that entry is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token {
    slot: u32,
    generation: u32,
}

/// Generations keep the two top bits free for whoever packs a token into a `u64`.
const GENERATIONS: u32 = (1 << 30) - 1;

impl Token {
    /// The token as a number below 2^62.
    pub(crate) fn to_bits(self) -> u64 {
        (u64::from(self.generation) << 32) | u64::from(self.slot)
    }

    /// The inverse of [`Token::to_bits`]; the two top bits are ignored.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a u64")]
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self { slot: bits as u32, generation: (bits >> 32) as u32 & GENERATIONS }
    }
}

#[derive(Debug)]
pub(crate) struct Arena<T> {
    slots: Slab<(u32, T)>,
    next_generation: u32,
}

impl<T> Arena<T> {
    pub(crate) fn new() -> Self {
        Self { slots: Slab::new(), next_generation: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Stores `value`. More than `u32::MAX` entries at once are beyond any descriptor table.
    #[expect(clippy::cast_possible_truncation, reason = "a process cannot hold 2^32 descriptors")]
    pub(crate) fn insert(&mut self, value: T) -> Token {
        let generation = self.next_generation;
        self.next_generation = (generation + 1) & GENERATIONS;
        Token { slot: self.slots.insert((generation, value)) as u32, generation }
    }

    pub(crate) fn get(&self, token: Token) -> Option<&T> {
        let (generation, value) = self.slots.get(token.slot as usize)?;
        (*generation == token.generation).then_some(value)
    }

    pub(crate) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let (generation, value) = self.slots.get_mut(token.slot as usize)?;
        (*generation == token.generation).then_some(value)
    }

    pub(crate) fn remove(&mut self, token: Token) -> Option<T> {
        self.get(token)?;
        Some(self.slots.remove(token.slot as usize).1)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut T)> {
        self.slots.iter_mut().map(|(slot, (generation, value))| {
            #[expect(clippy::cast_possible_truncation, reason = "insert made the slot from a u32")]
            let token = Token { slot: slot as u32, generation: *generation };
            (token, value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_does_not_name_the_next_tenant_of_its_slot() {
        let mut arena = Arena::new();
        let first = arena.insert("first");
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert("second");
        assert_eq!(first.slot, second.slot);
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.get(second), Some(&"second"));
    }

    #[test]
    fn a_token_survives_the_way_through_a_number_and_leaves_two_bits_free() {
        let token = Token { slot: u32::MAX, generation: GENERATIONS };
        assert_eq!(Token::from_bits(token.to_bits()), token);
        assert_eq!(token.to_bits() >> 62, 0);
        assert_eq!(Token::from_bits(token.to_bits() | 3 << 62), token);
    }
}
