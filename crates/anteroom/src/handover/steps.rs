//! The steps of the exchange, by name: where a test may stop either side.
//!
//! Owns the list and, with the feature `test-util`, the hook. Without it, reaching a step is nothing.

/// Which of the two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Side {
    /// The one that hands over.
    Old,
    /// The one that takes over.
    New,
}

macro_rules! steps {
    ($($(#[doc = $doc:literal])* $side:ident $name:ident,)*) => {
        /// A point of the exchange that has just been reached, in the order of an exchange without trouble.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Step {
            $($(#[doc = $doc])* $name,)*
        }

        impl Step {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Whose step it is.
            #[must_use]
            pub fn side(self) -> Side {
                match self {
                    $(Self::$name => Side::$side,)*
                }
            }

            /// Its name, as it is written here.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

steps! {
    /// The old one has let the exchange begin and holds the descriptors to pass on.
    Old Began,
    /// The new one has the whole offer.
    New GotOffer,
    /// The old one has written the whole offer.
    Old SentOffer,
    /// The new one's server is started, and accepts nobody.
    New Started,
    /// The new one has said that it is ready.
    New SentReady,
    /// The old one has read that.
    Old GotReady,
    /// The old one has told it to go.
    Old SentGo,
    /// The new one has read that, and accepts nobody yet.
    New GotGo,
    /// The new one accepts.
    New Begun,
    /// The new one has said that it serves.
    New SentServing,
    /// The old one has read that, and still accepts too.
    Old GotServing,
    /// The old one accepts no more, and keeps its listeners.
    Old HeldBack,
    /// The old one has taken a batch of connections out of its room.
    Old Exported,
    /// The old one has written the batch.
    Old SentConnections,
    /// The new one has read the batch.
    New GotConnections,
    /// The new one has said that the batch is its own.
    New SentTaken,
    /// The new one has admitted the batch.
    New Admitted,
    /// The old one has read that the batch is taken, and still holds it too.
    Old GotTaken,
    /// The old one has let the batch go.
    Old LetGo,
    /// The old one has said that this was all.
    Old SentDone,
    /// The new one has read that.
    New GotDone,
    /// The new one has said that it knows itself the only one.
    New SentAlone,
    /// The old one has read that.
    Old GotAlone,
    /// The old one has closed its listeners and drains.
    Old HandedOver,
    /// The old one has waited for too long and is about to close its ear. Only in an exchange with trouble.
    Old GivingUp,
    /// Its ear is closed; what was said before is not read yet. Only in an exchange with trouble.
    Old EarClosed,
    /// As [`GivingUp`](Self::GivingUp), of the new one.
    New LosingPatience,
    /// As [`EarClosed`](Self::EarClosed), of the new one.
    New DeafEar,
}

#[cfg(feature = "test-util")]
mod hook {
    use std::{
        sync::{Arc, PoisonError, RwLock},
        time::Duration,
    };

    use super::{Side, Step};

    type Hook = Arc<dyn Fn(Side, Step) + Send + Sync>;

    static HOOK: RwLock<Option<Hook>> = RwLock::new(None);

    /// Has `hook` called, on the thread of the exchange, whenever a side in this process reaches a step. It replaces
    /// the one before.
    pub fn on_step(hook: impl Fn(Side, Step) + Send + Sync + 'static) {
        *HOOK.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
    }

    static PATIENCE: RwLock<Option<Duration>> = RwLock::new(None);

    /// How long a successor in this process waits for its predecessor to go on, instead of a minute.
    pub fn set_patience(within: Duration) {
        *PATIENCE.write().unwrap_or_else(PoisonError::into_inner) = Some(within);
    }

    pub(in crate::handover) fn patience() -> Option<Duration> {
        *PATIENCE.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::handover) fn reached(side: Side, step: Step) {
        let hook = HOOK.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook(side, step);
        }
    }
}

#[cfg(feature = "test-util")]
pub use hook::{on_step, set_patience};
#[cfg(feature = "test-util")]
pub(super) use hook::{patience, reached};

#[cfg(not(feature = "test-util"))]
pub(super) fn reached(_: Side, _: Step) {}

#[cfg(not(feature = "test-util"))]
pub(super) fn patience() -> Option<std::time::Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_stands_once_in_the_list() {
        let names: std::collections::HashSet<_> = Step::ALL.iter().map(|step| step.name()).collect();
        assert_eq!(names.len(), Step::ALL.len());
        assert!(Step::ALL.iter().any(|step| step.side() == Side::Old));
        assert!(Step::ALL.iter().any(|step| step.side() == Side::New));
    }
}
