//! A metric that is served: its query, and the values of the answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Explainer,
    asking::{Deadline, not_a_vector, samples, series},
    operands::operands,
};
use crate::{
    core::{
        catalog::{Catalog, Entry, external::ExternalEntry},
        explain::{
            Cause,
            facts::{AnswerFacts, Asked, Facts, Failure, FallbackFacts, Of, Series, Served, Which},
        },
        external, oddity,
        plan::{self, PlanError, shareable},
        reading,
        rules::{MetricRule, RuleBase},
        samples::{Index, Labels, Vector},
        selector::Selector,
        window,
    },
    prometheus::{Answer, BackendHandle},
    team_rules::OverQuota,
};

/// The key of the query of rules for metrics.
const METRICS_QUERY: &str = "metricsQuery";

/// How a metric is read.
pub(super) enum Entries {
    Custom(Box<Entry>),
    External(ExternalEntry),
}

impl Entries {
    pub(super) fn rule(&self) -> MetricRule {
        match self {
            Self::Custom(entry) => MetricRule::Custom(Arc::clone(&entry.rule)),
            Self::External(entry) => MetricRule::External(Arc::clone(&entry.rule)),
        }
    }

    fn series(&self) -> &str {
        match self {
            Self::Custom(entry) => &entry.series,
            Self::External(entry) => &entry.series,
        }
    }

    /// The query that an autoscaler with this selector would get.
    fn plan(&self, facts: &Facts, selector: &Selector) -> Result<plan::Plan, PlanError> {
        self.plan_of(facts.asked.namespace.as_deref(), &objects_of(facts), selector)
    }

    /// The query for objects in a namespace.
    pub(super) fn plan_of(
        &self,
        namespace: Option<&str>,
        objects: &plan::Objects,
        selector: &Selector,
    ) -> Result<plan::Plan, PlanError> {
        match self {
            Self::Custom(entry) => plan::exact(entry.source(), namespace, objects, selector),
            Self::External(entry) => {
                let query = external::query(entry, namespace.unwrap_or_default(), selector)?;
                Ok(plan::Plan { query: query.into(), key: plan::Key::default() })
            }
        }
    }
}

pub(super) fn entry(catalog: &Catalog, asked: &Asked) -> Option<Entries> {
    match &asked.of {
        Of::Objects { kind, .. } => {
            let kind = kind.as_ref().ok()?;
            let entry = catalog.get(&kind.resource, &asked.metric)?;
            Some(Entries::Custom(Box::new(entry)))
        }
        Of::External => catalog.external().get(&asked.metric).map(Entries::External),
    }
}

impl Explainer {
    /// What lies behind a metric that is served.
    pub(super) async fn served(&self, facts: &mut Facts, entry: &Entries, deadline: Deadline) {
        let asked = &facts.asked;
        let namespace = asked.namespace.as_deref();
        let rule = entry.rule();
        let rule = rule.base();
        let plan = entry.plan(facts, &asked.selector);
        facts.served = Some(served(entry, asked));
        let scope = namespace.unwrap_or_default();
        if let Err(over) = self.team_rules.admit(rule, scope) {
            facts.answer = Some(over_quota(over));
            return;
        }
        let backend = match self.backends.handle(&rule.options, scope) {
            Ok(backend) => backend,
            Err(error) => {
                let failure = self.unusable(&error);
                facts.answer =
                    Some(AnswerFacts { failure: Some(failure), ..AnswerFacts::default() });
                return;
            }
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => {
                let failure = Some(unplanned(&error));
                facts.answer = Some(AnswerFacts { failure, ..AnswerFacts::default() });
                return;
            }
        };
        let mut answer = AnswerFacts {
            query: plan.query.to_string(),
            nan: Some(rule.nan),
            ignores_selector: !asked.selector.is_empty()
                && rule.object.is_none()
                && entry
                    .plan(facts, &Selector::default())
                    .is_ok_and(|without| without.query == plan.query),
            ..AnswerFacts::default()
        };
        match deadline.ask_of(&backend, backend.query(&plan.query)).await {
            Err(failure) => {
                facts.fallback = self.fallback(rule, &facts.asked);
                if let Some(FallbackFacts { milli, .. }) = facts.fallback {
                    answer.values = fallen_back(facts, milli);
                }
                answer.failure = Some(failure);
            }
            Ok(Answer::Scalar(at_ms, value)) => match entry {
                Entries::External(entry) => {
                    answer.samples = vec![Series { labels: BTreeMap::new(), value }];
                    let readings = external::of_scalar(at_ms, value, &entry.rule);
                    let values = readings.values.iter().map(|it| (String::new(), it.milli));
                    answer.values = values.collect();
                }
                Entries::Custom(_) => answer.failure = Some(not_a_vector("scalar")),
            },
            Ok(Answer::Other(kind)) => answer.failure = Some(not_a_vector(kind)),
            Ok(Answer::Vector(vector)) => {
                if let Err(over) = self.team_rules.check(rule, scope, vector.samples.len()) {
                    facts.answer = Some(over_quota(over));
                    return;
                }
                read(&vector, entry, facts, &plan, &mut answer);
            }
        }
        let is_empty = answer.values.is_empty();
        if answer.failure.is_none() {
            if is_empty && !facts.asked.selector.is_empty() {
                answer.without_selector = without_selector(entry, facts, &backend, deadline).await;
            }
            let range = window::shortest(&plan.query).filter(|_| is_empty);
            // The query of a team's rule names its series itself.
            if !entry.series().is_empty() {
                if is_empty && answer.samples.is_empty() && !answer.histograms.are_left_out {
                    answer.operands = operands(&backend, &plan.query, deadline).await;
                }
                facts.series = Some(series(&backend, entry.series(), range, deadline).await);
            }
        }
        facts.answer = Some(answer);
    }

    /// The fallback that reads return now.
    fn fallback(&self, rule: &RuleBase, asked: &Asked) -> Option<FallbackFacts> {
        let milli = rule.fallback?.milli;
        let namespace = asked.namespace.as_deref().unwrap_or_default();
        let since = self.fallbacks.as_ref()?.since(rule.fingerprint, &asked.metric, namespace)?;
        Some(FallbackFacts { milli, since })
    }
}

fn over_quota(over: OverQuota) -> AnswerFacts {
    let failure = Failure { cause: Cause::QuotaExceeded, text: over.why };
    AnswerFacts { failure: Some(failure), ..AnswerFacts::default() }
}

/// Why there is no query.
pub(super) fn unplanned(error: &PlanError) -> Failure {
    let cause = match error {
        PlanError::Selector(_) => Cause::Filtered,
        PlanError::NoNamespaceLabel { .. } => Cause::LabelMissing,
        PlanError::Template { .. } => Cause::BrokenRule,
    };
    Failure { cause, text: error.to_string() }
}

/// What reads return while the backend fails.
fn fallen_back(facts: &Facts, milli: i64) -> Vec<(String, i64)> {
    match (&facts.asked.of, objects_of(facts)) {
        (Of::External, _) => vec![(format!("{}=true", external::FALLBACK_LABEL), milli)],
        (Of::Objects { .. }, plan::Objects::Named(names)) => {
            names.iter().map(|name| (name.to_string(), milli)).collect()
        }
        (Of::Objects { .. }, plan::Objects::Any) => Vec::new(),
    }
}

/// How many samples there are without the autoscaler's selector.
async fn without_selector(
    entry: &Entries,
    facts: &Facts,
    backend: &BackendHandle,
    deadline: Deadline,
) -> Option<usize> {
    let query = entry.plan(facts, &Selector::default()).ok()?.query;
    match deadline.ask(backend.query(&query)).await.ok()? {
        Answer::Vector(vector) => Some(vector.samples.len()),
        Answer::Scalar(..) | Answer::Other(_) => None,
    }
}

/// The objects that are asked about, as far as they are known.
pub(super) fn objects_of(facts: &Facts) -> plan::Objects {
    match &facts.asked.of {
        Of::Objects { which: Which::Named(name), .. } => {
            plan::Objects::Named(vec![name.as_str().into()])
        }
        _ if !facts.objects.is_known => plan::Objects::Any,
        _ => {
            let selected = facts.objects.selected.iter().map(|object| object.name.as_str());
            let names: BTreeSet<&str> = selected.collect();
            plan::Objects::Named(names.into_iter().map(Arc::from).collect())
        }
    }
}

fn served(entry: &Entries, asked: &Asked) -> Served {
    let rule = entry.rule();
    let RuleBase { id, place, object, .. } = rule.base();
    let (id, place, object) = (id.clone(), *place, object.clone());
    let series = entry.series().to_owned();
    match entry {
        Entries::Custom(entry) => {
            let proof =
                shareable::prove(entry.source(), asked.namespace.as_deref(), &asked.selector);
            Served {
                label: Some(entry.label.to_string()),
                namespace_label: entry
                    .namespace_label
                    .as_ref()
                    .filter(|_| entry.kind.namespaced)
                    .map(ToString::to_string),
                sharing: proof.map_or_else(
                    |why| format!("sent for these objects: {why}"),
                    |_| "readers may share a query for all objects".to_owned(),
                ),
                rule: id,
                object,
                place,
                query_key: METRICS_QUERY,
                aggregate: None,
                series,
            }
        }
        Entries::External(entry) => {
            let label =
                entry.namespace_label.as_ref().filter(|_| entry.rule.base.mapping.namespaced());
            Served {
                label: None,
                namespace_label: label.map(ToString::to_string),
                sharing: "the same for all readers with this selector".to_owned(),
                rule: id,
                object,
                place,
                query_key: METRICS_QUERY,
                aggregate: Some(entry.rule.aggregate),
                series,
            }
        }
    }
}

fn read(
    vector: &Vector,
    entry: &Entries,
    facts: &Facts,
    plan: &plan::Plan,
    answer: &mut AnswerFacts,
) {
    // The query of a team's rule has no place for the selector.
    let chosen = (entry.rule().base().object.is_some() && !facts.asked.selector.is_empty())
        .then(|| vector.selected(&facts.asked.selector));
    let vector = chosen.as_ref().unwrap_or(vector);
    answer.samples = samples(vector);
    let unusable = vector.unusable.iter();
    answer.histograms.count =
        unusable.filter(|(_, oddity)| *oddity == oddity::Oddity::NativeHistogram).count();
    answer.histograms.are_left_out = vector.lacks_histograms;
    answer.warnings.clone_from(&vector.warnings);
    answer.is_partial = vector.is_partial;
    let namespace = facts.asked.namespace.as_deref().unwrap_or_default();
    match entry {
        Entries::Custom(entry) => {
            let is_there = |name: &str| facts.objects.all.iter().any(|it| it == name);
            let place = (namespace, &objects_of(facts));
            let readings = readings(vector, &entry.rule.base, &plan.key, place, is_there);
            answer.several = readings
                .odd
                .example(oddity::Oddity::SeveralSamples)
                .map(|example| vec![example.to_owned()])
                .unwrap_or_default();
            answer.filled = readings.filled;
            answer.histograms.replace_value = readings.odd.has(oddity::Oddity::NativeHistogram);
            answer.values =
                readings.values.into_iter().map(|it| (it.name.to_string(), it.milli)).collect();
        }
        Entries::External(entry) => {
            let empty_at = (!vector.is_partial).then_some(0);
            let readings = external::of_vector(vector, entry, namespace, empty_at);
            answer.histograms.replace_value = readings.odd.has(oddity::Oddity::NativeHistogram);
            if vector.samples.is_empty() {
                answer.filled = readings.values.len();
            }
            answer.values = readings
                .values
                .iter()
                .map(|reading| {
                    let labels = reading.labels(Some(vector)).into_iter().flat_map(Labels::iter);
                    let labels: Vec<_> =
                        labels.map(|(name, value)| format!("{name}={value}")).collect();
                    (labels.join(","), reading.milli)
                })
                .collect();
        }
    }
}

/// The values of objects in a namespace. Where `onEmpty` of the rule is a value, those that exist have it without a sample.
pub(super) fn readings(
    vector: &Vector,
    rule: &RuleBase,
    key: &plan::Key,
    (namespace, objects): (&str, &plan::Objects),
    is_there: impl Fn(&str) -> bool,
) -> reading::Readings {
    let index = Index::new(vector, key);
    let mut readings = reading::read(vector, &index, namespace, objects, rule.nan);
    if let (Some(milli), plan::Objects::Named(names)) = (rule.on_empty.milli(), objects)
        && !vector.is_partial
    {
        let existing: Vec<_> = names.iter().filter(|name| is_there(name)).cloned().collect();
        readings.fill(&existing, milli, 0);
    }
    readings
}
