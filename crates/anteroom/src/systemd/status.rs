//! What `systemctl status` shows of a server, in one line.
//!
//! Owns the wording. Reads counts and queues, changes nothing.

use std::fmt::Write as _;

use crate::lifecycle::Core;
use crate::observe::Phase;

/// The manager takes messages of 4,096 bytes; one line is enough for people.
const LONGEST: usize = 1_000;

/// Whether the settings are being read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settings {
    Current,
    Reloading,
}

/// Such as `serving: 12 open, 3 waiting, queue public 5/4096`.
pub(super) fn status(core: &Core, phase: Phase, settings: Settings) -> String {
    let mut line = match (settings, phase) {
        (Settings::Reloading, Phase::Serving) => "reloading".to_owned(),
        _ => phase.label().replace('_', " "),
    };
    if phase == Phase::Stopped {
        let _a_string_takes_everything = write!(line, ": {}", core.report());
        return one_line(line);
    }
    if core.life.is_paused() {
        line.push_str(", paused");
    }
    let occupancy = core.gate.occupancy();
    let _a_string_takes_everything = write!(line, ": {} open, {} waiting", occupancy.open, occupancy.waiting);
    let queues: Vec<_> = core
        .gate
        .ports()
        .iter()
        .filter_map(|port| {
            let queue = port.queue()?;
            let number = |number: Option<u32>| number.map_or_else(|| "?".to_owned(), |it| it.to_string());
            Some(format!("{} {}/{}", port.name, number(queue.depth), number(queue.limit)))
        })
        .collect();
    match queues.as_slice() {
        [] => {}
        [one] => line.extend([", queue ", one]),
        several => line.extend([", queues ", &several.join(", ")]),
    }
    one_line(line)
}

/// A name may hold anything, and a line feed would begin a message of its own.
fn one_line(mut line: String) -> String {
    if line.contains(char::is_control) {
        line = line.replace(char::is_control, " ");
    }
    if line.len() > LONGEST {
        let mut end = LONGEST;
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Incoming, Listener};

    #[test]
    fn it_tells_the_phase_the_places_and_each_queue() {
        let listen = |name: &str| Listener::builder().name(name).backlog(16).bind("127.0.0.1:0").unwrap();
        let incoming = Incoming::builder().listen(vec![listen("public"), listen("ad\nmin")]).start().unwrap();
        let handle = incoming.handle();
        let told = |settings| status(&handle.0, handle.phase(), settings);
        let queue = if cfg!(all(target_os = "linux", not(anteroom_portable))) { "0/16" } else { "?/?" };
        let all = format!("serving: 0 open, 0 waiting, queues public {queue}, ad min {queue}");
        assert_eq!(told(Settings::Current), all);
        handle.pause();
        assert!(told(Settings::Reloading).starts_with("reloading, paused: 0 open"));
    }

    #[test]
    fn a_line_stays_short_and_whole() {
        assert_eq!(one_line("a\nb\u{7}c".to_owned()), "a b c");
        let cut = one_line("ä".repeat(LONGEST));
        assert_eq!(cut.chars().count(), LONGEST / 2 + 1);
        assert!(cut.ends_with("ä…"));
    }
}
