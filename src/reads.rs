//! A read of a metric, front to back: which metric, which objects, which query, which values.

mod error;
pub mod external;
mod look;
mod oddities;
pub mod resource;

use std::{
    hash::{DefaultHasher, Hash, Hasher as _},
    sync::Arc,
};

pub use error::ReadError;
use look::Looks;
use oddities::{Recorder, Subject};

use crate::{
    cache::{Lookup, slot::How},
    core::{
        catalog::{Catalog, Entry},
        explain::Api,
        kinds::{GroupResource, Kind},
        nearest::did_you_mean,
        oddity::Oddity,
        overview::history::{Seen, Topic},
        plan::{self, shareable},
        reading::{self, Reading, Readings},
        rules::{OnEmpty, RuleId},
        samples::{Index, Vector},
        selector::{LabelSelector, Selector},
    },
    discovery::{self, Problem},
    metrics::Metrics,
    objects::{Objects, Selected},
    planner::{Asked, Part, Planner},
    prometheus::Answer,
    records::Records,
    rules_file::Rules,
    wire::path::{MetricPath, Name},
};

/// How many rules an error names.
const MAX_NAMED: usize = 5;

/// Everything that a read needs.
pub struct Reads {
    discovery: discovery::Handle,
    objects: Arc<Objects>,
    planner: Arc<Planner>,
    rules: Rules,
    oddities: Recorder,
    looks: Looks,
    records: Arc<Records>,
}

/// A request for values, its selectors parsed.
#[derive(Clone, Debug)]
pub struct MetricRequest {
    /// What the path names.
    pub path: MetricPath,
    /// Which objects, where the path names all.
    pub objects: Selector,
    /// Which series.
    pub metric: Selector,
}

/// The values that were asked for.
#[derive(Debug)]
pub struct Values {
    /// The kind of the described objects.
    pub kind: Arc<Kind>,
    /// The values, sorted by name.
    pub readings: Vec<Reading>,
    /// The metric selector as it is given back; nothing where there is none.
    pub selector: Option<LabelSelector>,
    /// The range of the query in seconds, where it is known.
    pub window_seconds: Option<i64>,
}

impl Reads {
    /// Puts the parts together.
    pub fn new(
        discovery: discovery::Handle,
        objects: Arc<Objects>,
        planner: Arc<Planner>,
        rules: Rules,
        records: Arc<Records>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let oddities = Recorder::new(Arc::clone(metrics));
        let looks = Looks::new(Arc::clone(&planner));
        Self { discovery, objects, planner, rules, oddities, looks, records }
    }

    /// The catalog as it is now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.discovery.catalog()
    }

    /// Reads a metric of objects of a kind.
    pub async fn read(&self, request: &MetricRequest) -> Result<Values, ReadError> {
        let entry = self.entry(&request.path).await?;
        let rule = &entry.rule.base;
        let namespace = request.path.namespace.as_deref();
        if !request.metric.is_empty() {
            let object = match &request.path.name {
                Name::One(name) => Some(name.as_str()),
                Name::All => None,
            };
            plan::check_selector(entry.source(), namespace, object, &request.metric)?;
        }
        let selected = self.select(request, &entry).await?;
        let asked = Asked {
            source: entry.source(),
            namespace,
            scope: request.path.scope(),
            selected: &selected,
            metric_selector: &request.metric,
            reader: request.reader(),
        };
        let found = self.planner.find(asked).await;
        let found = found.map_err(|failure| ReadError::of(rule.id, failure))?;
        let mut readings = Readings::default();
        for part in &found.parts {
            let objects = part.objects.as_ref().unwrap_or(&selected.objects);
            readings.extend(part.read(rule.id, |vector, index| {
                reading::read(vector, index, namespace.unwrap_or_default(), objects, rule.nan)
            })?);
        }
        // Nothing is only then a fact when the answer is new and whole.
        let knows_all = found.parts.iter().all(|part| is_new_and_whole(&part.got));
        let is_missing = !matches!(request.path.name, Name::One(_))
            || (readings.values.is_empty() && readings.valueless.is_empty());
        if rule.on_empty == OnEmpty::Zero && knows_all && is_missing {
            let at_ms = found.parts.first().map_or(0, |part| part.got.kept.value().fetched_ms());
            readings.fill(&self.existing(request, &entry, &selected).await?, at_ms);
        }
        let nothing = if readings.values.is_empty() {
            Some(self.why_nothing(&entry, namespace, &readings, knows_all).await)
        } else {
            None
        };
        let (nothing, label) = nothing.unzip();
        let label = label.as_ref().unwrap_or(&entry.label);
        let subject = Subject::of(entry.source(), label, &request.path.metric);
        self.oddities.record(subject, &readings.odd, nothing);
        if let (Name::One(name), Some(why)) = (&request.path.name, nothing) {
            return Err(ReadError::UnknownMetric {
                metric: request.path.metric.clone(),
                of: format!("{} {name}", entry.kind.resource),
                cause: format!("the query of {} {}", rule.id, why.explains(label)),
            });
        }
        self.records.read(|| request.seen(&readings.values));
        Ok(Values {
            kind: Arc::clone(&entry.kind),
            readings: readings.values,
            selector: (!request.metric.is_empty()).then(|| request.metric.to_label_selector()),
            window_seconds: rule.window_seconds,
        })
    }

    /// How to read the metric; a metric that is not known is looked for once more.
    async fn entry(&self, path: &MetricPath) -> Result<Entry, ReadError> {
        let name = (&path.resource, &path.metric);
        let entry = self.discovery.find(path.scope(), name, |catalog| find(catalog, path));
        entry.await.ok_or_else(|| unknown(&self.catalog(), &self.discovery.problems(), path))
    }

    async fn select(&self, request: &MetricRequest, entry: &Entry) -> Result<Selected, ReadError> {
        let MetricPath { namespace, name, metric, .. } = &request.path;
        if let Name::One(name) = name {
            let objects = plan::Objects::Named(vec![name.as_str().into()]);
            return Ok(Selected { objects, population: None });
        }
        let selected = self
            .objects
            .select(&entry.kind, namespace.as_deref(), &request.objects)
            .await
            .map_err(ReadError::Objects)?;
        match &selected.objects {
            plan::Objects::Named(names) if names.is_empty() => Err(ReadError::UnknownMetric {
                metric: metric.clone(),
                of: entry.kind.resource.to_string(),
                cause: no_objects(request, &entry.kind),
            }),
            _ => Ok(selected),
        }
    }

    /// Those of the objects that were asked for that exist. A named one need not.
    async fn existing(
        &self,
        request: &MetricRequest,
        entry: &Entry,
        selected: &Selected,
    ) -> Result<Vec<Arc<str>>, ReadError> {
        let plan::Objects::Named(names) = &selected.objects else { return Ok(Vec::new()) };
        if !matches!(request.path.name, Name::One(_)) {
            return Ok(names.clone());
        }
        let namespace = request.path.namespace.as_deref();
        let all = self.objects.select(&entry.kind, namespace, &Selector::default()).await;
        Ok(match all.map_err(ReadError::Objects)?.objects {
            plan::Objects::Named(all) => {
                names.iter().filter(|name| all.binary_search(name).is_ok()).cloned().collect()
            }
            plan::Objects::Any => Vec::new(),
        })
    }

    /// Why there is no value, and the label that this is about, whichever query was sent: one that many readers share returns
    /// other objects' samples anyway.
    async fn why_nothing(
        &self,
        entry: &Entry,
        namespace: Option<&str>,
        readings: &Readings,
        is_fact: bool,
    ) -> (Oddity, Arc<str>) {
        let own = |why| (why, Arc::clone(&entry.label));
        let why = readings.odd.why_nothing();
        if why != Oddity::NoSample {
            return own(why);
        }
        if let Some(others) = readings.others
            && !shareable::depends_on_names(entry.source(), namespace)
        {
            return own(others);
        }
        let renamed = plan::renamed(entry.source()).filter(|_| is_fact);
        let Some(query) = renamed else { return own(why) };
        let read =
            async |vector: &Vector| vector.samples.first()?.label(plan::RENAMED).map(str::to_owned);
        match self.looks.look(entry.source(), namespace.unwrap_or_default(), &query, read).await {
            Some(label) => (Oddity::ExportedLabel, label.into()),
            None => own(why),
        }
    }
}

impl MetricRequest {
    /// What the status page shows of the values.
    fn seen(&self, readings: &[Reading]) -> (Topic, Seen) {
        let MetricPath { namespace, resource, name, metric } = &self.path;
        let objects = match name {
            Name::One(name) => format!("{resource}/{name}"),
            Name::All if self.objects.is_empty() => resource.to_string(),
            Name::All => format!("{resource} {}", self.objects),
        };
        let topic = Topic {
            api: Api::Custom,
            namespace: namespace.clone().unwrap_or_default(),
            objects,
            metric: metric.clone(),
            selector: self.metric.to_string(),
        };
        (topic, Seen::mean(readings.iter().map(|reading| reading.milli)))
    }

    /// A number that is the same when the same reader asks again: an autoscaler always asks for the same objects.
    fn reader(&self) -> u64 {
        match &self.path.name {
            Name::One(name) => reader((&self.path.namespace, name)),
            Name::All => reader((&self.path.namespace, &self.objects)),
        }
    }
}

/// A number for what a reader asks for.
fn reader(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Whether what is not in a result is not there at all.
fn is_new_and_whole(got: &Lookup) -> bool {
    let is_partial =
        matches!(got.kept.value().answer(), Answer::Vector(vector) if vector.is_partial);
    matches!(got.how, How::Fresh) && !is_partial
}

impl Part {
    /// Reads the samples of the result.
    fn read<T>(
        &self,
        rule: RuleId,
        read: impl FnOnce(&Vector, &Index) -> T,
    ) -> Result<T, ReadError> {
        let result = self.got.kept.value();
        match result.answer() {
            Answer::Vector(vector) => {
                Ok(result.with_index(vector, &self.key, |index| read(vector, index)))
            }
            Answer::Scalar(..) => Err(ReadError::no_vector(rule, "scalar")),
            Answer::Other(kind) => Err(ReadError::no_vector(rule, kind)),
        }
    }
}

fn find(catalog: &Catalog, path: &MetricPath) -> Option<Entry> {
    let kind = kind(catalog, path)?;
    catalog.get(&kind.resource, &path.metric)
}

/// The kind that a path names, if its scope is the path's.
fn kind<'c>(catalog: &'c Catalog, path: &MetricPath) -> Option<&'c Arc<Kind>> {
    let GroupResource { group, resource } = &path.resource;
    let kind = catalog.kinds().resolve(group, resource)?;
    (kind.namespaced == path.namespace.is_some()).then_some(kind)
}

/// Why nothing is known yet of rules: the first of their problems, if one was reported.
fn waiting(
    catalog: &Catalog,
    problems: &[Problem],
    is_of_api: impl Fn(&RuleId) -> bool,
) -> Option<ReadError> {
    let rules: Vec<_> = catalog.undiscovered().iter().copied().filter(is_of_api).collect();
    let (named, rest) = rules.split_at(rules.len().min(MAX_NAMED));
    let mut cause = format!("waiting for {}", RuleId::list(named));
    if !rest.is_empty() {
        cause.push_str(&format!(" and {} more", rest.len()));
    }
    let is_of_these = |problem: &&Problem| problem.rule.is_some_and(|rule| rules.contains(&rule));
    if let Some(problem) = problems.iter().find(is_of_these) {
        cause.push_str(&format!(": {}", problem.cause));
    }
    (!rules.is_empty()).then_some(ReadError::NotDiscovered { cause })
}

fn unknown(catalog: &Catalog, problems: &[Problem], path: &MetricPath) -> ReadError {
    if catalog.kinds().is_empty() {
        return ReadError::NotDiscovered { cause: "the cluster's kinds are not known".to_owned() };
    }
    if let Some(error) = waiting(catalog, problems, |rule| matches!(rule, RuleId::Custom(_))) {
        return error;
    }
    let GroupResource { group, resource } = &path.resource;
    let resolved = catalog.kinds().resolve(group, resource);
    let name = resolved.map_or(&path.resource, |kind| &kind.resource);
    let cause = match resolved {
        None => {
            let near = catalog.kinds().near(&path.resource);
            format!("{}{}", catalog.kinds().lacks(&path.resource), did_you_mean(&near))
        }
        Some(kind) if kind.namespaced && path.namespace.is_none() => {
            format!("{name} are read in a namespace: namespaces/NAMESPACE/{name}/…")
        }
        Some(kind) if !kind.namespaced && path.namespace.is_some() => {
            format!("{name} are not in a namespace")
        }
        Some(kind) => catalog.why_unknown(&kind.resource, &path.metric),
    };
    ReadError::UnknownMetric { metric: path.metric.clone(), of: name.to_string(), cause }
}

fn no_objects(request: &MetricRequest, kind: &Kind) -> String {
    let place = match &request.path.namespace {
        Some(namespace) => format!(" in namespace {namespace}"),
        None => String::new(),
    };
    if request.objects.is_empty() {
        format!("there are no {}{place}", kind.resource)
    } else {
        format!("no {}{place} match the label selector `{}`", kind.resource, request.objects)
    }
}
