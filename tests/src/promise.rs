//! How long a test takes: as long as a promise says where somebody asks for it, and less without.
//!
//! Owns the one look at the environment.

use std::fmt::Display;
use std::str::FromStr;

/// The number in this variable of the environment (`ANTEROOM_ROUNDS`, `ANTEROOM_SECONDS` and the like), or another one.
///
/// # Panics
/// It is no number.
#[must_use]
pub fn asked_for<N: FromStr<Err: Display>>(variable: &str, otherwise: N) -> N {
    std::env::var(variable).map_or(otherwise, |number| {
        number.parse().unwrap_or_else(|error| panic!("{variable}={number} is no number: {error}"))
    })
}
