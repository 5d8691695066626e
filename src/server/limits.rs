//! How many connections there may be, and how many files the process may have open: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many connections there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// All of them.
    pub connections: usize,
    /// Those from one address on which nobody has shown a good credential yet.
    pub strangers_per_address: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 4_096, strangers_per_address: 250 }
    }
}

/// The most connections in all on which nobody has shown a good credential yet, whatever their addresses.
const STRANGERS: usize = 1_000;

/// Files that connections leave to everything else at the least: backends, the cluster, files that are read again.
const RESERVED_FILES: usize = 32;

impl Limits {
    /// The same, as far as the process may have files open. A quarter of them is not for connections.
    pub(super) fn within_open_files(self) -> Self {
        self.within(getrlimit(Resource::Nofile).current)
    }

    fn within(self, files: Option<u64>) -> Self {
        let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
        let room = files.saturating_sub(RESERVED_FILES.max(files / 4)).max(2);
        Self { connections: self.connections.min(room), ..self }
    }

    /// How many of all connections strangers may have: the others have room, too.
    pub(super) fn strangers(self) -> usize {
        STRANGERS.max(self.strangers_per_address).min(self.connections / 2).max(1)
    }
}

/// Raises the limit as far as the process may, as Go's runtime does, and says where it is then. Container runtimes start
/// processes with 1,024 and let them have far more.
pub fn raise_open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files stays as it is");
            current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kept_for_what_is_no_connection() {
        for (files, connections, strangers) in [
            (None, 4_096, 1_000),
            (Some(1 << 20), 4_096, 1_000),
            (Some(1_024), 768, 384),
            (Some(64), 32, 16),
            (Some(8), 2, 1),
        ] {
            let limits = Limits::default().within(files);
            assert_eq!(
                (limits.connections, limits.strangers()),
                (connections, strangers),
                "{files:?}"
            );
        }
        let many = Limits { connections: 10_000, strangers_per_address: 3_000 };
        assert_eq!(many.within(None).strangers(), 3_000, "one address may have what a flag says");
    }
}
