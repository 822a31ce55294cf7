//! The server's side.
//!
//! Owns: a thread that answers, outside every runtime, so that a server whose workers are all blocked can
//! still be asked.
//! Never: ends the process: it tells that the parent is gone.

use std::{
    io::{self, BufRead, Write},
    net::SocketAddr,
};
use tokio::sync::oneshot;

/// Resolves when whoever started this server is gone or wants no more.
pub type ParentGone = oneshot::Receiver<()>;

/// Tells the address, then answers every question with `answer` until the input ends.
///
/// # Errors
///
/// Nobody reads the address, or there is no thread.
pub fn answer_parent(
    address: SocketAddr,
    mut answer: impl FnMut(&str) -> String + Send + 'static,
) -> io::Result<ParentGone> {
    say(&address.to_string())?;
    let (gone, parent_gone) = oneshot::channel();
    std::thread::Builder::new().name("answers".into()).spawn(move || {
        for question in io::stdin().lock().lines() {
            let Ok(question) = question else { break };
            if say(&answer(question.trim())).is_err() {
                break;
            }
        }
        // Nobody waiting any more is as good as told.
        let _ = gone.send(());
    })?;
    Ok(parent_gone)
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
