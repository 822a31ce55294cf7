//! Where unrelated processes ask for a handover.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{Estate, HandoverError, HandoverErrorKind, error::Tried};

/// Makes the estate of one exchange.
pub(crate) type Estates = Arc<dyn Fn() -> Box<dyn Estate> + Send + Sync>;

/// Serves successors until it is dropped, or one has taken over.
#[must_use = "dropping it closes the socket"]
#[derive(Debug)]
pub struct HandoverSocket {
    path: PathBuf,
}

impl HandoverSocket {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Listens for successors at `path`.
pub(crate) fn offer_on(_: Estates, _: &Path, _: Duration) -> Result<HandoverSocket, HandoverError> {
    Err(HandoverError::new(Tried::Listen, HandoverErrorKind::Path))
}
