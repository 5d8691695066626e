//! What was known of a namespace at one time, to see later whether it still is what is known.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::watch::Shared;

/// One content of a namespace, or of all of them. It does not keep what it is about alive.
#[derive(Clone, Debug)]
pub struct Content(Option<Watched>);

#[derive(Clone, Debug)]
struct Watched {
    shared: Weak<Shared>,
    tolerance: Duration,
    namespace: Option<Box<str>>,
    version: u64,
}

impl Content {
    /// What never changes.
    pub fn fixed() -> Self {
        Self(None)
    }

    /// What a watch knows now, if it may answer.
    pub(super) fn of(
        shared: &Arc<Shared>,
        namespace: Option<&str>,
        tolerance: Duration,
    ) -> Option<Self> {
        let version = shared.version(namespace, tolerance)?;
        let namespace = namespace.map(Box::from);
        Some(Self(Some(Watched { shared: Arc::downgrade(shared), tolerance, namespace, version })))
    }

    /// The version of all that was selected from it.
    pub fn version(&self) -> u64 {
        self.0.as_ref().map_or(0, |watched| watched.version)
    }

    /// Whether a question would be answered from this content now. It is no question: one that is answered so does not keep a
    /// watch going, but the next one that is not does.
    pub fn is_current(&self) -> bool {
        let Some(Watched { shared, tolerance, namespace, version }) = &self.0 else { return true };
        let known = shared.upgrade();
        known.and_then(|shared| shared.version(namespace.as_deref(), *tolerance)) == Some(*version)
    }
}
