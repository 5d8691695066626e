//! How often the readers of a namespace may have metrics looked for that the catalog does not have.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// The time between two discoveries that readers of one namespace ask for.
const PAUSE: Duration = Duration::from_secs(60);

/// The namespaces whose readers have asked for a discovery within [`PAUSE`]. A discovery takes its time, and no rule is tried
/// twice in [`super::RETRY`], so they are few.
#[derive(Debug, Default)]
pub(super) struct Budgets(HashMap<Arc<str>, Instant>);

impl Budgets {
    /// Whether a reader of the namespace may have a discovery. Then the next one is after the pause.
    pub(super) fn spend(&mut self, namespace: &Arc<str>, now: Instant) -> bool {
        self.0.retain(|_, spent| now.saturating_duration_since(*spent) < PAUSE);
        let may = !self.0.contains_key(namespace);
        if may {
            self.0.insert(Arc::clone(namespace), now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_has_one_a_minute() {
        let (mut budgets, start) = (Budgets::default(), Instant::now());
        for (second, namespace, may) in [
            (0, "a", true),
            (0, "a", false),
            (5, "b", true),
            (59, "a", false),
            (59, "", true),
            (60, "a", true),
            (64, "b", false),
            (66, "b", true),
            (119, "a", false),
        ] {
            let now = start + Duration::from_secs(second);
            assert_eq!(budgets.spend(&namespace.into(), now), may, "{namespace} at {second} s");
        }
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let (mut budgets, start) = (Budgets::default(), Instant::now());
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            assert!(budgets.spend(&second.to_string().into(), now));
        }
        assert_eq!(budgets.0.len(), 60);
    }
}
