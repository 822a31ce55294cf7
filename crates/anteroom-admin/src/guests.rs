//! The connections of the admin listener, within their bounds.
//!
//! Owns each one's task. Never more than [`CONNECTIONS`]: a probe gets through whoever sits and says nothing.

use std::cell::Cell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::answers::Answers;
use crate::reserve::Seat;

/// Connections at a time. When another one comes, the one goes that has asked for nothing for longest.
pub const CONNECTIONS: usize = 256;

/// Whoever has come, or asked, as lately is sent away only where everybody has: then one of the source that has
/// most. A stream of 1,280 connects in a second from one source leaves each as much time for its request.
const LEFT_IN_PEACE: Duration = Duration::from_millis(200);

/// Requests of one connection; the answer to the last says that it is closed.
pub const REQUESTS: usize = 1_000;

/// A request's head may be as long, in bytes: the least that hyper takes.
const HEAD: usize = 8 * 1024;

/// And has to be there in this time, counted from the connect, or from the answer before.
const HEAD_WITHIN: Duration = Duration::from_secs(2);

/// No connection lasts longer, whatever it does.
const LONGEST: Duration = Duration::from_secs(60);

pub(crate) struct Guests {
    answers: Rc<Answers>,
    all: Vec<Guest>,
}

/// An address; `None`: a Unix socket, whose clients are of one user.
pub(crate) type Source = Option<IpAddr>;

struct Guest {
    task: AbortHandle,
    source: Source,
    asked: Rc<Cell<Instant>>,
}

impl Guests {
    pub(crate) fn new(answers: Rc<Answers>) -> Self {
        Self { answers, all: Vec::new() }
    }

    /// Serves one more.
    pub(crate) fn welcome(&mut self, connection: Seat, source: Source) {
        self.all.retain(|guest| !guest.task.is_finished());
        if self.all.len() >= CONNECTIONS && !self.send_the_idlest_away() {
            self.send_one_of_the_most_away();
        }
        let asked = Rc::new(Cell::new(Instant::now()));
        let serving = serve(connection, Rc::clone(&self.answers), Rc::clone(&asked));
        let task = tokio::task::spawn_local(async move {
            // Whatever ends it ends it: a client that breaks off, the head's time, this time.
            let _ended = tokio::time::timeout(LONGEST, serving).await;
        });
        self.all.push(Guest { task: task.abort_handle(), source, asked });
    }

    /// The idlest, if it has been idle for a while. `false`: nobody has.
    pub(crate) fn send_the_idlest_away(&mut self) -> bool {
        self.all.retain(|guest| !guest.task.is_finished());
        let lately = |guest: &Guest| guest.asked.get().elapsed() < LEFT_IN_PEACE;
        match self.idlest(|_| true) {
            Some((_, guest)) if lately(guest) => false,
            Some((position, _)) => self.send_away(position),
            None => false,
        }
    }

    fn send_one_of_the_most_away(&mut self) {
        let mut counts: HashMap<Source, usize> = HashMap::new();
        for guest in &self.all {
            *counts.entry(guest.source).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let among = |guest: &Guest| most.is_some_and(|(source, _)| source == guest.source);
        if let Some((position, _)) = self.idlest(among) {
            self.send_away(position);
        }
    }

    fn idlest(&self, among: impl Fn(&Guest) -> bool) -> Option<(usize, &Guest)> {
        let among = self.all.iter().enumerate().filter(|(_, guest)| among(guest));
        among.min_by_key(|(_, guest)| guest.asked.get())
    }

    fn send_away(&mut self, position: usize) -> bool {
        self.all.swap_remove(position).task.abort();
        true
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        for guest in &self.all {
            guest.task.abort();
        }
    }
}

async fn serve(connection: Seat, answers: Rc<Answers>, asked: Rc<Cell<Instant>>) {
    let requests = Cell::new(0);
    let service = service_fn(|request| {
        asked.set(Instant::now());
        requests.set(requests.get() + 1);
        let is_last = requests.get() >= REQUESTS;
        let answers = &answers;
        async move {
            // One who asks for page after page leaves the others their turn in between.
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(answers.answer(&request, is_last))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD);
    let _broken_off = http.serve_connection(TokioIo::new(connection), service).await;
}
