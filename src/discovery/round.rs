//! A round of discovery: the questions to the backends, and what becomes of the answers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, future::join_all, stream};

use super::{
    CONCURRENCY, Discovery,
    ask::{self, Discovered, Group},
    confirm::Confirmed,
};
use crate::{
    core::{
        catalog::{DiscoveredRule, external},
        rules::{MetricRule, RuleId},
    },
    prometheus::{BackendHandle, Error, Metadata},
};

/// The rules that failed, by the error's text.
type Failures = BTreeMap<String, Vec<RuleId>>;

impl Discovery {
    /// Asks what there is of the rules that are due.
    pub(super) async fn find(&mut self, due: &[usize]) {
        let groups = self.selectors(due);
        let results = self.ask(groups).await;
        let mut failures = Failures::default();
        for (group, found) in results {
            self.note(&group, found, &mut failures);
        }
        for (error, rules) in failures {
            let rules = RuleId::list(&rules);
            tracing::warn!(rules, error, "discovery failed; keeping the previous result");
        }
    }

    /// Asks for all selectors, in the time that one request may take: a backend that hangs costs a round once, not for each
    /// selector.
    async fn ask(&self, groups: Vec<Group>) -> Vec<(Group, Discovered)> {
        let mut by_backend: HashMap<BackendHandle, Vec<Group>> = HashMap::new();
        for group in groups {
            by_backend.entry(group.backend.clone()).or_default().push(group);
        }
        let found = by_backend.into_iter().map(|(backend, groups)| async move {
            // Every backend has its own time: one that hangs does not keep others from being asked.
            let deadline = tokio::time::Instant::now() + backend.discovery_timeout();
            let in_time = |result| match result {
                Ok(Ok(found)) => Ok(found),
                Ok(Err(error)) => Err(Arc::new(error)),
                Err(_elapsed) => Err(Arc::new(backend.discovery_timed_out())),
            };
            let ignores = backend.ignores_selectors(ask::range(self.settings.max_age));
            let ignores = match tokio::time::timeout_at(deadline, ignores).await {
                Ok(ignores) => ignores.map_err(Arc::new),
                Err(_elapsed) => Err(Arc::new(backend.discovery_timed_out())),
            };
            stream::iter(groups)
                .map(|group| {
                    let ignores = ignores.clone();
                    async move {
                        let found = match ignores {
                            Err(error) => Err(error),
                            Ok(ignores) => {
                                let found = ask::discover(&group, ignores);
                                in_time(tokio::time::timeout_at(deadline, found).await)
                            }
                        };
                        (group, found)
                    }
                })
                .buffer_unordered(CONCURRENCY)
                .collect::<Vec<_>>()
                .await
        });
        join_all(found).await.into_iter().flatten().collect()
    }

    /// The distinct selectors of the rules that have to be asked for, each with the rules and labels that it is asked for.
    fn selectors(&mut self, due: &[usize]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut places: HashMap<(BackendHandle, String, Duration), usize> = HashMap::new();
        for index in due {
            let Some(state) = self.rules.get_mut(*index).filter(|state| state.is_asked_for())
            else {
                continue;
            };
            let DiscoveredRule { rule, mapping, .. } = &state.discovered;
            let (base, window) = (rule.base(), state.window);
            let backend = match self.backends.discovery_handle(&base.options) {
                Ok(backend) => backend,
                Err(error) => {
                    tracing::debug!(rule = %base.id, %error, "nobody can be asked");
                    state.not_asked();
                    continue;
                }
            };
            let key = (backend.clone(), base.selector.text().to_owned(), window);
            let place = *places.entry(key).or_insert_with(|| {
                groups.push(Group::new(backend, base.selector.clone(), window));
                groups.len() - 1
            });
            let Some(group) = groups.get_mut(place) else { continue };
            group.rules.push((*index, state.discovered.clone()));
            match rule {
                MetricRule::Custom(_) => {
                    group.labels_may_be_absent |= base.mapping.may_name_absent_labels();
                    group.labels.extend(mapping.labels().map(|(label, _)| label.to_owned()));
                }
                MetricRule::External(_) => {
                    group.labels.insert(external::NAME.to_owned());
                }
            }
        }
        groups
    }

    /// Notes what was found for every rule of a selector. A rule whose discovery failed keeps what it knew, and one that a
    /// partial answer has knows that as well; what is new among the failures is added to `failures`.
    fn note(&mut self, group: &Group, found: Discovered, failures: &mut Failures) {
        let (found, error) = match found {
            Ok(Metadata { data, is_partial }) => (data, is_partial.then(|| Error::Partial.into())),
            Err(error) => (Vec::new(), Some(error)),
        };
        for (index, found) in found {
            if let Some(state) = self.rules.get_mut(index) {
                state.learn(found, error.is_some());
            }
        }
        for (index, _) in &group.rules {
            let Some(state) = self.rules.get_mut(*index) else {
                continue;
            };
            let rule = state.rule().id.clone();
            match &error {
                None => {
                    if state.error.take().is_some() {
                        tracing::info!(%rule, "discovery works again");
                    }
                }
                Some(error) => {
                    if state.failed(error, self.audience) {
                        failures.entry(error.to_string()).or_default().push(rule);
                    }
                }
            }
        }
    }

    /// Notes what was learned of contested series.
    pub(super) fn judge(&mut self, mut confirmed: BTreeMap<usize, Confirmed>) {
        let mut failures = Failures::default();
        for (index, state) in (0..).zip(&mut self.rules) {
            let confirmed = confirmed.remove(&index).unwrap_or_default();
            if let Some(doubt) = state.confirm(confirmed) {
                failures.entry(doubt.to_string()).or_default().push(state.rule().id.clone());
            }
        }
        for (error, rules) in failures {
            let rules = RuleId::list(&rules);
            tracing::warn!(
                rules,
                error,
                "discovery could not distinguish live series from ended ones; keeping the previous result"
            );
        }
    }
}
