//! The server that tests start as a process of its own, to stop, starve and trace it.

fn main() {}
