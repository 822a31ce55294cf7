//! A server on either side that only keeps what it is given.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{Arc, Mutex, MutexGuard},
    thread::{self, JoinHandle},
    time::Duration,
};

use anteroom_listener::{Listener, PeerAddr, Stream};

use super::{Fate, Hook};
use crate::handover::{
    Estate, Exported, HandoverError, HandoverErrorKind, Heir, Passed, Predecessor,
    channel::Channel,
    give::{self, Given, Offer, UntilOver},
    steps::{Side, Step},
    succession::Identity,
    take,
};

/// Long enough for any machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How long somebody waits in vain where that is the test.
pub(super) const SHORT: Duration = Duration::from_millis(30);

#[derive(Clone, Default)]
pub(super) struct Old(Arc<Mutex<OldState>>);

#[derive(Default)]
pub(super) struct OldState {
    dead: bool,
    pub(super) draining: Option<&'static str>,
    pub(super) under_way: bool,
    pub(super) listeners: Vec<Listener>,
    pub(super) room: Vec<Exported>,
    pub(super) holds_back: bool,
    /// What the successor left, once the listeners are closed.
    pub(super) handed_over: Option<Vec<String>>,
    pub(super) passed_on: usize,
    pub(super) failures: Vec<(HandoverErrorKind, bool)>,
    pub(super) over: usize,
}

#[derive(Clone, Default)]
pub(super) struct New(Arc<Mutex<NewState>>);

#[derive(Default)]
pub(super) struct NewState {
    dead: bool,
    pub(super) listeners: Vec<Listener>,
    pub(super) begun: bool,
    pub(super) room: Vec<Exported>,
    pub(super) failed: Option<HandoverErrorKind>,
    pub(super) over: usize,
    /// The listeners that nobody else has.
    pub(super) exclusive: Vec<String>,
}

impl Old {
    pub(super) fn state(&self) -> MutexGuard<'_, OldState> {
        self.0.lock().unwrap()
    }

    pub(super) fn die(&self) {
        *self.state() = OldState { dead: true, ..OldState::default() };
    }

    /// It is as it was before, with so many in its room.
    pub(super) fn assert_serves_on(&self, listeners: usize, room: usize) {
        let state = self.state();
        assert_eq!(state.listeners.len(), listeners);
        assert_eq!(state.room.len(), room);
        assert_eq!(state.handed_over, None);
        assert!(!state.holds_back, "it accepts");
        assert!(!state.under_way, "another exchange may begin");
        assert_eq!(state.over, 1);
    }
}

impl New {
    pub(super) fn state(&self) -> MutexGuard<'_, NewState> {
        self.0.lock().unwrap()
    }

    pub(super) fn die(&self) {
        *self.state() = NewState { dead: true, ..NewState::default() };
    }

    pub(super) fn is_over(&self) -> bool {
        let state = self.state();
        state.over > 0 || state.failed.is_some()
    }

    pub(super) fn assert_alone(&self, listeners: usize, room: usize) {
        let state = self.state();
        assert_eq!(state.failed, None);
        assert!(state.begun);
        assert_eq!(state.over, 1);
        assert_eq!(state.listeners.len(), listeners);
        for listener in &state.listeners {
            assert!(state.exclusive.iter().any(|name| name == listener.name()), "nobody else has it now");
        }
        assert_eq!(state.room.len(), room);
    }
}

impl Estate for Old {
    fn may_begin(&self) -> Result<(), &'static str> {
        let mut state = self.state();
        if state.under_way {
            return Err("another handover is under way");
        }
        if let Some(reason) = state.draining {
            return Err(reason);
        }
        state.under_way = true;
        Ok(())
    }

    fn listeners(&self) -> std::io::Result<Vec<Passed>> {
        let state = self.state();
        let share = |listener: &Listener| {
            Ok(Passed {
                name: listener.name().to_owned(),
                address: listener.local_addr().to_string(),
                exclusive: listener.is_exclusive(),
                descriptor: listener.share()?,
            })
        };
        state.listeners.iter().map(share).collect()
    }

    fn hold_back(&self) {
        self.state().holds_back = true;
    }

    fn go_on(&self) {
        let mut state = self.state();
        assert!(state.holds_back || state.dead);
        state.holds_back = false;
    }

    fn export(&self, most: usize, left: &[String]) -> Vec<Exported> {
        let mut state = self.state();
        assert!(state.holds_back || state.dead, "who accepts has no end");
        let (stay, mut go): (Vec<_>, Vec<_>) =
            state.room.drain(..).partition(|connection| left.contains(&connection.listener));
        state.room = stay;
        let rest = go.split_off(most.min(go.len()));
        state.room.extend(rest);
        go
    }

    fn take_back(&self, connections: Vec<Exported>) {
        let mut state = self.state();
        if !state.dead {
            state.room.extend(connections);
        }
    }

    fn handed_over(&self, connections: Vec<Exported>) {
        self.state().passed_on += connections.len();
    }

    fn hand_over(&self, left: &[String]) {
        let mut state = self.state();
        state.listeners.clear();
        state.handed_over = Some(left.to_vec());
    }

    fn failed(&self, error: &HandoverError, reclaim: bool) {
        let mut state = self.state();
        state.failures.push((error.kind().clone(), reclaim));
        if reclaim {
            state.listeners.iter().for_each(Listener::reclaim);
        }
    }

    fn over(&self) {
        let mut state = self.state();
        state.over += 1;
        state.under_way = false;
    }
}

impl Heir for New {
    fn names(&self) -> Vec<String> {
        self.state().listeners.iter().map(|listener| listener.name().to_owned()).collect()
    }

    fn begin(&self) {
        self.state().begun = true;
    }

    fn receive(&self, connections: Vec<Exported>) {
        let mut state = self.state();
        assert!(state.begun || state.dead);
        if !state.dead {
            state.room.extend(connections);
        }
    }

    fn failed(&self, error: HandoverError) {
        let mut state = self.state();
        state.listeners.clear();
        state.failed = Some(error.kind().clone());
    }

    fn over(&self, exclusive: &[String]) {
        let mut state = self.state();
        state.over += 1;
        state.exclusive = exclusive.to_vec();
    }
}

/// An old server with so many listeners and connections, and the clients of these.
pub(super) fn old(listeners: usize, connections: usize) -> (Old, Vec<UnixStream>) {
    raise_limit();
    let old = Old::default();
    let mut clients = Vec::new();
    {
        let mut state = old.state();
        for number in 0..listeners {
            let listener = Listener::bind("127.0.0.1:0").unwrap();
            state.listeners.push(listener.with_name(format!("listener-{number}")));
        }
        for number in 0..connections {
            let (server, client) = UnixStream::pair().unwrap();
            clients.push(client);
            let number = u64::try_from(number).unwrap();
            state.room.push(Exported {
                listener: "listener-0".into(),
                stream: Stream::Unix(server),
                peer: PeerAddr::Unix,
                kernel_wait: Some(Duration::from_millis(number)),
                since_handshake: Duration::from_millis(2 * number),
                accepted_ago: Duration::from_millis(number),
            });
        }
    }
    (old, clients)
}

/// Runs both sides to their ends.
pub(super) struct Play {
    pub(super) old: Old,
    pub(super) new: New,
    pub(super) at_old: Hook,
    pub(super) at_new: Hook,
    pub(super) old_within: Duration,
    pub(super) new_within: Duration,
    pub(super) leave: Option<&'static str>,
}

impl Play {
    pub(super) fn of(old: &Old) -> Self {
        Self {
            old: old.clone(),
            new: New::default(),
            at_old: Hook::default(),
            at_new: Hook::default(),
            old_within: PATIENCE,
            new_within: PATIENCE,
            leave: None,
        }
    }

    /// The old side's answer, and what the new one said to the offer.
    pub(super) fn run(self) -> (Result<Given, HandoverError>, Result<(), HandoverError>) {
        let (one, other) = UnixStream::pair().unwrap();
        let giving = start_giving(&self.old, one, self.old_within, self.at_old);
        let mut channel = Channel::new(other.into(), Side::New, PATIENCE);
        channel.hook = self.at_new;
        let taken = start_taking(&self.new, channel, self.leave, self.new_within);
        (giving.join().unwrap(), taken)
    }
}

/// The old side, as a successor over a path meets it.
pub(super) fn start_giving(
    old: &Old,
    socket: UnixStream,
    within: Duration,
    hook: Hook,
) -> JoinHandle<Result<Given, HandoverError>> {
    let old = old.clone();
    thread::spawn(move || {
        let mut channel = Channel::new(socket.into(), Side::Old, within);
        channel.hook = hook;
        old.may_begin().unwrap();
        let _over = UntilOver(&old);
        let offer = Offer::of(&old)?;
        channel.reached(Step::Began);
        give::give(&mut channel, &old, offer)
    })
}

/// The new side, on this thread, as a program would do it.
pub(super) fn start_taking(
    new: &New,
    channel: Channel,
    leave: Option<&str>,
    within: Duration,
) -> Result<(), HandoverError> {
    let mut predecessor = Predecessor::listen_to(channel, nobody())?;
    if let Some(name) = leave {
        predecessor.leave(name);
    }
    let names: Vec<_> = predecessor.names().map(str::to_owned).collect();
    let listeners = names.iter().filter_map(|name| predecessor.take(name));
    // Dead is dead: what a side takes after its end is closed at once.
    let listeners: Vec<_> = listeners.collect();
    if !new.state().dead {
        new.state().listeners = listeners;
    }
    let (mut channel, will, succession) = predecessor.into_parts();
    channel.within(within);
    take::take(channel, &will, new, succession);
    Ok(())
}

/// A predecessor that no other test meets.
pub(super) fn nobody() -> Identity {
    Identity::of(UnixStream::pair().unwrap().0, None)
}

/// Kills at the first time that the step is reached.
pub(super) fn die_at(step: Step, die: impl Fn() + Send + 'static) -> Hook {
    Hook::new(move |reached| {
        if reached == step {
            die();
            Fate::Die
        } else {
            Fate::Live
        }
    })
}

/// Every client is held by one side, or by nobody.
pub(super) fn assert_owned_once(old: &Old, new: &New) {
    let inodes = |room: &[Exported]| -> BTreeSet<u64> {
        room.iter().map(|one| rustix::fs::fstat(one.stream.as_fd()).unwrap().st_ino).collect()
    };
    let (old, new) = (old.state(), new.state());
    assert!(inodes(&old.room).is_disjoint(&inodes(&new.room)));
}

/// Answers every connection; gives how many clients have read that, and how many find that nobody holds them.
pub(super) fn answered(rooms: &[Exported], clients: &[UnixStream]) -> (usize, usize) {
    for connection in rooms {
        let Stream::Unix(stream) = &connection.stream else { panic!("a Unix socket") };
        let mut stream = stream;
        stream.write_all(b"!").unwrap();
    }
    let (mut served, mut left) = (0, 0);
    for mut client in clients {
        client.set_nonblocking(true).unwrap();
        match client.read(&mut [0; 2]) {
            Ok(1) => served += 1,
            Ok(0) => left += 1,
            other => panic!("neither served nor left: {other:?}"),
        }
    }
    (served, left)
}

/// Each side of these tests has its own descriptors, in one process.
fn raise_limit() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
}
