//! The old side of the exchange.
