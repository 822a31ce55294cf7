//! The admin listener as its clients meet it, over sockets.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is test code")]

mod asking;
mod hostile;
mod shape;
mod stuck;
mod telling;
