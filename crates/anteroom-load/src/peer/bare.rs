//! The bare loop: one thread, one epoll set, everything inline.
//!
//! Owns: what a connection costs at least when `accept`, `read`, `write` and `close` are called for it.
//! Never: a task, a timer, a lock, or a protection.

use super::raw::listener;
use crate::process::answer_parent;
// Not rustix's: that one is `epoll_pwait2`, which valgrind does not know.
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rustix::{
    event::{EventfdFlags, eventfd},
    io::Errno,
    net::SocketFlags,
};
use std::{
    io,
    net::TcpListener,
    os::fd::{AsFd, OwnedFd},
};

/// Connections that one turn accepts at most, and events that one wait takes.
const BATCH: usize = 64;

/// Of the listener; the connections have those from 0.
const NEW: u64 = u64::MAX;

/// Of the end.
const END: u64 = u64::MAX - 1;

/// What is answered to a request; `None`: nothing can be.
type Answer = fn(&[u8]) -> Option<&[u8]>;

/// The same byte.
pub(super) fn echo(request: &[u8]) -> Option<&[u8]> {
    request.get(..1)
}

/// What axum answers to `GET /`, without a date. The clients send a request in one piece, or it is none.
pub(super) fn ready_answer(request: &[u8]) -> Option<&[u8]> {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    request.ends_with(b"\r\n\r\n").then_some(answer.as_slice())
}

/// Serves until the parent is gone.
pub(super) fn serve(answer: Answer) -> io::Result<()> {
    let listener = listener()?;
    listener.set_nonblocking(true)?;
    let end = eventfd(0, EventfdFlags::CLOEXEC)?;
    let parent_gone = answer_parent(listener.local_addr()?, |_| String::new())?;
    let tell = end.try_clone()?;
    std::thread::Builder::new().name("end".into()).spawn(move || {
        // A parent that cannot tell any more is gone, too.
        let _ = parent_gone.blocking_recv();
        rustix::io::write(&tell, &1_u64.to_ne_bytes())
    })?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    watch(&epoll, &listener, NEW)?;
    watch(&epoll, &end, END)?;
    Loop { listener, epoll, answer, waiting: Vec::new(), free: Vec::new() }.run()
}

fn watch(epoll: &Epoll, what: impl AsFd, as_number: u64) -> io::Result<()> {
    Ok(epoll.add(what, EpollEvent::new(EpollFlags::EPOLLIN, as_number))?)
}

struct Loop {
    listener: TcpListener,
    epoll: Epoll,
    answer: Answer,
    /// Those whose request had not come when they were accepted.
    waiting: Vec<Option<OwnedFd>>,
    free: Vec<usize>,
}

impl Loop {
    fn run(mut self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); BATCH];
        loop {
            let ready = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Err(nix::errno::Errno::EINTR) => 0,
                waited => waited?,
            };
            for event in events.iter().take(ready) {
                match event.data() {
                    END => return Ok(()),
                    NEW => self.accept()?,
                    slot => self.advance(usize::try_from(slot).unwrap_or(usize::MAX)),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..BATCH {
            match rustix::net::accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) if is_done(&socket, self.answer) => {}
                Ok(socket) => self.await_request(socket)?,
                Err(Errno::AGAIN) => break,
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn await_request(&mut self, socket: OwnedFd) -> io::Result<()> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.waiting.push(None);
            self.waiting.len() - 1
        });
        watch(&self.epoll, &socket, slot as u64)?;
        if let Some(place) = self.waiting.get_mut(slot) {
            *place = Some(socket);
        }
        Ok(())
    }

    /// Closing takes a socket out of the epoll set.
    fn advance(&mut self, slot: usize) {
        if let Some(place) = self.waiting.get_mut(slot)
            && place.take_if(|socket| is_done(socket, self.answer)).is_some()
        {
            self.free.push(slot);
        }
    }
}

/// Whether there is nothing more to do: answered, or nobody there to be answered.
fn is_done(socket: &OwnedFd, answer: Answer) -> bool {
    let mut request = [0; 1_024];
    match rustix::io::read(socket, &mut request) {
        Err(Errno::AGAIN | Errno::INTR) => false,
        Err(_) => true,
        Ok(length) => {
            if let Some(answer) = request.get(..length).and_then(answer) {
                // A client that does not take so few bytes has left.
                let _ = rustix::net::send(socket, answer, rustix::net::SendFlags::NOSIGNAL);
            }
            true
        }
    }
}
