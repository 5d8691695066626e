//! What the status page shows, as plain values: the page is written from them, and they are gathered elsewhere.

pub mod autoscalers;
pub mod exchanges;
pub mod history;
pub mod recent;

use jiff::Timestamp;

use self::{
    autoscalers::AutoscalerRow,
    exchanges::Exchanges,
    history::{History, Topic},
    recent::Noted,
};

/// How many rows a table shows. The others are counted.
pub const MOST_ROWS: usize = 100;

/// How many metrics of a rule are named.
pub const MOST_NAMES: usize = 8;

/// The rows of a table that are shown, and how many are not.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown<T> {
    /// The first ones.
    pub rows: Vec<T>,
    /// How many there are beside them.
    pub more: usize,
}

impl<T> Default for Shown<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), more: 0 }
    }
}

impl<T> Shown<T> {
    /// The first `most` of these.
    pub fn first(all: impl IntoIterator<Item = T>, most: usize) -> Self {
        let mut all = all.into_iter();
        let rows = all.by_ref().take(most).collect();
        Self { rows, more: all.count() }
    }

    /// How many there are in all.
    pub fn len(&self) -> usize {
        self.rows.len().saturating_add(self.more)
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Everything on the page but the answer of its form.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Who shows the page.
    pub server: ServerFacts,
    /// What is wrong now, in sentences.
    pub problems: Shown<String>,
    /// The rules.
    pub rules: Shown<RuleRow>,
    /// The metrics that were read.
    pub metrics: Shown<(Topic, History)>,
    /// Since when values of reads are kept.
    pub recording_since: Option<Timestamp>,
    /// The autoscalers, or why they are not shown.
    pub autoscalers: Result<Shown<AutoscalerRow>, String>,
    /// The backends.
    pub backends: Shown<BackendRow>,
    /// Other servers of the metrics APIs.
    pub delegates: Shown<DelegateRow>,
    /// The groups of readers, and how they are answered.
    pub plans: Shown<PlanRow>,
    /// The results of queries that are kept.
    pub cache: CacheFacts,
    /// The discoveries.
    pub discovery: DiscoveryFacts,
    /// The rules file.
    pub reloads: ReloadFacts,
    /// The serving certificate.
    pub certificate: Option<CertificateFacts>,
    /// The requests that failed, the last one first.
    pub failures: Shown<Noted<Failure>>,
}

/// Who shows the page.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// The version.
    pub version: &'static str,
    /// The host, which is the pod in a cluster.
    pub host: String,
    /// When it was started.
    pub started: Timestamp,
    /// When the page was made.
    pub now: Timestamp,
}

/// Whether something does what it should.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum State {
    /// It does.
    Good(&'static str),
    /// It may not; why, where there is more to say.
    Doubtful(&'static str, String),
    /// It does not, and why.
    Bad(&'static str, String),
}

/// A rule.
#[derive(Clone, Debug)]
pub struct RuleRow {
    /// Its path in the file, and the line.
    pub id: String,
    /// The series that it is about, or the query of usage.
    pub series: String,
    /// The backend that is asked.
    pub backend: String,
    /// Whether it exposes metrics.
    pub state: State,
    /// Its metrics, as `resource/name` or `name`.
    pub metrics: Shown<String>,
}

/// A backend.
#[derive(Clone, Debug)]
pub struct BackendRow {
    /// What the rules file calls it.
    pub name: String,
    /// Its URL, without user, password and parameters.
    pub url: String,
    /// Whether it answers.
    pub state: State,
    /// What has passed between us.
    pub exchanges: Exchanges,
    /// Bytes received, once decompressed.
    pub received_bytes: u64,
}

/// Another server of the metrics APIs.
#[derive(Clone, Debug)]
pub struct DelegateRow {
    /// What the rules file calls it.
    pub name: String,
    /// Host and port.
    pub host: String,
    /// Whether it answers.
    pub state: State,
    /// How many custom metrics it lists.
    pub custom: usize,
    /// How many external metrics it lists.
    pub external: usize,
    /// How many reads it has answered since it is in the file.
    pub answered: u64,
    /// How many it has not.
    pub failed: u64,
}

impl DelegateRow {
    /// One that cannot be used.
    pub fn unusable(name: String) -> Self {
        let state = State::Bad("unusable", "the log says why".to_owned());
        Self { name, host: String::new(), state, custom: 0, external: 0, answered: 0, failed: 0 }
    }
}

/// A group of readers that can share a query.
#[derive(Clone, Debug)]
pub struct PlanRow {
    /// The rule; nothing where it is none of the rules in use any more.
    pub rule: Option<String>,
    /// The series behind the metric.
    pub series: String,
    /// The label that distinguishes the objects.
    pub label: String,
    /// The namespace; nothing for the group of all namespaces.
    pub namespace: Option<String>,
    /// The selector of the metric.
    pub selector: String,
    /// How its readers are answered, in a word.
    pub mode: &'static str,
    /// Why.
    pub why: String,
    /// How many readers there are.
    pub readers: usize,
    /// How many objects they read together.
    pub objects: usize,
    /// How many samples the shared query returned last.
    pub samples: Option<usize>,
}

/// The results of queries that are kept.
#[derive(Clone, Debug, Default)]
pub struct CacheFacts {
    /// How many there are.
    pub entries: usize,
    /// How many bytes they take.
    pub bytes: u64,
    /// How many bytes they may take.
    pub most_bytes: u64,
    /// How many gave way to others because of that.
    pub evicted: u64,
    /// Reads by their outcome.
    pub reads: Vec<(&'static str, u64)>,
    /// Reads that waited for a backend.
    pub waits: u64,
    /// Reads by their plan.
    pub plans: Vec<(&'static str, u64)>,
}

/// The discoveries.
#[derive(Clone, Debug, Default)]
pub struct DiscoveryFacts {
    /// How many have ended.
    pub rounds: u64,
    /// How many metrics the catalog has.
    pub metrics: usize,
    /// When the last one ended, and how long it took in milliseconds.
    pub last: Option<(Timestamp, u64)>,
    /// When the next one begins by the clock.
    pub next: Option<Timestamp>,
    /// What failed in the last one.
    pub failures: Shown<String>,
    /// Rules without a metric though nothing failed, and rules with too many.
    pub remarks: Shown<String>,
}

/// The rules file.
#[derive(Clone, Debug, Default)]
pub struct ReloadFacts {
    /// Since when the rules in use are in use.
    pub since: Option<Timestamp>,
    /// How many files were taken over since the start.
    pub taken: u64,
    /// How many files could not be used, and when that was last.
    pub refused: (u64, Option<Timestamp>),
    /// What is wrong with the file now, if it is not the one in use.
    pub problem: Shown<String>,
}

/// The serving certificate.
#[derive(Clone, Debug)]
pub struct CertificateFacts {
    /// The common name of the subject.
    pub subject: String,
    /// The common name of the issuer.
    pub issuer: String,
    /// The names that it is for.
    pub names: Shown<String>,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
}

/// A request that failed, as its client saw it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The HTTP status.
    pub code: u16,
    /// The message.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_is_counted() {
        let shown = Shown::first(0..250, 100);
        assert_eq!((shown.rows.len(), shown.more, shown.len()), (100, 150, 250));
        assert_eq!(shown.rows.last(), Some(&99));
        let none = Shown::<u8>::first([], 100);
        assert!(none.is_empty() && none == Shown::default());
    }
}
