//! The accept queue of this process's listener.
//!
//! Owns: a second descriptor of the listener, so that the kernel can be asked whatever the runtime does.
//! Never: accepts.

use std::process::Command;

/// What the kernel says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    /// Connections that wait.
    pub(crate) depth: Option<u64>,
    /// How many may, by the kernel's own count; one more fits.
    pub(crate) limit: Option<u64>,
    /// Segments that this listener dropped, because the queue was full for the most part.
    pub(crate) drops: Option<u64>,
}

/// The queue of the listener on `port`.
pub(crate) fn of_port(port: u16) -> Queue {
    let filter = format!("sport = :{port}");
    let output = Command::new("ss").args(["-Hltnm", &filter]).output();
    output.map_or_else(|_| Queue::default(), |output| parse(&String::from_utf8_lossy(&output.stdout)))
}

/// `LISTEN depth limit local peer skmem:(…,d<drops>)`.
fn parse(text: &str) -> Queue {
    let mut fields = text.split_whitespace().skip(1);
    Queue {
        depth: fields.next().and_then(|field| field.parse().ok()),
        limit: fields.next().and_then(|field| field.parse().ok()),
        drops: text.rsplit_once(",d").and_then(|(_, rest)| rest.split(')').next()?.parse().ok()),
    }
}
