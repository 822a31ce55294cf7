//! The file of a Unix socket: who may remove it, and when.
//!
//! Owns the file that a bind of ours made. Never removes what is not a socket, what somebody listens behind, or what
//! somebody else has put in its place.

use std::{
    fs, io, mem,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use socket2::{Domain, SockAddr, Socket, Type};

/// A socket's file that we made; removed on drop if it is still the same one.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: Identity,
    /// Somebody else has the socket too, and needs the file.
    is_passed_on: AtomicBool,
}

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(u64, u64);

/// Why a file that is in the way stays there.
#[derive(Debug)]
pub(crate) enum InTheWay {
    /// Somebody listens, or at least holds the socket.
    Listener,
    /// It is no socket, or a symbolic link.
    NotASocket,
    /// It could not be found out.
    Unknown(io::Error),
}

impl SocketFile {
    /// The file that bind(2) has just made.
    pub(crate) fn made(path: &Path) -> io::Result<Self> {
        // Absolute, because the working directory may be another one when it is removed.
        let path = std::path::absolute(path)?;
        let identity = identity(&fs::symlink_metadata(&path)?);
        Ok(Self { path, identity, is_passed_on: AtomicBool::new(false) })
    }

    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
    }

    pub(crate) fn pass_on(&self) {
        self.is_passed_on.store(true, Ordering::Relaxed);
    }

    pub(crate) fn reclaim(&self) {
        self.is_passed_on.store(false, Ordering::Relaxed);
    }

    /// Leaves the file where it is.
    pub(crate) fn keep(self) {
        mem::forget(self);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_passed_on.load(Ordering::Relaxed) {
            return;
        }
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|now| identity(&now) == self.identity);
        if is_ours {
            // Nobody is left to be told; the next bind finds it and removes it as stale.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket's file that nobody listens behind. Gone already is as good.
pub(crate) fn remove_stale(path: &Path) -> Result<(), InTheWay> {
    let before = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result.map_err(InTheWay::Unknown)?,
    };
    if !before.file_type().is_socket() {
        return Err(InTheWay::NotASocket);
    }
    match try_connect(path) {
        // Somebody accepts, or would if their queue were not full, or holds a socket of another type there.
        Ok(()) => return Err(InTheWay::Listener),
        Err(error) => match error.raw_os_error() {
            Some(libc::ECONNREFUSED) => {}
            Some(libc::ENOENT) => return Ok(()),
            Some(libc::EAGAIN | libc::EPROTOTYPE) => return Err(InTheWay::Listener),
            _ => return Err(InTheWay::Unknown(error)),
        },
    }
    let now = fs::symlink_metadata(path).map_err(InTheWay::Unknown)?;
    if identity(&now) != identity(&before) {
        return Err(InTheWay::Listener);
    }
    fs::remove_file(path).map_err(InTheWay::Unknown)
}

fn try_connect(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

fn identity(metadata: &fs::Metadata) -> Identity {
    Identity(metadata.dev(), metadata.ino())
}
