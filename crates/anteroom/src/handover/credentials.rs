//! Whose process the other one is.
//!
//! Owns the rule: this process's own user, or root. Nothing is sent to anybody else, and nothing of theirs is read.

use std::{io, os::fd::AsFd};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::{HandoverError, HandoverErrorKind, steps::Side};

const ROOT: u32 = 0;

/// Whether the process at the other end may speak (`SO_PEERCRED`, unix(7): as it was when it connected or listened).
pub(super) fn check(socket: impl AsFd, side: Side) -> Result<(), HandoverError> {
    let peer = getsockopt(&socket, PeerCredentials).map_err(|error| {
        let kind = HandoverErrorKind::System { what: "ask whose process the other one is" };
        HandoverError::of(side, kind).because(io::Error::from(error))
    })?;
    let own = rustix::process::geteuid().as_raw();
    if may_speak(peer.uid(), own) {
        Ok(())
    } else {
        Err(HandoverError::of(side, HandoverErrorKind::Foreign { uid: peer.uid() }))
    }
}

fn may_speak(uid: u32, own: u32) -> bool {
    uid == own || uid == ROOT
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn only_the_own_user_and_root_may_speak() {
        assert!(may_speak(1000, 1000));
        assert!(may_speak(0, 1000));
        assert!(may_speak(0, 0));
        assert!(!may_speak(1001, 1000));
        // Root has no reason to take a listener from anybody else.
        assert!(!may_speak(1000, 0));
        // Who is not mapped into this user namespace.
        assert!(!may_speak(65534, 1000));
    }

    #[test]
    fn this_process_is_its_own_user_s() {
        let (one, _other) = UnixStream::pair().unwrap();
        check(&one, Side::Old).unwrap();
    }
}
