//! How many of the process's descriptors the server may use.

/// How many sockets a server may hold at the same time, in all lanes and stages together, so that
/// `accept`, files and other connections of the process do not fail. Past it somebody of the newcomer's
/// own lane is refused as [`Cause::Resources`](crate::Cause::Resources): who has been silent longest, or
/// who has waited longest, or the newcomer where nobody waits.
///
/// It is worked out once, at the start. Servers of one process do not know of each other: give each a
/// [`Fixed`](Self::Fixed) number. Of a server with [`Refusal::Reply`](crate::Refusal::Reply), up to a
/// quarter is kept for the [`Farewell`](crate::Farewell).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum DescriptorBudget {
    /// The soft `RLIMIT_NOFILE`, less what the process has open at the start, less an eighth of the
    /// limit (from 16 to 512) for the rest of the process. The default. Where the platform does not
    /// tell, as [`Unlimited`](Self::Unlimited).
    Derived,
    /// As [`Derived`](Self::Derived), with so many for the rest of the process: a proxy, for example,
    /// needs one more for each connection.
    Reserving(usize),
    /// So many.
    Fixed(usize),
    /// No bound of its own; [`OutOfDescriptors`](crate::OutOfDescriptors) says what happens then.
    Unlimited,
}

impl DescriptorBudget {
    /// The number of sockets, in a process that may have `limit` descriptors and has `open`; at least
    /// one. `None`: any number.
    pub(crate) fn sockets(self, limit: Option<u64>, open: Option<u64>) -> Option<usize> {
        let reserve = |soft: usize| match self {
            Self::Derived => Some((soft / 8).clamp(16, 512)),
            Self::Reserving(reserve) => Some(reserve),
            Self::Fixed(_) | Self::Unlimited => None,
        };
        if let Self::Fixed(sockets) = self {
            return Some(sockets.max(1));
        }
        let soft = usize::try_from(limit?).ok()?;
        let open = usize::try_from(open?).ok()?;
        Some(soft.saturating_sub(open).saturating_sub(reserve(soft)?).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(budget: DescriptorBudget, soft: u64, open: u64) -> Option<usize> {
        budget.sockets(Some(soft), Some(open))
    }

    #[test]
    fn the_rest_of_the_process_keeps_an_eighth_or_what_it_is_given() {
        assert_eq!(sockets(DescriptorBudget::Derived, 1_024, 24), Some(1_024 - 24 - 128));
        assert_eq!(sockets(DescriptorBudget::Derived, 64, 20), Some(64 - 20 - 16));
        assert_eq!(sockets(DescriptorBudget::Derived, 1_000_000, 100), Some(1_000_000 - 100 - 512));
        assert_eq!(sockets(DescriptorBudget::Reserving(900), 1_024, 24), Some(100));
        assert_eq!(sockets(DescriptorBudget::Reserving(2_000), 1_024, 24), Some(1), "never none");
        assert_eq!(sockets(DescriptorBudget::Fixed(7), 1_024, 24), Some(7));
        assert_eq!(sockets(DescriptorBudget::Unlimited, 1_024, 24), None);
    }

    #[test]
    fn where_the_platform_does_not_tell_there_is_no_budget() {
        assert_eq!(DescriptorBudget::Derived.sockets(None, None), None);
    }
}
