//! What the service manager has been told, and how the rest is put.
//!
//! Owns the last phase, status and state of the settings that it knows of. Never waits for anything but
//! the manager.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::manager::Manager;
use super::status::{Settings, status};
use crate::lifecycle::Core;
use crate::observe::Phase;

/// How often the status is looked at; it is told when it has changed.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// The longest name that the descriptor store takes, in bytes.
const LONGEST_NAME: usize = 255;

/// Who speaks for the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    Ours,
    /// The service goes on in another process: this one is not what the manager looks at any more.
    Successors,
}

/// One that was not told, because the manager could not be reached, is due again.
#[derive(Debug)]
pub(super) struct Teller {
    manager: Manager,
    voice: Voice,
    phase: Phase,
    settings: Settings,
    status: String,
    looked: Option<Instant>,
}

impl Teller {
    pub(super) fn new(manager: Manager) -> Self {
        Self {
            manager,
            voice: Voice::Ours,
            phase: Phase::Starting,
            settings: Settings::Current,
            status: String::new(),
            looked: None,
        }
    }

    /// What was told last.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Tells the phase, if it is a new one.
    pub(super) fn follow(&mut self, core: &Core, phase: Phase) -> io::Result<()> {
        if phase == self.phase {
            return Ok(());
        }
        let status = status(core, phase, self.settings);
        let mut words = vec![NotifyState::Status(&status)];
        if phase == Phase::Serving {
            words.push(NotifyState::Ready);
        } else if self.phase <= Phase::Serving {
            words.push(NotifyState::Stopping);
        }
        if let Some(process) = core.life.successor().filter(|_| phase > Phase::Serving) {
            self.tell(&[NotifyState::MainPid(process)], None)?;
            self.voice = Voice::Successors;
        }
        self.tell(&words, None)?;
        self.phase = phase;
        self.status = status;
        Ok(())
    }

    /// Tells the status, if it is time to look and it has changed.
    pub(super) fn status(&mut self, core: &Core, phase: Phase) -> io::Result<()> {
        match self.looked.is_some_and(|then| then.elapsed() < STATUS_EVERY) {
            true => Ok(()),
            false => self.status_now(core, phase),
        }
    }

    fn status_now(&mut self, core: &Core, phase: Phase) -> io::Result<()> {
        let status = status(core, phase, self.settings);
        if status != self.status {
            self.tell(&[NotifyState::Status(&status)], None)?;
            self.status = status;
        }
        self.looked = Some(Instant::now());
        Ok(())
    }

    /// The settings are being read again, while the server serves.
    pub(super) fn reloading(&mut self, core: &Core) -> io::Result<()> {
        self.tell(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?], None)?;
        self.settings = Settings::Reloading;
        self.status_now(core, Phase::Serving)
    }

    /// They have been, if they were being read.
    pub(super) fn reloaded(&mut self, core: &Core) -> io::Result<()> {
        if self.settings == Settings::Current {
            return Ok(());
        }
        self.tell(&[NotifyState::Ready], None)?;
        self.settings = Settings::Current;
        self.status_now(core, Phase::Serving)
    }

    pub(super) fn alive(&self) -> io::Result<()> {
        self.tell(&[NotifyState::Watchdog], None)
    }

    pub(super) fn store(&self, name: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let name = format!("FDNAME={name}");
        self.tell(&[NotifyState::Custom("FDSTORE=1"), NotifyState::Custom(&name)], Some(descriptor))
    }

    fn tell(&self, words: &[NotifyState<'_>], along: Option<BorrowedFd<'_>>) -> io::Result<()> {
        match self.voice {
            Voice::Ours => self.manager.tell(words, along),
            Voice::Successors => Ok(()),
        }
    }
}

/// What the store takes as `FDNAME=` (sd_pid_notify_with_fds(3)).
pub(super) fn is_storable(name: &str) -> bool {
    let is_allowed = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b':';
    !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_takes_short_plain_names_without_a_colon() {
        assert!(is_storable("public") && is_storable("public#2") && is_storable("a b.socket"));
        for name in ["", "127.0.0.1:80", "line\n", "straße", &"x".repeat(256)] {
            assert!(!is_storable(name), "{name}");
        }
    }
}
