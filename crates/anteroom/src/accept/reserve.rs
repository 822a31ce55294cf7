//! The reserve descriptor: held so that one connection can be accepted and refused when there are no
//! others.
//!
//! Owns one descriptor of `/dev/null`. It can be lost between being freed and being taken again,
//! when another thread opens something; it is then regained by time.

use std::fs::File;
use std::io;

#[derive(Debug)]
pub(super) struct Reserve(Option<File>);

impl Reserve {
    /// # Errors
    /// No descriptor is left even now.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Some(open()?)))
    }

    /// Frees the descriptor for one `accept`. Says whether there was one.
    pub(super) fn lend(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// Takes it back, if there is one to be had. Says whether it is held now.
    pub(super) fn regain(&mut self) -> bool {
        if self.0.is_none() {
            self.0 = open().ok();
        }
        self.0.is_some()
    }

    pub(super) fn is_held(&self) -> bool {
        self.0.is_some()
    }
}

fn open() -> io::Result<File> {
    File::open("/dev/null")
}
