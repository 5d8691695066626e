//! How the readers of a group are answered, for people.

use std::time::Instant;

use super::{Mode, Sharing, choice::WhyExact};

/// How the readers of a group are answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupState {
    /// In a word: `exact`, `gathering`, `shared` or `paused`.
    pub mode: &'static str,
    /// Why.
    pub why: String,
    /// How many readers there are or are expected.
    pub readers: usize,
    /// How many objects they read together, each counted for every reader.
    pub names: usize,
    /// How many samples the shared query returned last.
    pub size: Option<usize>,
}

impl<Q: AsRef<str> + Clone + PartialEq> Sharing<Q> {
    /// How the readers are answered now.
    pub fn state(&self, now: Instant) -> GroupState {
        let ((readers, names), size) = (self.demand(), self.size.map(|(size, _)| size));
        let (mode, why) = match (&self.shared, self.mode) {
            (Err(why), _) => ("exact", why.to_string()),
            (Ok(_), Mode::Paused { until }) if now < until => {
                let seconds = until.saturating_duration_since(now).as_secs();
                let failed = format!("the shared query failed; it is not sent for {seconds} s");
                ("paused", failed)
            }
            (Ok(shared), _) if !shared.depends_on_names => {
                ("shared", "the query is the same for all readers".to_owned())
            }
            (Ok(_), Mode::Shared { .. }) => {
                ("shared", "one query costs less than one for each reader".to_owned())
            }
            (Ok(_), Mode::Gathering(_)) => {
                ("gathering", "new readers wait for one another".to_owned())
            }
            (Ok(_), Mode::Exact | Mode::Paused { .. }) => {
                let why = size.map_or(WhyExact::UnknownCost, |size| WhyExact::CostsMore {
                    readers,
                    names,
                    size,
                });
                ("exact", why.to_string())
            }
        };
        GroupState { mode, why, readers, names, size }
    }
}
