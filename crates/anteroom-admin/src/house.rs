//! The thread: a small runtime of its own, and its accept loop.
//!
//! Owns the listener and every connection. Never touches the application's runtime.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use anteroom::{Listener, PeerAddr};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::answers::Answers;
use crate::error::AdminError;
use crate::guests::Guests;

/// After an error of `accept` that is not the end of the queue.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection of either kind.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// Starts the thread. It ends when the sender of `closed` is gone.
pub(crate) fn open(
    listener: Listener,
    answers: Answers,
    closed: oneshot::Receiver<()>,
) -> Result<JoinHandle<()>, AdminError> {
    let made = |what| move |source| AdminError::Resources { what, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(made("the admin listener's runtime"))?;
    let reserve = File::open("/dev/null").map_err(made("the admin listener's reserve descriptor"))?;
    let listener = {
        let _inside = runtime.enter();
        #[allow(
            deprecated,
            reason = "the safe form; the listener keeps its descriptor open and the same, as the unsafe one asks"
        )]
        AsyncFd::with_interest(listener, Interest::READABLE)
            .map_err(made("the admin listener's registration"))?
    };
    let run = move || {
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            tokio::select! {
                () = receive(listener, Rc::new(answers), Some(reserve)) => {}
                _ = closed => {}
            }
        });
    };
    std::thread::Builder::new()
        .name("anteroom-admin".into())
        .spawn(run)
        .map_err(made("the admin listener's thread"))
}

async fn receive(listener: AsyncFd<Listener>, answers: Rc<Answers>, mut reserve: Option<File>) {
    let mut guests = Guests::new(answers);
    loop {
        let Ok(mut ready) = listener.readable().await else { return };
        match accept(listener.get_ref(), &mut reserve) {
            Ok(connection) => {
                ready.retain_ready();
                guests.welcome(connection);
                // One who is served is not kept waiting by those who come.
                tokio::task::yield_now().await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(_) => {
                ready.retain_ready();
                // Somebody may free a descriptor; calling again at once would spin.
                tokio::time::sleep(PAUSE).await;
            }
        }
        if reserve.is_none() {
            reserve = File::open("/dev/null").ok();
        }
    }
}

/// Where no descriptor is left, the one in reserve is used: who asks then asks about that.
fn accept(listener: &Listener, reserve: &mut Option<File>) -> io::Result<Box<dyn Wire>> {
    let accepted = match listener.accept() {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock && reserve.take().is_some() => {
            listener.accept()?
        }
        accepted => accepted?,
    };
    let peer = accepted.peer;
    let descriptor = OwnedFd::from(accepted.stream);
    Ok(match peer {
        PeerAddr::Tcp(_) => Box::new(TcpStream::from_std(descriptor.into())?),
        _ => Box::new(UnixStream::from_std(descriptor.into())?),
    })
}
