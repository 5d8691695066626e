//! A read of a metric, front to back: which metric, which objects, which query, which values.

pub mod external;
mod look;
mod oddities;
pub mod resource;

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use look::Looks;
use oddities::{Recorder, Subject};

use crate::{
    cache::{FetchError, Lookup, slot::How},
    core::{
        catalog::{Catalog, Entry},
        kinds::{GroupResource, Kind},
        nearest::did_you_mean,
        oddity::Oddity,
        plan::{self, PlanError, shareable},
        reading::{self, Reading, Readings},
        rules::OnEmpty,
        samples::Vector,
        selector::{LabelSelector, Selector},
    },
    discovery, kubernetes,
    metrics::Metrics,
    objects::{Objects, Selected},
    planner::{Asked, Failure, Part, Planner},
    prometheus::{Answer, PublicError},
    rules_file::Rules,
    wire::path::{MetricPath, Name},
};

/// How many rules an error names.
const MAX_NAMED: usize = 5;

/// Everything that a read needs.
pub struct Reads {
    discovery: discovery::Handle,
    objects: Objects,
    planner: Arc<Planner>,
    rules: Rules,
    oddities: Recorder,
    looks: Looks,
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

/// Why there are no values. The text of a variant is for people who read metrics; sources are for the log.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The kind is not known, or there is no such metric for it.
    #[error("the server could not find the metric {metric} for {resource}{}", because(.cause))]
    UnknownMetric {
        /// The metric.
        metric: String,
        /// The resource, in the plural where it is known.
        resource: String,
        /// What an administrator can look at.
        cause: String,
    },
    /// The metric exists, and the named object has no sample.
    #[error("the server could not find the metric {metric} for {resource} {name}{}", because(.cause))]
    NoSample {
        /// The metric.
        metric: String,
        /// The resource.
        resource: String,
        /// The object.
        name: String,
        /// What an administrator can look at.
        cause: String,
    },
    /// Nobody knows yet which metrics there are.
    #[error("unable to fetch metrics: not discovered yet: {cause}")]
    NotDiscovered {
        /// The rules that no discovery has succeeded for.
        cause: String,
    },
    /// The selector cannot be put to Prometheus.
    #[error("{0}")]
    BadSelector(String),
    /// The rule cannot answer the question.
    #[error("unable to fetch metrics: {0}")]
    Rule(PlanError),
    /// Nobody can be asked for the rule.
    #[error("unable to fetch metrics: {rule}: {cause}")]
    BackendHandle {
        /// The rule.
        rule: String,
        /// Why not.
        cause: String,
    },
    /// Prometheus did not answer as it should.
    #[error("unable to fetch metrics: {rule}: {cause}")]
    Fetch {
        /// The rule.
        rule: String,
        /// What may be told.
        cause: PublicError,
        /// What happened.
        source: FetchError,
    },
    /// The query's result is no vector.
    #[error("unable to fetch metrics: {rule}: the query gives a {kind}, not a vector")]
    NotAVector {
        /// The rule.
        rule: String,
        /// The result's type.
        kind: String,
    },
    /// There are no `resourceRules`.
    #[error("the server could not find the requested resource")]
    NoUsage,
    /// The rules do not say how usage is queried.
    #[error("unable to fetch metrics: {0}")]
    NoUsageRule(String),
    /// A pod or node has no usage.
    #[error("{resource}.metrics.k8s.io \"{name}\" not found: {cause}")]
    UnknownUsage {
        /// The resource, as metrics-server says it.
        resource: &'static str,
        /// The object, behind its namespace and a slash if it is in one.
        name: String,
        /// What an administrator can look at.
        cause: String,
    },
    /// Prometheus did not give usage.
    #[error("unable to fetch metrics: {rule}: {cause}")]
    UsageUnavailable {
        /// The rule.
        rule: String,
        /// What may be told.
        cause: PublicError,
        /// What happened.
        source: FetchError,
    },
    /// The API server did not list the objects.
    #[error("unable to list matching resources")]
    Objects(#[source] kubernetes::Error),
}

fn because(cause: &str) -> String {
    if cause.is_empty() { String::new() } else { format!(": {cause}") }
}

impl Reads {
    /// Puts the parts together.
    pub fn new(
        discovery: discovery::Handle,
        objects: Objects,
        planner: Arc<Planner>,
        rules: Rules,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let oddities = Recorder::new(Arc::clone(metrics));
        let looks = Looks::new(Arc::clone(&planner));
        Self { discovery, objects, planner, rules, oddities, looks }
    }

    /// The catalog as it is now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.discovery.catalog()
    }

    /// Answers a question about objects of a kind.
    pub async fn read(&self, question: &MetricRequest) -> Result<Values, ReadError> {
        let entry = self.entry(&question.path).await?;
        let namespace = question.path.namespace.as_deref();
        if !question.metric.is_empty() {
            let object = match &question.path.name {
                Name::One(name) => Some(name.as_str()),
                Name::All => None,
            };
            plan::check_selector(entry.source(), namespace, object, &question.metric)
                .map_err(refused)?;
        }
        let selected = self.select(question, &entry).await?;
        let asked = Asked {
            source: entry.source(),
            namespace,
            scope: question.path.scope(),
            selected: &selected,
            metric_selector: &question.metric,
            reader: question.reader(),
        };
        let found =
            self.planner.find(asked).await.map_err(|failure| failed(&entry.rule.id, failure))?;
        let mut readings = Readings::default();
        for part in &found.parts {
            let vector = part.vector(&entry.rule.id)?;
            let objects = part.objects.as_ref().unwrap_or(&selected.objects);
            let more = part.got.kept.value().with_index(vector, &part.key, |index| {
                reading::read(vector, index, namespace.unwrap_or_default(), objects, entry.rule.nan)
            });
            readings.extend(more);
        }
        // Nothing is only then a fact when the answer is new and whole.
        let knows_all = found.parts.iter().all(|part| is_new_and_whole(&part.got));
        let is_missing = !matches!(question.path.name, Name::One(_))
            || (readings.values.is_empty() && readings.valueless.is_empty());
        if entry.rule.on_empty == OnEmpty::Zero && knows_all && is_missing {
            let at_ms = found.parts.first().map_or(0, |part| part.got.kept.value().fetched_ms());
            readings.fill(&self.existing(question, &entry, &selected).await?, at_ms);
        }
        let nothing = if readings.values.is_empty() {
            Some(self.why_nothing(&entry, namespace, &readings, knows_all).await)
        } else {
            None
        };
        let (nothing, label) = nothing.unzip();
        let subject = Subject::of(entry.source(), &question.path.metric);
        let subject = label.as_deref().map_or(subject, |label| subject.about(label));
        self.oddities.record(subject, &readings.odd, nothing);
        if let (Name::One(name), Some(why)) = (&question.path.name, nothing) {
            let label = label.as_deref().unwrap_or(&entry.label);
            return Err(ReadError::NoSample {
                metric: question.path.metric.clone(),
                resource: entry.kind.resource.to_string(),
                name: name.clone(),
                cause: format!("the query of {} {}", entry.rule.id, why.explains(label)),
            });
        }
        Ok(Values {
            kind: Arc::clone(&entry.kind),
            readings: readings.values,
            selector: (!question.metric.is_empty()).then(|| question.metric.to_label_selector()),
            window_seconds: entry.rule.window_seconds,
        })
    }

    /// How to read the metric; a metric that is not known is looked for once more.
    async fn entry(&self, path: &MetricPath) -> Result<Entry, ReadError> {
        let name = (&path.resource, &path.metric);
        let entry = self.discovery.find(path.scope(), name, |catalog| find(catalog, path));
        entry.await.ok_or_else(|| unknown(&self.catalog(), &self.discovery.problems(), path))
    }

    async fn select(&self, question: &MetricRequest, entry: &Entry) -> Result<Selected, ReadError> {
        let MetricPath { namespace, name, metric, .. } = &question.path;
        if let Name::One(name) = name {
            let objects = plan::Objects::Named(vec![name.as_str().into()]);
            return Ok(Selected { objects, population: None });
        }
        let selected = self
            .objects
            .select(&entry.kind, namespace.as_deref(), &question.objects)
            .await
            .map_err(ReadError::Objects)?;
        match &selected.objects {
            plan::Objects::Named(names) if names.is_empty() => Err(ReadError::UnknownMetric {
                metric: metric.clone(),
                resource: entry.kind.resource.to_string(),
                cause: no_objects(question, &entry.kind),
            }),
            _ => Ok(selected),
        }
    }

    /// Those of the objects that were asked for that exist. A named one need not.
    async fn existing(
        &self,
        question: &MetricRequest,
        entry: &Entry,
        selected: &Selected,
    ) -> Result<Vec<Arc<str>>, ReadError> {
        let plan::Objects::Named(names) = &selected.objects else { return Ok(Vec::new()) };
        if !matches!(question.path.name, Name::One(_)) {
            return Ok(names.clone());
        }
        let namespace = question.path.namespace.as_deref();
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
    /// A number that is the same when the same reader asks again: an autoscaler always asks for the same objects.
    fn reader(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        match &self.path.name {
            Name::One(name) => name.hash(&mut hasher),
            Name::All => self.objects.hash(&mut hasher),
        }
        self.path.namespace.hash(&mut hasher);
        hasher.finish()
    }
}

/// Whether what is not in a result is not there at all.
fn is_new_and_whole(got: &Lookup) -> bool {
    let is_partial =
        matches!(got.kept.value().answer(), Answer::Vector(vector) if vector.is_partial);
    matches!(got.how, How::Fresh) && !is_partial
}

impl Part {
    fn vector(&self, rule: &str) -> Result<&Vector, ReadError> {
        match self.got.kept.value().answer() {
            Answer::Vector(vector) => Ok(vector),
            Answer::Scalar(..) => Err(not_a_vector(rule, "scalar")),
            Answer::Other(kind) => Err(not_a_vector(rule, kind)),
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

/// Why nothing is known yet of rules: the first of their problems, if one was told of.
fn waiting(rules: &[String], problems: &[String]) -> ReadError {
    let (named, rest) = rules.split_at(rules.len().min(MAX_NAMED));
    let mut cause = format!("waiting for {}", named.join(", "));
    if !rest.is_empty() {
        cause.push_str(&format!(" and {} more", rest.len()));
    }
    let why = problems.iter().find_map(|problem| {
        let (rule, why) = problem.split_once(": ")?;
        rules.iter().any(|waiting| waiting == rule).then_some(why)
    });
    if let Some(why) = why {
        cause.push_str(&format!(": {why}"));
    }
    ReadError::NotDiscovered { cause }
}

fn unknown(catalog: &Catalog, problems: &[String], path: &MetricPath) -> ReadError {
    if catalog.kinds().is_empty() {
        return ReadError::NotDiscovered { cause: "the cluster's kinds are not known".to_owned() };
    }
    if !catalog.undiscovered().is_empty() {
        return waiting(catalog.undiscovered(), problems);
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
    ReadError::UnknownMetric { metric: path.metric.clone(), resource: name.to_string(), cause }
}

fn no_objects(question: &MetricRequest, kind: &Kind) -> String {
    let place = match &question.path.namespace {
        Some(namespace) => format!(" in namespace {namespace}"),
        None => String::new(),
    };
    if question.objects.is_empty() {
        format!("there are no {}{place}", kind.resource)
    } else {
        format!("no {}{place} match the label selector `{}`", kind.resource, question.objects)
    }
}

fn refused(error: PlanError) -> ReadError {
    match error {
        PlanError::Selector(problem) => ReadError::BadSelector(problem),
        error @ (PlanError::NoNamespaceLabel { .. } | PlanError::Template { .. }) => {
            ReadError::Rule(error)
        }
    }
}

fn failed(rule: &str, failure: Failure) -> ReadError {
    match failure {
        Failure::Plan(error) => refused(error),
        Failure::BackendHandle(error) => {
            ReadError::BackendHandle { rule: rule.to_owned(), cause: error.to_string() }
        }
        Failure::Fetch(error) => fetch_failed(rule, error),
    }
}

fn fetch_failed(rule: &str, source: FetchError) -> ReadError {
    ReadError::Fetch { rule: rule.to_owned(), cause: public(&source), source }
}

/// What may be told of a query that failed.
fn public(error: &FetchError) -> PublicError {
    match error {
        FetchError::Failed(error) => error.public(),
        FetchError::Abandoned(_) => PublicError::Abandoned,
    }
}

fn not_a_vector(rule: &str, kind: &str) -> ReadError {
    ReadError::NotAVector { rule: rule.to_owned(), kind: kind.to_owned() }
}
