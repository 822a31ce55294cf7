//! Who may come at all: lists of address blocks.
//!
//! Owns both lists as one table. Never refuses anybody itself.

use std::net::IpAddr;

use super::prefix::{Prefix, Prefixes};

/// What a list says of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    Allowed,
    Denied,
}

/// The allow list and the deny list. The longest block that holds an address counts.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    lists: Prefixes<Listed>,
    /// Of who is on neither list.
    unlisted: Listed,
}

impl Access {
    pub(crate) fn new(allow: &[Prefix], deny: &[Prefix]) -> Self {
        let allowed = allow.iter().map(|&prefix| (prefix, Listed::Allowed));
        let denied = deny.iter().map(|&prefix| (prefix, Listed::Denied));
        let unlisted = if allow.is_empty() { Listed::Allowed } else { Listed::Denied };
        Self { lists: Prefixes::new(allowed.chain(denied)), unlisted }
    }

    /// Whether a client of this address may come. One without an address (a Unix socket) is nobody
    /// that the lists speak of.
    pub(crate) fn admits(&self, address: Option<IpAddr>) -> bool {
        if self.lists.is_empty() {
            return true;
        }
        let listed = |address| self.lists.longest(address).unwrap_or(self.unlisted);
        address.is_none_or(|address| listed(address) == Listed::Allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn admitted(allow: &[&str], deny: &[&str], address: &str) -> bool {
        Access::new(&prefixes(allow), &prefixes(deny)).admits(Some(address.parse().unwrap()))
    }

    #[test]
    fn without_lists_everybody_may_come_and_with_an_allow_list_only_who_is_on_it() {
        assert!(admitted(&[], &[], "192.0.2.1"));
        assert!(admitted(&["192.0.2.0/24"], &[], "192.0.2.1"));
        assert!(!admitted(&["192.0.2.0/24"], &[], "198.51.100.1"));
        assert!(!admitted(&[], &["192.0.2.0/24"], "::ffff:192.0.2.1"));
        assert!(Access::new(&prefixes(&["::1"]), &[]).admits(None));
    }

    #[test]
    fn of_two_blocks_the_longer_one_counts_whichever_list_it_is_on() {
        assert!(admitted(&["10.1.0.0/16"], &["10.0.0.0/8"], "10.1.2.3"));
        assert!(!admitted(&["10.0.0.0/8"], &["10.1.0.0/16"], "10.1.2.3"));
        assert!(admitted(&["10.0.0.0/8"], &["10.1.0.0/16"], "10.2.2.3"));
    }
}
