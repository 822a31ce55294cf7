//! What can go wrong in a handover: what was tried, at which step, why, and what to do.

use std::{borrow::Cow, error::Error, fmt, io, sync::Arc};

use super::steps::{Side, Step};

/// A handover that did not come about.
///
/// `Display` says what was tried, how far it came, what happened and what to do; the source says what the system said.
#[derive(Clone, Debug)]
pub struct HandoverError {
    tried: Tried,
    after: Option<Step>,
    kind: HandoverErrorKind,
    advice: Cow<'static, str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// Why a handover did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandoverErrorKind {
    /// This server drains, has stopped, or another handover is under way.
    NotNow {
        /// Which of them.
        reason: &'static str,
    },
    /// The other process said no.
    Refused {
        /// Its words.
        reason: String,
    },
    /// The other process ended, or closed the channel without a word.
    Vanished {
        /// How it ended, where that is known.
        status: Option<String>,
    },
    /// The other process did not answer in time.
    TimedOut,
    /// What the other process sent cannot be read.
    Malformed {
        /// What is wrong with it.
        what: String,
    },
    /// What the other process sent does not belong there.
    OutOfOrder {
        /// What came.
        got: &'static str,
        /// What was waited for.
        awaited: &'static str,
    },
    /// The successor neither continues this listener nor says that it leaves it.
    LeftOut {
        /// The listener's name.
        listener: String,
    },
    /// A process of another user.
    Foreign {
        /// That user.
        uid: u32,
    },
    /// A descriptor that came is not what it was said to be.
    Descriptor {
        /// The name that it came under.
        listener: String,
    },
    /// The new program could not be started.
    Spawn,
    /// The handover socket could not be made, or not be reached.
    Path,
    /// The system refused something.
    System {
        /// What.
        what: &'static str,
    },
}

/// What the error's first words are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    HandOver,
    TakeOver,
    Listen,
}

impl HandoverError {
    /// Why.
    #[must_use]
    pub fn kind(&self) -> &HandoverErrorKind {
        &self.kind
    }

    /// How far this side of the exchange had come; `None`: not begun.
    #[must_use]
    pub fn after(&self) -> Option<Step> {
        self.after
    }

    pub(super) fn new(tried: Tried, kind: HandoverErrorKind) -> Self {
        let advice = advice(tried, &kind).into();
        Self { tried, after: None, kind, advice, source: None }
    }

    pub(super) fn of(side: Side, kind: HandoverErrorKind) -> Self {
        let tried = match side {
            Side::Old => Tried::HandOver,
            Side::New => Tried::TakeOver,
        };
        Self::new(tried, kind)
    }

    pub(super) fn because(self, source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    pub(super) fn after_step(self, step: Option<Step>) -> Self {
        Self { after: step, ..self }
    }

    /// Says how the other process ended, if that is what happened.
    pub(super) fn with_status(mut self, ended: String) -> Self {
        if let HandoverErrorKind::Vanished { status } = &mut self.kind {
            *status = Some(ended);
        }
        self
    }

    /// For the other side, in a word of refusal.
    pub(super) fn reason(&self) -> String {
        self.kind.to_string()
    }
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.tried {
            Tried::HandOver => "cannot hand over to the successor",
            Tried::TakeOver => "cannot take over from the predecessor",
            Tried::Listen => "cannot listen for successors",
        })?;
        if let Some(step) = self.after {
            write!(f, " (after the step {})", step.name())?;
        }
        write!(f, ": {}", self.kind)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}

impl fmt::Display for HandoverErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNow { reason } => f.write_str(reason),
            Self::Refused { reason } => write!(f, "the other process refused: {reason}"),
            Self::Vanished { status: None } => f.write_str("the other process went away"),
            Self::Vanished { status: Some(status) } => write!(f, "the other process ended with {status}"),
            Self::TimedOut => f.write_str("the other process did not answer in time"),
            Self::Malformed { what } => write!(f, "a message cannot be read: {what}"),
            Self::OutOfOrder { got, awaited } => write!(f, "{got} came where {awaited} was awaited"),
            Self::LeftOut { listener } => write!(f, "left out the listener {listener}"),
            Self::Foreign { uid } => write!(f, "the other process belongs to the user {uid}"),
            Self::Descriptor { listener } => {
                write!(f, "the descriptor that came for {listener} is not what it should be")
            }
            Self::Spawn => f.write_str("the new program could not be started"),
            Self::Path => f.write_str("the socket's path is of no use"),
            Self::System { what } => write!(f, "cannot {what}"),
        }
    }
}

impl Error for HandoverError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|error| error as _)
    }
}

/// Of the nearest kind; the `HandoverError` is inside.
impl From<HandoverError> for io::Error {
    fn from(error: HandoverError) -> Self {
        let of_source = error.source().and_then(|source| source.downcast_ref::<Self>()).map(Self::kind);
        let kind = match error.kind {
            HandoverErrorKind::NotNow { .. } => io::ErrorKind::ResourceBusy,
            HandoverErrorKind::Refused { .. } => io::ErrorKind::ConnectionRefused,
            HandoverErrorKind::Vanished { .. } => io::ErrorKind::UnexpectedEof,
            HandoverErrorKind::TimedOut => io::ErrorKind::TimedOut,
            HandoverErrorKind::Malformed { .. }
            | HandoverErrorKind::OutOfOrder { .. }
            | HandoverErrorKind::LeftOut { .. }
            | HandoverErrorKind::Descriptor { .. } => io::ErrorKind::InvalidData,
            HandoverErrorKind::Foreign { .. } => io::ErrorKind::PermissionDenied,
            HandoverErrorKind::Spawn | HandoverErrorKind::Path | HandoverErrorKind::System { .. } => {
                of_source.unwrap_or(io::ErrorKind::Other)
            }
        };
        Self::new(kind, error)
    }
}

fn advice(tried: Tried, kind: &HandoverErrorKind) -> &'static str {
    match (kind, tried) {
        (HandoverErrorKind::Vanished { .. }, Tried::HandOver) => "look at what it logged",
        (HandoverErrorKind::TimedOut, Tried::HandOver) => {
            "it must start a server with succeed(), within the time that was given"
        }
        (HandoverErrorKind::TimedOut, _) => "is that process alive?",
        (HandoverErrorKind::Malformed { .. } | HandoverErrorKind::OutOfOrder { .. }, _) => {
            "is it a program of this library, of a version that speaks the same?"
        }
        (HandoverErrorKind::LeftOut { .. }, _) => "the new program must take() and serve it, or leave() it",
        (HandoverErrorKind::Foreign { .. }, _) => "only this process's own user, and root, are let in",
        (HandoverErrorKind::Spawn, _) => "is the path of the program right, and may it be executed?",
        (HandoverErrorKind::Path, Tried::TakeOver) => "does the predecessor run, and listen there?",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_say_what_was_tried_where_and_what_to_do() {
        let kind = HandoverErrorKind::LeftOut { listener: "admin".into() };
        let error = HandoverError::of(Side::Old, kind).after_step(Some(Step::GotReady));
        assert_eq!(
            error.to_string(),
            "cannot hand over to the successor (after the step GotReady): left out the listener admin; \
             the new program must take() and serve it, or leave() it"
        );
        assert_eq!(error.after(), Some(Step::GotReady));
    }

    #[test]
    fn as_an_io_error_it_keeps_the_kind_of_its_source() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let error = HandoverError::of(Side::Old, HandoverErrorKind::Spawn).because(missing);
        let error = io::Error::from(error);
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.get_ref().unwrap().is::<HandoverError>());
    }

    #[test]
    fn how_a_successor_ended_is_told_where_it_ended() {
        let vanished = HandoverError::of(Side::Old, HandoverErrorKind::Vanished { status: None });
        let text = vanished.with_status("exit status: 3".into()).to_string();
        assert!(text.contains("ended with exit status: 3"), "{text}");
        let late = HandoverError::of(Side::Old, HandoverErrorKind::TimedOut).with_status("signal: 9".into());
        assert_eq!(late.kind(), &HandoverErrorKind::TimedOut);
    }
}
