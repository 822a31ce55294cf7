//! The new side of the exchange.
//!
//! Owns its order, the listeners that nobody has asked for yet, and connections between the message that brought them
//! and the room. Never starts a server, never decides about a connection.

use std::{collections::HashSet, io, thread, time::Duration};

use super::{
    Exported, HandoverError, HandoverErrorKind, Heir, Predecessor,
    channel::Channel,
    message::{self, Entry, Message},
    steps::{self, Step},
    succession::Succession,
};

/// The whole of the exchange, where nobody has said how long it may take.
pub(super) const WITHIN: Duration = Duration::from_secs(60);

/// Carries the exchange to its end, on a thread of its own. `within`: for the whole of it; `None`: 60 s.
///
/// # Errors
/// There is no thread to be had. The predecessor learns it by the end of the channel.
pub(crate) fn succeed(
    predecessor: Predecessor,
    heir: Box<dyn Heir>,
    within: Option<Duration>,
) -> io::Result<()> {
    let (mut channel, will, succession) = predecessor.into_parts();
    channel.within(within.or_else(steps::patience).unwrap_or(WITHIN));
    let thread = thread::Builder::new().name("anteroom-handover".into());
    thread.spawn(move || take(channel, &will, &*heir, succession)).map(drop)
}

/// What this side has said about the listeners that were offered.
#[derive(Debug, Default)]
pub(super) struct Will {
    pub(super) taken: Vec<String>,
    pub(super) left: Vec<String>,
    /// Of all that were offered, those that nobody else had.
    pub(super) exclusive: Vec<String>,
}

/// How an exchange ended that did not fail.
#[derive(Debug)]
enum End {
    /// The predecessor has said, or shown by its death, that this server is the only one.
    Alone,
    /// It serves on, and this side must not.
    Failed(HandoverError),
}

pub(super) fn take(mut channel: Channel, will: &Will, heir: &dyn Heir, succession: Succession) {
    match exchange(&mut channel, will, heir) {
        End::Alone => {
            succession.succeeded();
            heir.over(&will.exclusive);
        }
        End::Failed(error) => {
            drop(succession);
            // The channel is open until the heir has let go: by its end the other side knows.
            heir.failed(error);
        }
    }
    drop(channel);
}

fn exchange(channel: &mut Channel, will: &Will, heir: &dyn Heir) -> End {
    channel.reached(Step::Started);
    match may_serve(channel, heir).and_then(|()| await_go(channel, will, heir)) {
        Ok(Told::Go) => channel.reached(Step::GotGo),
        // It died, having offered everything: these sockets are nobody's but ours.
        Ok(Told::Nothing) => {
            heir.begin();
            return End::Alone;
        }
        Err(error) => return fail(channel, error),
    }
    if let Err(error) = may_serve(channel, heir) {
        return fail(channel, error);
    }
    heir.begin();
    channel.reached(Step::Begun);
    if let Err(error) = channel.send(&Message::Serving {}, &[]) {
        return match look_for_word(channel, error) {
            Ok(()) => End::Alone,
            Err(error) => End::Failed(error),
        };
    }
    channel.reached(Step::SentServing);
    match receive_connections(channel, will, heir) {
        Ok(()) => End::Alone,
        Err(error) => fail(channel, error),
    }
}

/// Who was told to stop says no, and the other side keeps what it has.
fn may_serve(channel: &Channel, heir: &dyn Heir) -> Result<(), HandoverError> {
    heir.may_serve().map_err(|reason| channel.error(HandoverErrorKind::NotNow { reason }))
}

/// What the predecessor said to this side's being ready.
enum Told {
    Go,
    /// It has died without a word.
    Nothing,
}

fn await_go(channel: &mut Channel, will: &Will, heir: &dyn Heir) -> Result<Told, HandoverError> {
    if let Err(error) = say_ready(channel, will, &heir.names()) {
        return look_for_word(channel, error).map(|()| Told::Nothing);
    }
    channel.reached(Step::SentReady);
    match channel.receive() {
        Ok((Message::Go {}, _)) => Ok(Told::Go),
        Ok((got, _)) => Err(channel.unexpected(got, "go")),
        Err(error) if is_end(&error) => Ok(Told::Nothing),
        Err(error) => Err(error),
    }
}

/// In as many messages as it takes.
fn say_ready(channel: &mut Channel, will: &Will, served: &[String]) -> Result<(), HandoverError> {
    let served: HashSet<_> = served.iter().collect();
    let taken: Vec<_> = will.taken.iter().filter(|name| served.contains(name)).cloned().collect();
    let (mut taken, mut left) = (taken.as_slice(), will.left.as_slice());
    loop {
        let (page_taken, more_taken) = taken.split_at_checked(message::page(taken)).unwrap_or_default();
        // One list at a time, so that each page is as full as it may be and no fuller.
        let room = if page_taken.is_empty() { message::page(left) } else { 0 };
        let (page_left, more_left) = left.split_at_checked(room).unwrap_or_default();
        let more = !more_taken.is_empty() || !more_left.is_empty();
        let message = Message::Ready { taken: page_taken.to_vec(), left: page_left.to_vec(), more };
        channel.send(&message, &[])?;
        if !more {
            return Ok(());
        }
        (taken, left) = (more_taken, more_left);
    }
}

/// The other side lets go when it has read this. If it has given up before, it says so.
fn say_alone(channel: &mut Channel) -> Result<(), HandoverError> {
    match channel.send(&Message::Alone {}, &[]) {
        Ok(()) => {
            channel.reached(Step::SentAlone);
            Ok(())
        }
        Err(error) => look_for_word(channel, error),
    }
}

/// The other side did not want to hear: `Err` with its word if it lives, `Ok` if it has died.
fn look_for_word(channel: &mut Channel, unheard: HandoverError) -> Result<(), HandoverError> {
    if !is_end(&unheard) {
        return Err(unheard);
    }
    match channel.receive() {
        Ok((got, _)) => Err(channel.unexpected(got, "abort")),
        Err(error) if is_end(&error) => Ok(()),
        // Its end is still open, so it lives, and keeps what it has.
        Err(error) => Err(error),
    }
}

/// Until the other side has said that there are no more, or has ended.
fn receive_connections(channel: &mut Channel, will: &Will, heir: &dyn Heir) -> Result<(), HandoverError> {
    loop {
        let connections = match channel.receive_or_give_up() {
            // What comes to a deaf ear is the last that can come, and these are still the other side's.
            Ok((Message::Connections { .. }, _)) if !channel.hears() => return Err(channel.timed_out()),
            Ok((Message::Connections { entries }, descriptors)) => (entries, descriptors),
            Ok((Message::Done {}, _)) => {
                channel.reached(Step::GotDone);
                return say_alone(channel);
            }
            Ok((got, _)) => return Err(channel.unexpected(got, "connections or done")),
            Err(error) if is_end(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let batch = revive(channel, will, connections)?;
        channel.reached(Step::GotConnections);
        // If the other side has died they are nobody else's.
        if !channel.is_closed_within(Duration::ZERO) {
            may_serve(channel, heir)?;
        }
        // Before they are admitted: once it is said, the other side never takes them back.
        if let Err(error) = channel.send(&Message::Taken { count: batch.len() }, &[]) {
            // Dropped, they are still the other side's; if it has died, they are ours.
            look_for_word(channel, error)?;
            heir.receive(batch);
            return Ok(());
        }
        channel.reached(Step::SentTaken);
        heir.receive(batch);
        channel.reached(Step::Admitted);
    }
}

fn revive(
    channel: &Channel,
    will: &Will,
    (entries, descriptors): (Vec<Entry>, Vec<std::os::fd::OwnedFd>),
) -> Result<Vec<Exported>, HandoverError> {
    let connections = entries.into_iter().zip(descriptors).map(|(entry, descriptor)| {
        if !will.taken.contains(&entry.listener) {
            let what = format!("a connection came by {:?}, a listener that was not taken", entry.listener);
            return Err(channel.malformed(what));
        }
        let listener = entry.listener.clone();
        entry.revive(descriptor).map_err(|why| {
            channel.error(HandoverErrorKind::Descriptor { listener }).because(io::Error::other(why))
        })
    });
    connections.collect()
}

/// Says so, having made sure that nothing that is said from now on could mean the opposite.
fn fail(channel: &mut Channel, error: HandoverError) -> End {
    channel.close_ear();
    channel.say(&Message::Failed { reason: error.reason() });
    End::Failed(error)
}

/// Whether it says that the other side's end of the channel is closed.
fn is_end(error: &HandoverError) -> bool {
    matches!(error.kind(), HandoverErrorKind::Vanished { .. })
}
