//! Events on the autoscalers whose metrics a fallback answers, at its begin and at its end.
//!
//! Reads only send a note to the task here, and never wait for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use kube::Client;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    core::{duration, overview::history::Topic, quantity::Decimal, rules::RuleId},
    hpas::{self, Autoscaler},
    kubernetes::events::{Events, Occurrence, Regarding, Severity},
};

/// How many notes wait for the task. What does not fit gets no Event.
const MOST_WAITING: usize = 1_000;

/// The most autoscalers of a namespace that are looked at.
const MOST_AUTOSCALERS: u32 = 500;

/// The least time between two looks at the autoscalers: what changes meanwhile is looked up together.
const PAUSE: Duration = Duration::from_secs(1);

/// A fallback has become the answer to a question, or is no longer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Change {
    pub(super) rule: RuleId,
    pub(super) topic: Topic,
    /// The time of the first read that the fallback has answered.
    pub(super) since: Timestamp,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum What {
    /// It is the answer from then on, after failures for so long. The value is in thousandths.
    Begin { milli: i64, after: Duration },
    /// A read has succeeded.
    End,
}

/// Takes notes of fallbacks for the task.
#[derive(Clone, Debug)]
pub struct Notes(mpsc::Sender<Change>);

impl Notes {
    pub(super) fn send(&self, change: Change) {
        if self.0.try_send(change).is_err() {
            tracing::debug!("too many fallbacks begin or end: one has no Events");
        }
    }
}

/// The task that writes the Events.
pub struct EventsTask {
    client: Client,
    events: Events,
    changes: mpsc::Receiver<Change>,
}

impl EventsTask {
    /// Makes the task for a cluster, and what it is sent notes by.
    pub fn new(client: Client, events: Events) -> (Self, Notes) {
        let (notes, changes) = mpsc::channel(MOST_WAITING);
        (Self { client, events, changes }, Notes(notes))
    }

    /// Writes Events until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.write() => {}
        }
    }

    /// Without an end. When nobody sends notes any more, none come.
    async fn write(&mut self) {
        let mut batch = Vec::new();
        loop {
            if self.changes.recv_many(&mut batch, MOST_WAITING).await == 0 {
                return std::future::pending().await;
            }
            let mut namespaces: BTreeMap<String, Vec<Change>> = BTreeMap::new();
            for change in batch.drain(..) {
                namespaces.entry(change.topic.namespace.clone()).or_default().push(change);
            }
            for (namespace, changes) in namespaces {
                self.write_in(&namespace, &changes).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn write_in(&self, namespace: &str, changes: &[Change]) {
        // Autoscalers are in namespaces, and read what is in theirs.
        if namespace.is_empty() {
            return;
        }
        let found = hpas::of_namespace(&self.client, namespace, MOST_AUTOSCALERS).await;
        let autoscalers = match found {
            Ok(autoscalers) => autoscalers,
            Err(error) => {
                tracing::debug!(namespace, %error, "a fallback has no Events: the autoscalers cannot be listed");
                return;
            }
        };
        let mut written = BTreeSet::new();
        for change in changes {
            let note = note(change);
            for autoscaler in &autoscalers {
                let asks = autoscaler.reads.iter().any(|read| read.asks(&change.topic));
                if asks && written.insert((&autoscaler.name, note.clone())) {
                    let occurrence = occurrence(change.what, &note);
                    self.events.publish(&regarding(namespace, autoscaler), occurrence).await;
                }
            }
        }
    }
}

fn regarding(namespace: &str, autoscaler: &Autoscaler) -> Regarding {
    Regarding {
        api_version: "autoscaling/v2".to_owned(),
        kind: "HorizontalPodAutoscaler".to_owned(),
        namespace: Some(namespace.to_owned()),
        name: autoscaler.name.clone(),
        uid: autoscaler.uid.clone(),
    }
}

fn occurrence(what: What, note: &str) -> Occurrence<'_> {
    let (severity, reason) = match what {
        What::Begin { .. } => (Severity::Warning, "FallbackInUse"),
        What::End => (Severity::Normal, "FallbackEnded"),
    };
    Occurrence { severity, reason, action: "ReadMetric", note }
}

/// What is said of a change. Replicas say the same where they have seen the same, so the time is in minutes.
fn note(change: &Change) -> String {
    let Change { rule, topic, since, what } = change;
    let Topic { objects, metric, selector, .. } = topic;
    let mut read = format!("reads of `{metric}`");
    if !objects.is_empty() {
        read = format!("{read} of {objects}");
    }
    if !selector.is_empty() {
        read = format!("{read} with the selector {selector}");
    }
    let since = since.strftime("%FT%H:%MZ");
    match what {
        What::Begin { milli, after } => format!(
            "{read} return {}, the fallback of {rule}, since {since}: the backend has failed them for {}",
            Decimal(*milli),
            duration::prometheus(*after)
        ),
        What::End => {
            format!("{read} succeed again; they had returned the fallback of {rule} since {since}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::explain::Api;
    use crate::core::rules::RuleEntry;

    #[test]
    fn the_same_episode_is_told_in_the_same_words_and_another_in_others() {
        let topic = Topic {
            api: Api::External,
            namespace: "shop".to_owned(),
            objects: String::new(),
            metric: "queue".to_owned(),
            selector: "q=a".to_owned(),
        };
        let begin = What::Begin { milli: 2_500, after: Duration::from_secs(180) };
        let at = |since: &str, what| {
            let since = since.parse().unwrap();
            note(&Change { rule: RuleEntry::External(0).into(), topic: topic.clone(), since, what })
        };
        let first = at("2026-11-29T10:00:01Z", begin);
        assert_eq!(
            first,
            "reads of `queue` with the selector q=a return 2500m, the fallback of externalRules[0], since 2026-11-29T10:00Z: the backend has failed them for 3m"
        );
        assert_eq!(at("2026-11-29T10:00:59Z", begin), first);
        assert_ne!(at("2026-11-29T10:01:00Z", begin), first);
        assert_ne!(at("2026-11-29T10:00:01Z", What::End), first);
    }
}
