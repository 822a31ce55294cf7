//! The order in which the connections of one lane wait: a doubly linked list through the arena, so
//! that whoever leaves from the middle costs no search.
//!
//! Owns the links. Never owns an entry, and never decides who goes next.

use super::arena::{Arena, Token};

/// The links that an entry carries for its [`Line`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Links {
    older: Option<Token>,
    newer: Option<Token>,
}

/// What can stand in a line.
pub(crate) trait Linked {
    fn links(&mut self) -> &mut Links;
    /// Whether somebody already watches for this one's hang-up.
    fn is_watched(&self) -> bool;
}

#[derive(Debug, Default)]
pub(crate) struct Line {
    oldest: Option<Token>,
    newest: Option<Token>,
    /// The oldest that is not watched yet. Those behind it are not watched either: watching goes in
    /// the order of arrival.
    unwatched: Option<Token>,
    len: usize,
}

impl Line {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn oldest(&self) -> Option<Token> {
        self.oldest
    }

    pub(crate) fn unwatched(&self) -> Option<Token> {
        self.unwatched
    }

    pub(crate) fn push<T: Linked>(&mut self, arena: &mut Arena<T>, token: Token) {
        let older = self.newest.replace(token);
        if let Some(entry) = arena.get_mut(token) {
            *entry.links() = Links { older, newer: None };
        }
        match older.and_then(|older| arena.get_mut(older)) {
            Some(entry) => entry.links().newer = Some(token),
            None => self.oldest = Some(token),
        }
        self.unwatched = self.unwatched.or(Some(token));
        self.len += 1;
    }

    /// Takes `token` out of the order; the entry stays in the arena.
    pub(crate) fn unlink<T: Linked>(&mut self, arena: &mut Arena<T>, token: Token) {
        let Some(Links { older, newer }) = arena.get_mut(token).map(|entry| *entry.links()) else { return };
        match older.and_then(|older| arena.get_mut(older)) {
            Some(entry) => entry.links().newer = newer,
            None => self.oldest = newer,
        }
        match newer.and_then(|newer| arena.get_mut(newer)) {
            Some(entry) => entry.links().older = older,
            None => self.newest = older,
        }
        if self.unwatched == Some(token) {
            self.unwatched = newer;
        }
        self.len -= 1;
    }

    /// The oldest unwatched one is watched from now on.
    pub(crate) fn advance_watch<T: Linked>(&mut self, arena: &mut Arena<T>) {
        let newer =
            self.unwatched.and_then(|token| arena.get_mut(token)).and_then(|entry| entry.links().newer);
        debug_assert!(newer.and_then(|token| arena.get(token)).is_none_or(|entry| !entry.is_watched()));
        self.unwatched = newer;
    }
}
