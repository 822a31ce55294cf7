//! Slots with generations: a token that outlives its entry names nothing, never the next tenant.
//!
//! Owns storage and the numbering of tokens. Never decides anything about what it stores.

use std::num::NonZeroU32;

use slab::Slab;

/// Names one entry of an [`Arena`] for as long as that entry is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token {
    slot: u32,
    /// Never 0, so that an `Option<Token>` is as small as a token.
    generation: NonZeroU32,
}

/// Generations keep the three top bits free for whoever packs a token into a `u64`.
const GENERATIONS: u32 = (1 << 29) - 1;

impl Token {
    #[expect(clippy::cast_possible_truncation, reason = "a process cannot hold 2^32 descriptors")]
    fn at(slot: usize, generation: NonZeroU32) -> Self {
        Self { slot: slot as u32, generation }
    }

    /// The token as a number below 2^61.
    pub(crate) fn to_bits(self) -> u64 {
        (u64::from(self.generation.get()) << 32) | u64::from(self.slot)
    }

    /// The inverse of [`Token::to_bits`]; the three top bits are ignored. `None`: it is no token's.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a u64")]
    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        let generation = NonZeroU32::new((bits >> 32) as u32 & GENERATIONS)?;
        Some(Self { slot: bits as u32, generation })
    }
}

#[derive(Debug)]
pub(crate) struct Arena<T> {
    slots: Slab<(NonZeroU32, T)>,
    next_generation: NonZeroU32,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Arena<T> {
    pub(crate) fn new() -> Self {
        Self { slots: Slab::new(), next_generation: NonZeroU32::MIN }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Stores `value`. More than `u32::MAX` entries at once are beyond any descriptor table.
    pub(crate) fn insert(&mut self, value: T) -> Token {
        let generation = self.next_generation;
        let next = (generation.get() + 1) & GENERATIONS;
        self.next_generation = NonZeroU32::new(next).unwrap_or(NonZeroU32::MIN);
        Token::at(self.slots.insert((generation, value)), generation)
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

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        self.slots.iter().map(|(slot, (generation, value))| (Token::at(slot, *generation), value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut T)> {
        self.slots.iter_mut().map(|(slot, (generation, value))| (Token::at(slot, *generation), value))
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
    fn a_token_survives_the_way_through_a_number_and_leaves_three_bits_free() {
        let token = Token { slot: u32::MAX, generation: NonZeroU32::new(GENERATIONS).unwrap() };
        assert_eq!(Token::from_bits(token.to_bits()), Some(token));
        assert_eq!(token.to_bits() >> 61, 0);
        assert_eq!(Token::from_bits(token.to_bits() | 7 << 61), Some(token));
        assert_eq!(Token::from_bits(0), None);
    }

    #[test]
    fn generations_begin_anew_when_they_have_all_been_used() {
        let mut arena = Arena::new();
        arena.next_generation = NonZeroU32::new(GENERATIONS).unwrap();
        let last = arena.insert("last");
        let first = arena.insert("first");
        assert_eq!((last.generation.get(), first.generation.get()), (GENERATIONS, 1));
    }
}
