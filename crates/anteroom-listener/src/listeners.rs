//! Several listeners that belong together.
//!
//! Owns the list. Never asks the kernel anything.

use crate::Listener;

/// A list of listeners; one converts into it, and so do a vector and an array.
///
/// # Examples
///
/// ```
/// use anteroom_listener::{Listener, Listeners};
///
/// let both: Listeners = [Listener::bind("127.0.0.1:0")?, Listener::bind("127.0.0.1:0")?].into();
/// assert_eq!(both.len(), 2);
/// # Ok::<(), anteroom_listener::BindError>(())
/// ```
#[derive(Debug, Default)]
pub struct Listeners(Vec<Listener>);

impl Listeners {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each in its order.
    pub fn iter(&self) -> std::slice::Iter<'_, Listener> {
        self.0.iter()
    }
}

impl From<Listener> for Listeners {
    fn from(listener: Listener) -> Self {
        Self(vec![listener])
    }
}

impl From<Vec<Listener>> for Listeners {
    fn from(listeners: Vec<Listener>) -> Self {
        Self(listeners)
    }
}

impl<const N: usize> From<[Listener; N]> for Listeners {
    fn from(listeners: [Listener; N]) -> Self {
        Self(listeners.into())
    }
}

impl FromIterator<Listener> for Listeners {
    fn from_iter<I: IntoIterator<Item = Listener>>(listeners: I) -> Self {
        Self(listeners.into_iter().collect())
    }
}

impl IntoIterator for Listeners {
    type Item = Listener;
    type IntoIter = std::vec::IntoIter<Listener>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Listeners {
    type Item = &'a Listener;
    type IntoIter = std::slice::Iter<'a, Listener>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
