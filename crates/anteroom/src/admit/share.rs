//! What one source may have: a share of the places, a number of them, so many in a second.
//!
//! Owns the table of sources of one lane, which is bounded whatever comes. Never knows a connection.
//!
//! The share is a dynamic threshold, as switches use it for their buffers (A. Choudhury, E. Hahne,
//! "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", IEEE/ACM Transactions on
//! Networking 6(2), 1998): who holds much has to leave something free, however much that is, and who
//! holds nothing always gets in.

use std::collections::HashMap;

use super::arena::{Arena, Token};
use super::line::{Line, Linked, Links};
use super::prefix::{Grain, Prefix, SourceKey};
use super::rate::{Meter, Rate};

/// What one source, a client's network, may have of a lane. Unix sockets have no source and are never
/// held to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Share {
    /// A source may take another place, open or waiting, only while it holds at most this many times
    /// the places that are still free (default 8: a source alone gets eight ninths of them). The same
    /// holds for the open places alone: who has its share of them waits behind the others. `None`:
    /// whatever it likes. Not in force with [`WhenFull::BackPressure`](crate::WhenFull::BackPressure).
    pub alpha: Option<u32>,
    /// Connections that a source may have at the same time, open and waiting (default: any number).
    pub max_per_source: Option<usize>,
    /// New connections of a source per second (default: any number). It has no ramp.
    pub per_second: Option<Rate>,
    /// Leading bits of an IPv4 address that make a source (default 32).
    pub v4_prefix: u8,
    /// Leading bits of an IPv6 address that make a source (default 64: what one customer is given at
    /// least). Mapped IPv4 addresses count as IPv4.
    pub v6_prefix: u8,
    /// Who is never held to a share: the proxies in front of the server, for example.
    pub exempt: Vec<Prefix>,
}

impl Default for Share {
    fn default() -> Self {
        Self {
            alpha: Some(8),
            max_per_source: None,
            per_second: None,
            v4_prefix: 32,
            v6_prefix: 64,
            exempt: Vec::new(),
        }
    }
}

impl Share {
    /// No source is told from another.
    #[must_use]
    pub fn unlimited() -> Self {
        Self { alpha: None, ..Self::default() }
    }

    pub(crate) fn grain(&self) -> Grain {
        Grain { v4: self.v4_prefix, v6: self.v6_prefix }
    }

    /// Whether anything is asked of sources.
    pub(crate) fn is_limited(&self) -> bool {
        self.alpha.is_some() || self.max_per_source.is_some() || self.per_second.is_some()
    }
}

/// Sources that are known at the same time, over all lanes. Those beyond are not told apart: an
/// attacker with so many has no need of another's share.
pub(crate) const MOST_SOURCES: usize = 57_344;

/// Sources that hold nothing and are remembered all the same: most come again, and need not be entered
/// anew.
const REMEMBERED: usize = 256;

#[derive(Debug)]
struct Source {
    key: SourceKey,
    /// Connections, open and waiting.
    held: u32,
    /// Of them, the open.
    open: u32,
    /// Of them, the silent.
    silent: u32,
    /// Of those that wait, the ones that stand back because this source has its share of the open places.
    back: Line,
    meter: Meter,
    /// In [`Sources::idle`].
    links: Links,
    is_listed: bool,
}

impl Linked for Source {
    fn links(&self) -> Links {
        self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// How many connections of a source there are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Has {
    pub(crate) all: usize,
    pub(crate) waiting: usize,
    pub(crate) silent: usize,
}

#[derive(Debug)]
pub(crate) struct Sources {
    by_key: HashMap<SourceKey, Token>,
    sources: Arena<Source>,
    /// Who held nothing when it was listed, in that order. Some may hold something again: whoever comes
    /// and goes need not be listed anew each time.
    idle: Line,
    /// Sources that hold something.
    holding: usize,
    /// The one that was found last, if it is still known.
    last: Option<(SourceKey, Token)>,
    most: usize,
}

impl Sources {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            by_key: HashMap::new(),
            sources: Arena::new(),
            idle: Line::default(),
            holding: 0,
            last: None,
            most,
        }
    }

    /// Sources that hold something.
    pub(crate) fn len(&self) -> usize {
        self.holding
    }

    #[inline]
    pub(crate) fn find(&mut self, key: SourceKey) -> Option<Token> {
        // Connections come in rows from one source, a proxy for example: the last one is found without
        // hashing.
        if let Some((_, token)) = self.last.filter(|&(last, _)| last == key) {
            return Some(token);
        }
        let found = self.by_key.get(&key).copied();
        self.last = found.map(|token| (key, token)).or(self.last);
        found
    }

    /// What a source has.
    #[inline]
    pub(crate) fn has(&self, source: Token) -> Has {
        let Some(&Source { held, open, silent, .. }) = self.sources.get(source) else {
            return Has::default();
        };
        Has {
            all: held as usize,
            waiting: held.saturating_sub(open).saturating_sub(silent) as usize,
            silent: silent as usize,
        }
    }

    /// One more of a source is silent, or one less.
    pub(crate) fn change_silent(&mut self, source: Token, change: impl Fn(usize) -> usize) {
        if let Some(source) = self.sources.get_mut(source) {
            source.silent = u32::try_from(change(source.silent as usize)).unwrap_or(u32::MAX);
        }
    }

    #[inline]
    pub(crate) fn open(&self, source: Token) -> u32 {
        self.sources.get(source).map_or(0, |source| source.open)
    }

    /// Changes the number of open places of a source. Gives what it was, and what it is now.
    #[inline]
    pub(crate) fn change_open(
        &mut self,
        source: Token,
        change: impl Fn(usize) -> usize,
    ) -> Option<(u32, u32)> {
        let source = self.sources.get_mut(source)?;
        let now = u32::try_from(change(source.open as usize)).unwrap_or(u32::MAX);
        Some((std::mem::replace(&mut source.open, now), now))
    }

    /// Who stands back, of a source.
    pub(crate) fn back(&self, source: Token) -> Option<&Line> {
        self.sources.get(source).map(|source| &source.back)
    }

    pub(crate) fn back_mut(&mut self, source: Token) -> Option<&mut Line> {
        self.sources.get_mut(source).map(|source| &mut source.back)
    }

    pub(crate) fn is_free(&self, source: Token, rate: &Rate, at: u64) -> bool {
        self.sources.get(source).is_none_or(|source| source.meter.is_free(rate, at))
    }

    /// From now on this rate holds for every source.
    pub(crate) fn adopt(&mut self, rate: &Rate, at: u64) {
        for (_, source) in self.sources.iter_mut() {
            source.meter.adopt(rate, at);
        }
    }

    /// One more for the source of that key, which `known` is if it is known. `None`: the table is full
    /// of sources that hold something, and this one is not counted.
    #[inline]
    pub(crate) fn hold(
        &mut self,
        key: SourceKey,
        known: Option<Token>,
        rate: Option<&Rate>,
        at: u64,
    ) -> Option<Token> {
        // Whoever was refused for this one may have been the last by which it was known.
        let token = match known.filter(|&token| self.sources.get(token).is_some()) {
            Some(token) => token,
            None => self.enter(key, at)?,
        };
        let source = self.sources.get_mut(token)?;
        self.holding += usize::from(source.held == 0);
        source.held = source.held.saturating_add(1);
        if let Some(rate) = rate {
            source.meter.pass(rate, at);
        }
        Some(token)
    }

    /// One less for a source.
    #[inline]
    pub(crate) fn let_go(&mut self, token: Token, at: impl Fn() -> u64) {
        let Some(source) = self.sources.get_mut(token) else { return };
        debug_assert!(source.held > 0, "a source gave back what it did not hold");
        source.held = source.held.saturating_sub(1);
        if source.held > 0 {
            return;
        }
        self.holding -= 1;
        if !std::mem::replace(&mut source.is_listed, true) {
            self.idle.push(&mut self.sources, token);
        }
        if self.idle.len() > REMEMBERED {
            self.forget_some(at());
        }
    }

    /// A source that holds nothing yet.
    fn enter(&mut self, key: SourceKey, at: u64) -> Option<Token> {
        self.forget_some(at);
        while self.sources.len() >= self.most {
            let oldest = self.idle.oldest()?;
            self.unlist(oldest);
        }
        let source = Source {
            key,
            held: 0,
            open: 0,
            silent: 0,
            back: Line::default(),
            meter: Meter::default(),
            links: Links::default(),
            is_listed: false,
        };
        let token = self.sources.insert(source);
        self.by_key.insert(key, token);
        Some(token)
    }

    /// Forgets those of whom nothing is to be remembered but that they came.
    fn forget_some(&mut self, at: u64) {
        for _ in 0..2 {
            let oldest = self.idle.oldest().filter(|_| self.idle.len() > REMEMBERED);
            let Some(oldest) = oldest else { return };
            let matters = |source: &Source| source.held == 0 && !source.meter.is_blank(at);
            if self.sources.get(oldest).is_some_and(matters) {
                return;
            }
            self.unlist(oldest);
        }
    }

    /// Takes one from the list, and forgets it unless it holds something.
    fn unlist(&mut self, token: Token) {
        self.idle.unlink(&mut self.sources, token);
        let Some(source) = self.sources.get_mut(token) else { return };
        source.is_listed = false;
        if source.held == 0 {
            let key = source.key;
            self.sources.remove(token);
            self.by_key.remove(&key);
            self.last = self.last.filter(|&(last, _)| last != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn key(number: u32) -> SourceKey {
        Share::default().grain().key(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    fn hold(sources: &mut Sources, number: u32, rate: Option<&Rate>, at: u64) -> Option<Token> {
        let known = sources.find(key(number));
        sources.hold(key(number), known, rate, at)
    }

    #[test]
    fn who_has_given_everything_back_does_not_count_and_is_forgotten_for_others() {
        let mut sources = Sources::new(9);
        let token = hold(&mut sources, 1, None, 0).unwrap();
        assert_eq!(hold(&mut sources, 1, None, 0), Some(token));
        sources.let_go(token, || 0);
        assert_eq!((sources.has(token).all, sources.len()), (1, 1));
        sources.let_go(token, || 0);
        assert_eq!((sources.has(token).all, sources.len()), (0, 0));
        let mut sources = Sources::new(10_000);
        for number in 0..5_000 {
            let token = hold(&mut sources, number, None, 0).unwrap();
            sources.let_go(token, || 0);
        }
        assert_eq!((sources.len(), sources.sources.len()), (0, REMEMBERED));
        assert_eq!((sources.find(key(0)), sources.by_key.len()), (None, REMEMBERED));
    }

    #[test]
    fn a_rate_is_remembered_as_long_as_it_matters() {
        let rate = Rate::per_second(1);
        let mut sources = Sources::new(9);
        let token = hold(&mut sources, 1, Some(&rate), 0).unwrap();
        sources.let_go(token, || 0);
        assert_eq!(sources.find(key(1)), Some(token));
        assert!(!sources.is_free(token, &rate, SECOND / 2));
        assert!(sources.is_free(token, &rate, SECOND));
        let mut sources = Sources::new(10_000);
        for number in 0..5_000 {
            let token = hold(&mut sources, number, Some(&rate), 0).unwrap();
            sources.let_go(token, || 0);
        }
        assert_eq!(sources.sources.len(), 5_000, "each may not come again yet");
        for number in 5_000..9_000 {
            let token = hold(&mut sources, number, Some(&rate), SECOND).unwrap();
            sources.let_go(token, || SECOND);
        }
        assert_eq!(sources.find(key(0)), None);
        assert!(sources.sources.len() < 5_000 + REMEMBERED, "{}", sources.sources.len());
    }

    #[test]
    fn a_million_sources_stay_within_the_bound_and_push_out_only_who_holds_nothing() {
        let rate = Rate::per_second(1);
        let mut sources = Sources::new(1_000);
        let kept = hold(&mut sources, 0, Some(&rate), 0).unwrap();
        for number in 1..1_000_000 {
            let at = u64::from(number);
            let token = hold(&mut sources, number, Some(&rate), at).expect("an idle one makes room");
            sources.let_go(token, || at);
            assert!(sources.sources.len() <= 1_000);
        }
        assert_eq!(sources.find(key(0)), Some(kept));
    }

    #[test]
    fn a_table_full_of_holders_counts_no_newcomer_and_loses_nobody() {
        let mut sources = Sources::new(2);
        let first = hold(&mut sources, 1, None, 0).unwrap();
        hold(&mut sources, 2, None, 0).unwrap();
        assert_eq!(hold(&mut sources, 3, None, 0), None);
        assert_eq!(hold(&mut sources, 1, None, 0), Some(first));
        sources.let_go(first, || 0);
        sources.let_go(first, || 0);
        assert!(hold(&mut sources, 3, None, 0).is_some());
    }

    #[test]
    fn a_full_table_takes_less_than_10_mb() {
        // A slab and a hash table grow in powers of two; the latter is at most seven eighths full.
        let slots = MOST_SOURCES.next_power_of_two();
        assert!(MOST_SOURCES <= slots / 8 * 7);
        let slab = slots * size_of::<(std::num::NonZeroU32, Source)>();
        let table = slots * (size_of::<(SourceKey, Token)>() + 1);
        assert!(slots <= 65_536 && slab + table < 10_000_000, "{slots}: {slab} and {table} bytes");
    }
}
