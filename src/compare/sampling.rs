//! The reads of one metric: all objects of a few namespaces, and some objects by name.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Error, Settings, Side,
    listing::Metric,
    looks::{self, Read},
};
use crate::{
    core::{
        compare::{Aspect, Finding, Judged, MetricsApi, Reason, Response, Sides},
        kinds::GroupResource,
    },
    wire::path::{ExternalPath, MetricPath, Name, UsagePath},
};

/// In how many namespaces a metric is looked for that has no values in the first ones.
const NAMESPACES: usize = 20;

/// What is read: an object or all objects, of a namespace or of the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    /// The namespace.
    pub(super) namespace: Option<String>,
    /// The object; nothing for all.
    pub(super) object: Option<String>,
}

/// What came of the reads of a metric.
#[derive(Debug, Default)]
pub(super) struct Sample {
    /// The judgement of each read.
    pub(super) judged: Vec<(Place, Judged)>,
    /// How many reads there were.
    pub(super) reads: usize,
    /// The objects that have values.
    pub(super) objects: BTreeSet<String>,
}

/// Reads a metric from both servers.
pub(super) async fn sample(
    sides: Sides<&Side>,
    metric: &Metric,
    namespaces: &[String],
    settings: &Settings,
) -> Result<Sample, Error> {
    let places = places(metric, namespaces);
    if metric.is_only_reference {
        return only_reference(sides.reference, metric, &places).await;
    }
    let mut sample = Sample::default();
    let mut left = settings.objects.max(1);
    for place in places {
        let Read { judged, last } = read(sides, metric, &place, settings).await?;
        sample.reads += 1;
        sample.judged.push((place.clone(), judged));
        let objects = objects(metric.api, &last);
        let named: Vec<_> = objects.iter().take(left).cloned().collect();
        left -= named.len();
        sample.objects.extend(objects);
        // External metrics have no objects, and are read by name as they are read at all.
        let by_name = if metric.api == MetricsApi::External { &[][..] } else { &named };
        for object in by_name.iter().take(settings.objects) {
            let place = Place { object: Some(object.clone()), ..place.clone() };
            let Read { judged, .. } = read(sides, metric, &place, settings).await?;
            sample.reads += 1;
            sample.judged.push((place, judged));
        }
        if left == 0 {
            break;
        }
    }
    Ok(sample)
}

/// Where a metric is read.
fn places(metric: &Metric, namespaces: &[String]) -> Vec<Place> {
    if !metric.namespaced {
        return vec![Place { namespace: None, object: None }];
    }
    let place = |namespace: &String| Place { namespace: Some(namespace.clone()), object: None };
    namespaces.iter().take(NAMESPACES).map(place).collect()
}

async fn read(
    sides: Sides<&Side>,
    metric: &Metric,
    place: &Place,
    settings: &Settings,
) -> Result<Read, Error> {
    let path = path(metric, place);
    let of = |prefix: &str| format!("{prefix}/{path}");
    let paths =
        Sides { reference: of(&metric.prefixes.reference), with: of(&metric.prefixes.with) };
    let is_named = place.object.is_some();
    looks::read(sides, (metric.api, is_named), paths, settings.tolerance).await
}

/// The path of a read, below the version.
fn path(metric: &Metric, place: &Place) -> String {
    let Place { namespace, object } = place.clone();
    match metric.api {
        MetricsApi::Custom => {
            let resource = metric.name.split_once('/').map_or("", |(resource, _)| resource);
            let name = object.map_or(Name::All, Name::One);
            let resource = GroupResource::parse(resource);
            let metric = metric.bare().to_owned();
            MetricPath { namespace, resource, name, metric }.to_string()
        }
        MetricsApi::External => {
            let namespace = namespace.unwrap_or_default();
            ExternalPath { namespace, metric: metric.name.clone() }.to_string()
        }
        MetricsApi::Resource if metric.namespaced => {
            UsagePath::Pods { namespace, name: object }.to_string()
        }
        MetricsApi::Resource => UsagePath::Nodes { name: object }.to_string(),
    }
}

/// The objects that one of two answers has.
fn objects(api: MetricsApi, answers: &Sides<Response>) -> BTreeSet<String> {
    let of = |response: &Response| match response {
        Response::Values(values) => values.keys().cloned().collect::<Vec<_>>(),
        Response::Failed { .. } => Vec::new(),
    };
    let all = of(&answers.reference).into_iter().chain(of(&answers.with));
    let is_of_usage = api == MetricsApi::Resource;
    let name = |key: String| match key.split_once(['/', ' ']) {
        Some((name, _)) if is_of_usage => name.to_owned(),
        _ => key,
    };
    all.map(name).collect()
}

/// What a metric means that only the reference lists: whether anybody can read it.
async fn only_reference(side: &Side, metric: &Metric, places: &[Place]) -> Result<Sample, Error> {
    let mut seen = "listed".to_owned();
    let mut found = None;
    let mut failures = 0;
    for place in places {
        let prefix = &metric.prefixes.reference;
        let path = format!("{prefix}/{}", path(metric, place));
        match looks::ask(side, metric.api, &path).await? {
            response @ Response::Values(_) if response != Response::Values(BTreeMap::new()) => {
                seen = format!("listed, {response}");
                found = Some(place);
                break;
            }
            response @ Response::Failed { code, .. } if code != 404 => {
                seen = format!("listed, {response}");
                failures += 1;
            }
            Response::Values(_) | Response::Failed { .. } => {}
        }
    }
    let reason = match found {
        Some(_) => None,
        None if failures > 0 && failures == places.len() => Some(Reason::Unreadable),
        None => Some(Reason::Discovery),
    };
    let sides = Sides { reference: Some(seen), with: None };
    let finding = Finding { aspect: Aspect::Listed, object: String::new(), sides, reason };
    let judged = Judged { findings: vec![finding], ..Judged::default() };
    let place = found.or(places.first()).cloned();
    let place = place.unwrap_or(Place { namespace: None, object: None });
    Ok(Sample { judged: vec![(place, judged)], ..Sample::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_api_has_paths_of_its_own() {
        let metric = |api, name: &str, namespaced| Metric {
            api,
            prefixes: Sides::default(),
            name: name.to_owned(),
            namespaced,
            is_only_reference: false,
        };
        let (custom, external, resource) =
            (MetricsApi::Custom, MetricsApi::External, MetricsApi::Resource);
        for (metric, namespace, object, wanted) in [
            (metric(custom, "pods/m", true), Some("n"), None, "namespaces/n/pods/*/m"),
            (
                metric(custom, "jobs.batch/m", true),
                Some("n"),
                Some("j"),
                "namespaces/n/jobs.batch/j/m",
            ),
            (metric(custom, "namespaces/m", false), None, Some("n"), "namespaces/n/metrics/m"),
            (metric(custom, "namespaces/m", false), None, None, "namespaces/*/metrics/m"),
            (metric(custom, "nodes/m", false), None, None, "nodes/*/m"),
            (metric(external, "q", true), Some("n"), None, "namespaces/n/q"),
            (metric(resource, "pods", true), Some("n"), Some("p"), "namespaces/n/pods/p"),
            (metric(resource, "nodes", false), None, None, "nodes"),
        ] {
            let place = Place {
                namespace: namespace.map(str::to_owned),
                object: object.map(str::to_owned),
            };
            assert_eq!(path(&metric, &place), wanted);
        }
    }
}
