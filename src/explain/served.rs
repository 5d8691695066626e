//! A metric that is served: its query, and what is read out of the answer.

use std::{collections::BTreeSet, sync::Arc};

use super::asking::samples;
use crate::core::{
    catalog::{Catalog, Entry, external::ExternalEntry},
    explain::facts::{AnswerFacts, Asked, Facts, Of, Served, Which},
    external, oddity,
    plan::{self, PlanError, shareable},
    reading,
    rules::{MetricRule, OnEmpty, RuleBase},
    samples::{Index, Labels, Vector},
    selector::Selector,
};

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

    pub(super) fn series(&self) -> &str {
        match self {
            Self::Custom(entry) => &entry.series,
            Self::External(entry) => &entry.series,
        }
    }

    /// The query that an autoscaler with this selector would get.
    pub(super) fn plan(&self, facts: &Facts, selector: &Selector) -> Result<plan::Plan, PlanError> {
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

pub(super) fn served(entry: &Entries, asked: &Asked) -> Served {
    let rule = entry.rule();
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
                rule,
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
                series,
                rule,
            }
        }
    }
}

pub(super) fn read(
    vector: &Vector,
    entry: &Entries,
    facts: &Facts,
    plan: &plan::Plan,
    answer: &mut AnswerFacts,
) {
    answer.samples = samples(vector);
    let unusable = vector.unusable.iter();
    answer.histograms =
        unusable.filter(|(_, oddity)| *oddity == oddity::Oddity::NativeHistogram).count();
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
            answer.values =
                readings.values.into_iter().map(|it| (it.name.to_string(), it.milli)).collect();
        }
        Entries::External(entry) => {
            let zero_at = (!vector.is_partial).then_some(0);
            let readings = external::of_vector(vector, entry, namespace, zero_at);
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

/// The values of objects in a namespace. Where the rule says so, those that exist have the value 0 without a sample.
pub(super) fn readings(
    vector: &Vector,
    rule: &RuleBase,
    key: &plan::Key,
    (namespace, objects): (&str, &plan::Objects),
    is_there: impl Fn(&str) -> bool,
) -> reading::Readings {
    let index = Index::new(vector, key);
    let mut readings = reading::read(vector, &index, namespace, objects, rule.nan);
    if let (OnEmpty::Zero, plan::Objects::Named(names)) = (rule.on_empty, objects)
        && !vector.is_partial
    {
        let existing: Vec<_> = names.iter().filter(|name| is_there(name)).cloned().collect();
        readings.fill(&existing, 0);
    }
    readings
}
