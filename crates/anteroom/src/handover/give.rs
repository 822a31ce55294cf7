//! The old side of the exchange.
//!
//! Owns its order, and the connections between the moment that they leave the room and the moment that the other side
//! has them or they are back. Never starts or ends a process, never knows how the channel came to be.

use std::{
    collections::HashSet,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use super::{
    Estate, Exported, Passed,
    channel::Channel,
    error::{HandoverError, HandoverErrorKind},
    message::{self, Entry, MAX_DESCRIPTORS, Message, Offered},
    steps::{Side, Step},
};

/// How long a successor that was refused may take to read why, and to let go what it was given.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is to be passed on: descriptors of the listeners, in the pages in which they are sent.
#[derive(Debug)]
pub(super) struct Offer {
    listeners: Vec<Offered>,
    descriptors: Vec<OwnedFd>,
}

/// A successor serves, and is the only one.
#[derive(Debug)]
pub(super) struct Given {
    /// How many connections out of the room it took.
    pub(super) connections: u64,
    /// Why the others stayed here.
    pub(super) kept: Option<HandoverError>,
}

/// Calls [`Estate::over`] when it goes, whatever happened.
pub(super) struct UntilOver<'a>(pub(super) &'a dyn Estate);

impl Drop for UntilOver<'_> {
    fn drop(&mut self) {
        self.0.over();
    }
}

impl Offer {
    pub(super) fn of(estate: &dyn Estate) -> Result<Self, HandoverError> {
        let listeners = estate.listeners().map_err(|error| {
            let kind = HandoverErrorKind::System { what: "make descriptors of the listeners to pass on" };
            HandoverError::of(Side::Old, kind).because(error)
        })?;
        let (listeners, descriptors) = listeners
            .into_iter()
            .map(|Passed { name, address, exclusive, descriptor }| {
                (Offered { name, address, exclusive }, descriptor)
            })
            .unzip();
        Ok(Self { listeners, descriptors })
    }

    fn send(&self, channel: &mut Channel) -> Result<(), HandoverError> {
        let mut listeners = self.listeners.as_slice();
        let mut descriptors = self.descriptors.iter();
        loop {
            let (page, rest) = listeners.split_at_checked(message::page(listeners)).unwrap_or_default();
            let attached: Vec<_> = descriptors.by_ref().take(page.len()).map(AsFd::as_fd).collect();
            let message = Message::Offer { listeners: page.to_vec(), more: !rest.is_empty() };
            channel.send(&message, &attached)?;
            listeners = rest;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.listeners.iter().map(|listener| listener.name.as_str())
    }
}

/// From the offer to the end. `Err`: the estate serves on, and the other side was told, if it lives; who was already
/// taken is the other side's.
pub(super) fn give(channel: &mut Channel, estate: &dyn Estate, offer: Offer) -> Result<Given, HandoverError> {
    let given = persuade(channel, offer).and_then(|left| {
        channel.reached(Step::GotServing);
        estate.hold_back();
        channel.reached(Step::HeldBack);
        let given = part(channel, estate, &left).and_then(|given| {
            channel.reached(Step::SentDone);
            hear_it_is_alone(channel)?;
            Ok(given)
        });
        let given = given.inspect_err(|_| estate.go_on())?;
        estate.hand_over(&left);
        channel.reached(Step::HandedOver);
        Ok(given)
    });
    given.inspect_err(|error| channel.say(&Message::Abort { reason: error.reason() }))
}

/// Until the successor serves; gives what it leaves.
fn persuade(channel: &mut Channel, offer: Offer) -> Result<Vec<String>, HandoverError> {
    offer.send(channel)?;
    channel.reached(Step::SentOffer);
    // Nothing is at stake before `Go`: an `Abort` is read before anything that the other side could do.
    let (taken, left) = read_ready(channel, offer.listeners.len())?;
    let left = check_ready(channel, &offer, &taken, left)?;
    // The copies that were passed on are the successor's; it may die with them from here on.
    drop(offer);
    channel.reached(Step::GotReady);
    channel.send(&Message::Go {}, &[])?;
    channel.reached(Step::SentGo);
    match channel.receive_or_give_up()?.0 {
        Message::Serving {} => Ok(left),
        got => Err(channel.unexpected(got, "serving")),
    }
}

/// What the successor takes and what it leaves, no more names than were offered.
fn read_ready(channel: &mut Channel, offered: usize) -> Result<(Vec<String>, Vec<String>), HandoverError> {
    let (mut all_taken, mut all_left) = (Vec::new(), Vec::new());
    loop {
        let (taken, left, more) = match channel.receive()?.0 {
            Message::Ready { taken, left, more } => (taken, left, more),
            got => return Err(channel.unexpected(got, "ready")),
        };
        if taken.is_empty() && left.is_empty() && more {
            return Err(channel.malformed("an empty part of an answer says that more follow"));
        }
        all_taken.extend(taken);
        all_left.extend(left);
        if all_taken.len() + all_left.len() > offered {
            return Err(channel.malformed("it names more listeners than were offered"));
        }
        if !more {
            return Ok((all_taken, all_left));
        }
    }
}

/// Whether the successor has named every listener, and none that is not there.
fn check_ready(
    channel: &Channel,
    offer: &Offer,
    taken: &[String],
    left: Vec<String>,
) -> Result<Vec<String>, HandoverError> {
    let named: HashSet<&str> = taken.iter().chain(&left).map(String::as_str).collect();
    let offered: HashSet<&str> = offer.names().collect();
    if let Some(listener) = offer.names().find(|name| !named.contains(name)) {
        return Err(channel.error(HandoverErrorKind::LeftOut { listener: listener.to_owned() }));
    }
    if let Some(unknown) = named.iter().find(|name| !offered.contains(*name)) {
        return Err(channel.malformed(format!("it names the listener {unknown:?}, which was not offered")));
    }
    if let Some(both) = left.iter().find(|name| taken.contains(name)) {
        return Err(channel.malformed(format!("it takes the listener {both:?} and leaves it")));
    }
    Ok(left)
}

/// Passes on who waits, batch by batch, until the room is empty, and says that this was all. Whoever is not taken is
/// back in the room.
fn part(channel: &mut Channel, estate: &dyn Estate, left: &[String]) -> Result<Given, HandoverError> {
    let mut given = Given { connections: 0, kept: None };
    // Without an ear nobody can be passed on; they are served here.
    while channel.hears() {
        let mut batch = estate.export(MAX_DESCRIPTORS, left);
        if batch.is_empty() {
            break;
        }
        channel.reached(Step::Exported);
        while !batch.is_empty() && channel.hears() {
            let entries: Vec<_> = batch.iter().map(Entry::of).collect();
            let rest = batch.split_off(message::page(&entries));
            if let Err(error) = deliver(channel, &batch) {
                batch.extend(rest);
                estate.take_back(batch);
                return Err(error);
            }
            given.connections += u64::try_from(batch.len()).unwrap_or_default();
            estate.handed_over(batch);
            channel.reached(Step::LetGo);
            batch = rest;
        }
        if !batch.is_empty() {
            estate.take_back(batch);
        }
    }
    if !channel.hears() {
        given.kept = Some(channel.timed_out());
    }
    channel.send(&Message::Done {}, &[])?;
    Ok(given)
}

/// That the last word was sent does not tell that it was read: a successor that dies before has left this
/// side the only one.
fn hear_it_is_alone(channel: &mut Channel) -> Result<(), HandoverError> {
    if !channel.hears() {
        // It was slow and lived a moment ago; there is no ear left to learn more.
        return Ok(());
    }
    match channel.receive_or_give_up()?.0 {
        Message::Alone {} => {
            channel.reached(Step::GotAlone);
            Ok(())
        }
        got => Err(channel.unexpected(got, "alone")),
    }
}

/// Sends one page; `Ok`: the other side says that it is its own. Until then this side holds it.
fn deliver(channel: &mut Channel, page: &[Exported]) -> Result<(), HandoverError> {
    let entries = page.iter().map(Entry::of).collect();
    let descriptors: Vec<_> = page.iter().map(|connection| connection.stream.as_fd()).collect();
    channel.send(&Message::Connections { entries }, &descriptors)?;
    channel.reached(Step::SentConnections);
    match channel.receive_or_give_up()?.0 {
        Message::Taken { count } if count == page.len() => {
            channel.reached(Step::GotTaken);
            Ok(())
        }
        Message::Taken { count } => {
            Err(channel.malformed(format!("it takes {count} connections of {}", page.len())))
        }
        got => Err(channel.unexpected(got, "taken")),
    }
}
