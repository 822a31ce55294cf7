//! The thread: a small runtime of its own, and its accept loop.
//!
//! Owns the listener and every connection. Never touches the application's runtime.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anteroom::Listener;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::answers::Answers;
use crate::error::AdminError;
use crate::guests::{Guests, Source};
use crate::reserve::{Reserve, Seat, Wire};

/// After an error of `accept` that is not the end of the queue.
const PAUSE: Duration = Duration::from_millis(50);

/// After somebody was sent away, whose descriptor is to be used.
const UNTIL_GONE: Duration = Duration::from_millis(1);

/// Starts the thread. It ends when the sender of `closed` is gone.
pub(crate) fn open(
    listener: Listener,
    answers: Answers,
    closed: oneshot::Receiver<()>,
) -> Result<JoinHandle<()>, AdminError> {
    // The caller may be inside a runtime, where no other may be dropped: it is made, and unmade, in the thread.
    let (made, is_made) = mpsc::sync_channel(1);
    let run = move || match furnish(listener) {
        Ok(furnished) => {
            let _opener_waits = made.send(Ok(()));
            live(furnished, answers, closed);
        }
        Err(error) => {
            let _opener_waits = made.send(Err(error));
        }
    };
    let cannot = |source| AdminError::Resources { what: "the admin listener's thread", source };
    let thread = std::thread::Builder::new().name("anteroom-admin".into()).spawn(run).map_err(cannot)?;
    match is_made.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => {
            let _ended = thread.join();
            Err(error)
        }
        Err(_) => Err(cannot(io::Error::other("it ended while it began"))),
    }
}

struct Furnished {
    listener: AsyncFd<Listener>,
    reserve: Reserve,
    runtime: Runtime,
}

fn furnish(listener: Listener) -> Result<Furnished, AdminError> {
    let cannot = |what| move |source| AdminError::Resources { what, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(cannot("the admin listener's runtime"))?;
    let reserve = Reserve::new().map_err(cannot("the admin listener's reserve of descriptors"))?;
    let listener = {
        let _inside = runtime.enter();
        #[allow(
            deprecated,
            reason = "the safe form; the listener keeps its descriptor open and the same, as the unsafe one asks"
        )]
        AsyncFd::with_interest(listener, Interest::READABLE)
            .map_err(cannot("the admin listener's registration"))?
    };
    Ok(Furnished { listener, reserve, runtime })
}

fn live(furnished: Furnished, answers: Answers, closed: oneshot::Receiver<()>) {
    let Furnished { listener, reserve, runtime } = furnished;
    let unless_asked = Ending(Some("it panicked"));
    let why = LocalSet::new().block_on(&runtime, async move {
        tokio::select! {
            error = receive(listener, Rc::new(answers), reserve) => Some(error),
            _ = closed => None,
        }
    });
    unless_asked.is(why);
}

/// Says that the thread ends though nobody has asked it to.
struct Ending(Option<&'static str>);

impl Ending {
    fn is(mut self, why: Option<io::Error>) {
        self.0 = None;
        if let Some(error) = why {
            tell(&error);
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(why) = self.0 {
            tell(&why);
        }
    }
}

fn tell(error: &dyn fmt::Display) {
    tracing::error!(target: "anteroom::admin", %error, "the admin listener has ended and answers no more");
}

/// Ends only where the listener does.
async fn receive(listener: AsyncFd<Listener>, answers: Rc<Answers>, reserve: Reserve) -> io::Error {
    let mut guests = Guests::new(answers);
    loop {
        reserve.fill();
        let mut ready = match reserve.is_full() {
            true => listener.readable().await,
            // Whoever gives descriptors back does not say so.
            false => match tokio::time::timeout(PAUSE, listener.readable()).await {
                Ok(ready) => ready,
                Err(_) => continue,
            },
        };
        let ready = match &mut ready {
            Ok(ready) => ready,
            Err(_) => return io::Error::other("its runtime has ended"),
        };
        match accept(listener.get_ref(), &reserve) {
            Ok((connection, source)) => {
                ready.retain_ready();
                guests.welcome(Seat::new(connection, &reserve), source);
                // One who is served is not kept waiting by those who come.
                tokio::task::yield_now().await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) => {
                ready.retain_ready();
                // Somebody may free a descriptor; calling again at once would spin.
                let pause = match is_out_of_descriptors(&error) && guests.send_the_idlest_away() {
                    true => UNTIL_GONE,
                    false => PAUSE,
                };
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Where no descriptor is left, one of the reserve is used: who asks then asks about that.
fn accept(listener: &Listener, reserve: &Reserve) -> io::Result<(Box<dyn Wire>, Source)> {
    let accepted = loop {
        match listener.accept() {
            Err(error) if is_out_of_descriptors(&error) && reserve.give() => {}
            accepted => break accepted?,
        }
    };
    let source = accepted.peer.tcp().map(|peer| peer.ip());
    let descriptor = OwnedFd::from(accepted.stream);
    let connection: Box<dyn Wire> = match source {
        Some(_) => Box::new(TcpStream::from_std(descriptor.into())?),
        None => Box::new(UnixStream::from_std(descriptor.into())?),
    };
    Ok((connection, source))
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    #[derive(Clone, Default)]
    struct Ear(Arc<Mutex<Vec<String>>>);

    impl Subscriber for Ear {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            struct Error(String);
            impl Visit for Error {
                fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                    if field.name() == "error" {
                        self.0 = format!("{value:?}");
                    }
                }
            }
            let mut error = Error(String::new());
            event.record(&mut error);
            self.0.lock().unwrap().push(format!("{} {}", event.metadata().target(), error.0));
        }
    }

    #[test]
    fn an_end_that_nobody_asked_for_is_told() {
        let ear = Ear::default();
        tracing::subscriber::with_default(ear.clone(), || {
            Ending(Some("it panicked")).is(None);
            assert!(ear.0.lock().unwrap().is_empty(), "somebody asked for it");
            Ending(Some("it panicked")).is(Some(io::Error::other("its runtime has ended")));
            let _told_by_the_hook = std::panic::catch_unwind(|| {
                let _unless_asked = Ending(Some("it panicked"));
                panic!("somewhere in it");
            });
        });
        assert_eq!(
            *ear.0.lock().unwrap(),
            ["anteroom::admin its runtime has ended", "anteroom::admin it panicked"]
        );
    }
}
