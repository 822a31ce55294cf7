//! The handover socket's place in the file system.
//!
//! Owns the listener and the file, and how a successor comes by the path that its predecessor listens at: beside it
//! first, and in its place when it is the only one. Never takes a path from anybody else.

use std::{
    ffi::OsString,
    fs,
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{fs::MetadataExt, net::UnixStream},
    },
    path::{Path, PathBuf},
};

use anteroom_listener::{Address, BindErrorKind, Listener, Stream, UnixAddress};

use super::{
    HandoverError, HandoverErrorKind,
    error::Tried,
    succession::{self, Identity},
};

/// How often to look who has the path: it may be left between two looks.
const TRIES: usize = 3;

/// Nobody else's business.
const MODE: u32 = 0o600;

/// A listener that is at its path, or waits for it.
#[derive(Debug)]
pub(super) struct Place {
    listener: Listener,
    file: OwnFile,
    waits: Option<Waits>,
}

/// Bound beside the path, until the predecessor has left it.
#[derive(Debug)]
struct Waits {
    path: PathBuf,
    predecessor: Identity,
}

/// A listener that is at its path.
#[derive(Debug)]
pub(super) struct Settled {
    // In this order, as a listener itself does it: first nobody finds it, then it closes.
    file: OwnFile,
    listener: Listener,
}

/// A file that is removed on drop if it is still the same one.
#[derive(Debug)]
struct OwnFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Place {
    pub(super) fn at(path: &Path) -> Result<Self, HandoverError> {
        let path = std::path::absolute(path).map_err(of_path)?;
        let mut tries = TRIES;
        loop {
            // Whether the file goes with the listener shows in the end only.
            let builder = Listener::builder().mode(MODE).keep_socket_file();
            let taken = match builder.bind(address(&path)) {
                Ok(listener) => {
                    let file = OwnFile::made(path).map_err(of_path)?;
                    return Ok(Self { listener, file, waits: None });
                }
                Err(error) if *error.kind() == BindErrorKind::AddressInUse => error,
                Err(error) => return Err(of_path(error)),
            };
            tries -= 1;
            match UnixStream::connect(&path).map(|probe| Identity::of(&probe, Some(&path))) {
                Ok(predecessor) if succession::knows(&predecessor) => return Self::beside(path, predecessor),
                // It has handed over between the two looks.
                Err(error) if tries > 0 && is_nobody(&error) => {}
                _ => return Err(of_path(taken)),
            }
        }
    }

    /// Waits for the path if it must, and goes there. `None`: it will not come about.
    pub(super) fn settle(self, is_in_vain: impl Fn() -> bool) -> Result<Option<Settled>, HandoverError> {
        let Self { listener, mut file, waits } = self;
        let Some(Waits { path, predecessor }) = waits else {
            return Ok(Some(Settled { file, listener }));
        };
        if !succession::await_success(&predecessor, is_in_vain) {
            return Ok(None);
        }
        // In one step: whoever looks for the path finds one of the two.
        fs::rename(&file.path, &path).map_err(of_path)?;
        file.path = path;
        Ok(Some(Settled { file, listener }))
    }

    fn beside(path: PathBuf, predecessor: Identity) -> Result<Self, HandoverError> {
        let mut beside = OsString::from(&path);
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        let builder = Listener::builder().mode(MODE).keep_socket_file();
        let listener = builder.bind(address(&beside)).map_err(of_path)?;
        let file = OwnFile::made(beside).map_err(of_path)?;
        Ok(Self { listener, file, waits: Some(Waits { path, predecessor }) })
    }
}

impl Settled {
    /// Closes the listener and leaves its file: a successor puts its own in the same place at this moment,
    /// and no look at which of the two it is would hold until the removal. If it does not, the file is
    /// found stale by the next bind.
    pub(super) fn leave(self) {
        std::mem::forget(self.file);
    }

    pub(super) fn accept(&self) -> io::Result<OwnedFd> {
        match self.listener.accept()?.stream {
            Stream::Unix(stream) => Ok(stream.into()),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl AsFd for Settled {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl OwnFile {
    fn made(path: PathBuf) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(&path)?;
        Ok(Self { path, device: metadata.dev(), inode: metadata.ino() })
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        let is_same = |now: fs::Metadata| (now.dev(), now.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(is_same) {
            // Left behind it is found stale by the next bind.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn address(path: &Path) -> Address {
    Address::Unix(UnixAddress::Path(path.to_owned()))
}

/// Nobody listens there, or there is no such file.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound)
}

fn of_path(error: impl Into<io::Error>) -> HandoverError {
    HandoverError::new(Tried::Listen, HandoverErrorKind::Path).because(error.into())
}
