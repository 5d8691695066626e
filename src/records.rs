//! What is remembered for the status page: the values of the last reads, and the errors that clients got.
//!
//! Nothing is remembered before somebody wants the page.

use std::sync::{Mutex, OnceLock, PoisonError};

use jiff::Timestamp;

use crate::core::overview::{
    Failure, Shown,
    history::{Histories, History, Seen, Topic},
    recent::{Noted, Recent},
};

/// How many different errors are remembered.
const FAILURES: usize = 50;

/// The longest message that is remembered, in characters.
const MESSAGE: usize = 500;

/// What is remembered.
#[derive(Debug)]
pub struct Records {
    since: OnceLock<Timestamp>,
    histories: Mutex<Histories>,
    failures: Mutex<Recent<Failure>>,
}

impl Records {
    /// Nothing yet. The values of reads may take so many bytes.
    pub fn new(most_bytes: usize) -> Self {
        Self {
            since: OnceLock::new(),
            histories: Mutex::new(Histories::new(most_bytes)),
            failures: Mutex::new(Recent::new(FAILURES)),
        }
    }

    /// Remembers from now on.
    pub fn begin(&self) {
        self.since.get_or_init(Timestamp::now);
    }

    /// Since when values are remembered.
    pub fn since(&self) -> Option<Timestamp> {
        self.since.get().copied()
    }

    /// A metric was read.
    pub fn read(&self, what: impl FnOnce() -> (Topic, Seen)) {
        if self.since.get().is_none() {
            return;
        }
        let ((topic, seen), now) = (what(), Timestamp::now());
        lock(&self.histories).note(topic, seen, now.as_second());
    }

    /// A client got an error.
    pub fn failed(&self, code: u16, message: &str) {
        if self.since.get().is_none() {
            return;
        }
        let message = message.chars().take(MESSAGE).collect();
        lock(&self.failures).note(Failure { code, message }, Timestamp::now());
    }

    /// The first of the metrics that were read, in their order.
    pub fn metrics(&self, most: usize) -> Shown<(Topic, History)> {
        let histories = lock(&self.histories);
        let all = histories.sorted();
        let more = all.len().saturating_sub(most);
        let rows = all.into_iter().take(most).map(|(topic, it)| (topic.clone(), it.clone()));
        Shown { rows: rows.collect(), more }
    }

    /// The last errors.
    pub fn failures(&self, most: usize) -> Shown<Noted<Failure>> {
        Shown::first(lock(&self.failures).latest(), most)
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::explain::Api;

    #[test]
    fn nothing_is_remembered_before_somebody_wants_it() {
        let records = Records::new(1 << 20);
        records.read(|| unreachable!("this costs time"));
        records.failed(500, "no");
        assert!(records.failures(9).is_empty() && records.since().is_none());
        records.begin();
        let topic = Topic {
            api: Api::External,
            namespace: "n".to_owned(),
            objects: String::new(),
            metric: "m".to_owned(),
            selector: String::new(),
        };
        records.read(|| (topic.clone(), Seen { milli: 5, values: 1 }));
        records.failed(404, &"é".repeat(10_000));
        assert_eq!(records.metrics(9).rows[0].0, topic);
        assert_eq!(records.metrics(0).more, 1);
        assert_eq!(records.failures(9).rows[0].what.message.chars().count(), MESSAGE);
        assert!(records.since().is_some());
    }
}
