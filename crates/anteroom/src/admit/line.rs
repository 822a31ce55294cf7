//! An order of entries: a doubly linked list through the arena, so that whoever leaves from the middle
//! costs no search.
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
    fn links(&self) -> Links;
    fn links_mut(&mut self) -> &mut Links;
}

#[derive(Debug, Default)]
pub(crate) struct Line {
    oldest: Option<Token>,
    newest: Option<Token>,
    len: usize,
}

impl Line {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn oldest(&self) -> Option<Token> {
        self.oldest
    }

    pub(crate) fn newest(&self) -> Option<Token> {
        self.newest
    }

    pub(crate) fn push<T: Linked>(&mut self, arena: &mut Arena<T>, token: Token) {
        let older = self.newest.replace(token);
        if let Some(entry) = arena.get_mut(token) {
            *entry.links_mut() = Links { older, newer: None };
        }
        match older.and_then(|older| arena.get_mut(older)) {
            Some(entry) => entry.links_mut().newer = Some(token),
            None => self.oldest = Some(token),
        }
        self.len += 1;
    }

    /// Takes `token` out of the order; the entry stays in the arena. Gives the one that came next.
    pub(crate) fn unlink<T: Linked>(&mut self, arena: &mut Arena<T>, token: Token) -> Option<Token> {
        let Links { older, newer } = arena.get(token)?.links();
        match older.and_then(|older| arena.get_mut(older)) {
            Some(entry) => entry.links_mut().newer = newer,
            None => self.oldest = newer,
        }
        match newer.and_then(|newer| arena.get_mut(newer)) {
            Some(entry) => entry.links_mut().older = older,
            None => self.newest = older,
        }
        self.len -= 1;
        newer
    }

    /// The one that came after `token`.
    pub(crate) fn newer_than<T: Linked>(arena: &Arena<T>, token: Token) -> Option<Token> {
        arena.get(token)?.links().newer
    }
}
