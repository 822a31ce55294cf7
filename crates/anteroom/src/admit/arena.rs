//! Slots with generations: a token that outlives its entry names nothing, never the next tenant.
//!
//! Owns storage and the numbering of tokens. Never decides anything about what it stores.

use std::num::NonZeroU32;

use slab::Slab;

/// Names one entry of an [`Arena`] for as long as that entry is in it, and says in which arena of several it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token {
    /// With the number of the arena in its top bits.
    slot: u32,
    /// Never 0, so that an `Option<Token>` is as small as a token.
    generation: NonZeroU32,
}

/// Arenas that number their tokens for one another's sake.
pub(crate) const MOST_ARENAS: usize = 1 << (u32::BITS - SLOT_BITS);

/// So many entries an arena can hold: more than a process can have descriptors.
const SLOT_BITS: u32 = 24;

/// Generations keep the three top bits free for whoever packs a token into a `u64`.
const GENERATIONS: u32 = (1 << 29) - 1;

impl Token {
    fn slot(self) -> usize {
        self.slot as usize & ((1 << SLOT_BITS) - 1)
    }

    /// The number of the arena in which it is.
    pub(crate) fn arena(self) -> usize {
        (self.slot >> SLOT_BITS) as usize
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
    number: u32,
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
        Self::numbered(0)
    }

    /// One of several, of which every token says in which it is.
    #[expect(clippy::cast_possible_truncation, reason = "less than MOST_ARENAS")]
    pub(crate) fn numbered(number: usize) -> Self {
        debug_assert!(number < MOST_ARENAS);
        Self { number: (number % MOST_ARENAS) as u32, slots: Slab::new(), next_generation: NonZeroU32::MIN }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a process cannot hold 2^24 descriptors")]
    fn token(number: u32, slot: usize, generation: NonZeroU32) -> Token {
        Token { slot: number << SLOT_BITS | slot as u32, generation }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Stores `value`.
    pub(crate) fn insert(&mut self, value: T) -> Token {
        let generation = self.next_generation;
        let next = (generation.get() + 1) & GENERATIONS;
        self.next_generation = NonZeroU32::new(next).unwrap_or(NonZeroU32::MIN);
        Self::token(self.number, self.slots.insert((generation, value)), generation)
    }

    pub(crate) fn get(&self, token: Token) -> Option<&T> {
        let (generation, value) = self.slots.get(token.slot())?;
        (*generation == token.generation).then_some(value)
    }

    pub(crate) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let (generation, value) = self.slots.get_mut(token.slot())?;
        (*generation == token.generation).then_some(value)
    }

    pub(crate) fn remove(&mut self, token: Token) -> Option<T> {
        self.get(token)?;
        Some(self.slots.remove(token.slot()).1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        let number = self.number;
        self.slots
            .iter()
            .map(move |(slot, (generation, value))| (Self::token(number, slot, *generation), value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut T)> {
        let number = self.number;
        let slots = self.slots.iter_mut();
        slots.map(move |(slot, (generation, value))| (Self::token(number, slot, *generation), value))
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
    fn a_token_says_in_which_of_several_arenas_it_is() {
        let mut arena = Arena::numbered(MOST_ARENAS - 1);
        let first = arena.insert("first");
        let second = arena.insert("second");
        assert_eq!((first.arena(), second.arena()), (MOST_ARENAS - 1, MOST_ARENAS - 1));
        assert_eq!(arena.remove(second), Some("second"));
        assert_eq!(arena.get(first), Some(&"first"));
        assert!(arena.iter().all(|(token, _)| token == first));
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
