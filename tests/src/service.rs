//! A service of the load's crate as a process: `serve SETUP`.
//!
//! Owns nothing.

#![forbid(unsafe_code)]

use std::io;

fn main() -> io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [serve, setup] if serve == "serve" => anteroom_load::service::serve(setup),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: serve SETUP")),
    }
}
