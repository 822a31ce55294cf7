//! What a server that tests start as a process of its own is told: its argument, and the commands that each of
//! them knows.
//!
//! Owns the words that they share. Each has its own besides.

use std::io::{self, Write};

use anteroom::{Config, Handle, Listener};
use serde_json::{Value, json};

use crate::events::Collected;
use crate::hoard::Hoard;

/// The setup in JSON that is this program's argument.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn of_this_program() -> Value {
    std::env::args().nth(1).map_or(Value::Null, |setup| {
        serde_json::from_str(&setup).unwrap_or_else(|error| panic!("{error}: {setup}"))
    })
}

/// The listener of a setup: `listen`, `name`, `backlog`; and the first line about it.
///
/// # Panics
/// When it cannot be had.
#[must_use]
pub fn listener(setup: &Value) -> (Listener, Value) {
    let mut builder = Listener::builder();
    if let Some(backlog) = setup["backlog"].as_u64() {
        builder = builder.backlog(u32::try_from(backlog).expect("a backlog"));
    }
    if let Some(name) = setup["name"].as_str() {
        builder = builder.name(name);
    }
    let address = setup["listen"].as_str().unwrap_or("127.0.0.1:0");
    let listener = builder.bind(address).expect("the address is free");
    let started = json!({
        "address": listener.local_addr().to_string(),
        "requested": listener.backlog().requested,
        "effective": listener.backlog().effective,
    });
    (listener, started)
}

/// The settings of a setup: `config`.
///
/// # Panics
/// When they are none.
#[must_use]
pub fn config(setup: &Value) -> Config {
    match &setup["config"] {
        Value::Null => Config::default(),
        config => serde_json::from_value(config.clone()).expect("a configuration"),
    }
}

/// Answers on stdout.
///
/// # Panics
/// When nobody reads.
pub fn say(answer: &Value) {
    let mut out = io::stdout().lock();
    writeln!(out, "{answer}").and_then(|()| out.flush()).expect("somebody reads");
}

/// The command, and its argument if it has one.
#[must_use]
pub fn words(line: &str) -> (&str, &str) {
    line.split_once(' ').unwrap_or((line, ""))
}

/// Obeys `events [TARGET]`, `pause`, `resume` and `hoard FILES`. `None`: it is another command.
///
/// # Panics
/// When an argument is none.
pub fn obey(command: (&str, &str), handle: &Handle, events: &Collected, hoard: &mut Hoard) -> Option<Value> {
    Some(match command {
        ("events", "") => events.of(None).into(),
        ("events", target) => events.of(Some(target)).into(),
        ("pause", _) => {
            handle.pause();
            json!({})
        }
        ("resume", _) => {
            handle.resume();
            json!({})
        }
        ("hoard", files) => json!({ "held": hoard.hold(files.parse().expect("a number of files")) }),
        _ => return None,
    })
}
