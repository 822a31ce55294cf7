//! The connections of the admin listener, within their bounds.
//!
//! Owns each one's task. Never more than [`CONNECTIONS`]: a probe gets through whoever sits and says nothing.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::answers::Answers;
use crate::house::Wire;

/// Connections at a time. When another one comes, the one goes that has asked for nothing for longest.
pub const CONNECTIONS: usize = 64;

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

struct Guest {
    task: AbortHandle,
    asked: Rc<Cell<Instant>>,
}

impl Guests {
    pub(crate) fn new(answers: Rc<Answers>) -> Self {
        Self { answers, all: Vec::new() }
    }

    /// Serves one more.
    pub(crate) fn welcome(&mut self, connection: Box<dyn Wire>) {
        self.all.retain(|guest| !guest.task.is_finished());
        if self.all.len() >= CONNECTIONS {
            let idlest = self.all.iter().enumerate().min_by_key(|(_, guest)| guest.asked.get());
            if let Some(position) = idlest.map(|(position, _)| position) {
                self.all.swap_remove(position).task.abort();
            }
        }
        let asked = Rc::new(Cell::new(Instant::now()));
        let serving = serve(connection, Rc::clone(&self.answers), Rc::clone(&asked));
        let task = tokio::task::spawn_local(async move {
            // Whatever ends it ends it: a client that breaks off, the head's time, this time.
            let _ended = tokio::time::timeout(LONGEST, serving).await;
        });
        self.all.push(Guest { task: task.abort_handle(), asked });
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        for guest in &self.all {
            guest.task.abort();
        }
    }
}

async fn serve(connection: Box<dyn Wire>, answers: Rc<Answers>, asked: Rc<Cell<Instant>>) {
    let requests = Cell::new(0);
    let service = service_fn(|request| {
        asked.set(Instant::now());
        requests.set(requests.get() + 1);
        let answer = answers.answer(&request, requests.get() >= REQUESTS);
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD);
    let _broken_off = http.serve_connection(TokioIo::new(connection), service).await;
}
