//! A read of a metric, front to back: which metric, which objects, which query, which values.

mod error;
pub mod external;
mod fallback;
mod look;
mod oddities;
pub mod resource;
mod teams;
mod unknown;

use std::{
    hash::{DefaultHasher, Hash, Hasher as _},
    sync::Arc,
};

pub use error::{ReadError, RuleName};
use look::Looks;
use oddities::{Recorder, Subject};
use unknown::no_objects;

use crate::{
    cache::{Lookup, slot::How},
    core::{
        catalog::{Catalog, Entry},
        explain::{self, Api, Inquiry, command::ExplainBy, facts::Which},
        kinds::{GroupResource, Kind},
        oddity::Oddity,
        overview::history::{Seen, Topic},
        plan::{self, shareable},
        reading::{self, Reading, Readings},
        samples::{Index, Vector},
        selector::{LabelSelector, Selector},
        team_rules::Names,
    },
    discovery,
    fallbacks::Fallbacks,
    metrics::Metrics,
    objects::{Objects, Selected},
    planner::{Asked, Part, Planner},
    prometheus::Answer,
    records::Records,
    rules_file::Rules,
    team_rules::TeamRules,
    wire::path::{MetricPath, Name},
};

/// Everything that a read needs.
pub struct Reads {
    discovery: discovery::Handle,
    objects: Arc<Objects>,
    planner: Arc<Planner>,
    rules: Rules,
    oddities: Recorder,
    looks: Looks,
    records: Arc<Records>,
    fallbacks: Arc<Fallbacks>,
    explain_by: ExplainBy,
    team_rules: TeamRules,
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

/// The values of a read.
#[derive(Debug)]
pub struct Values {
    /// The kind of the described objects.
    pub kind: Arc<Kind>,
    /// The values, sorted by name.
    pub readings: Vec<Reading>,
    /// The metric selector for the response; `None` if there is none.
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
        (records, fallbacks): (Arc<Records>, Arc<Fallbacks>),
        (team_rules, metrics): (TeamRules, &Arc<Metrics>),
    ) -> Self {
        let oddities = Recorder::new(Arc::clone(metrics));
        let looks = Looks::new(Arc::clone(&planner));
        Self {
            discovery,
            objects,
            planner,
            rules,
            oddities,
            looks,
            records,
            fallbacks,
            team_rules,
            explain_by: ExplainBy::default(),
        }
    }

    /// The same, with errors that name the command by which this server is asked for more.
    #[must_use]
    pub fn explained_by(self, explain_by: ExplainBy) -> Self {
        Self { explain_by, ..self }
    }

    /// The catalog as it is now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.discovery.catalog()
    }

    /// Whether a rule serves a metric, as far as that is known.
    pub fn serves(&self, path: &MetricPath) -> bool {
        let of_team = |namespace: &String| {
            let catalog = self.catalog();
            let kind = kind(&catalog, path);
            self.team_rules.is_incomplete()
                || kind.is_some_and(|it| {
                    self.team_rules.serves(namespace, Some(&it.resource), &path.metric)
                })
        };
        path.namespace.as_ref().is_some_and(of_team) || find(&self.catalog(), path).is_some()
    }

    /// The names of the metrics of teams.
    pub fn team_metrics(&self) -> Arc<Names> {
        self.team_rules.names()
    }

    /// Reads a metric of objects of a kind.
    pub async fn read(&self, request: &MetricRequest) -> Result<Values, ReadError> {
        self.read_objects(request).await.map_err(|error| self.told(error))
    }

    async fn read_objects(&self, request: &MetricRequest) -> Result<Values, ReadError> {
        let entry = self.entry(request).await?;
        let values = self.read_by(request, &entry).await;
        self.team_rules.note(&entry.rule.base, || teams::outcome(&values));
        values
    }

    async fn read_by(&self, request: &MetricRequest, entry: &Entry) -> Result<Values, ReadError> {
        let rule = &entry.rule.base;
        let namespace = request.path.namespace.as_deref();
        self.team_rules.admit(rule, namespace.unwrap_or_default())?;
        if !request.metric.is_empty() {
            let object = match &request.path.name {
                Name::One(name) => Some(name.as_str()),
                Name::All => None,
            };
            plan::check_selector(entry.source(), namespace, object, &request.metric)?;
        }
        let selected = self.select(request, entry).await?;
        let asked = Asked {
            source: entry.source(),
            namespace,
            scope: request.path.scope(),
            selected: &selected,
            metric_selector: &request.metric,
            reader: request.reader(),
        };
        let found = match self.planner.find(asked).await {
            Ok(found) => found,
            Err(failure) => {
                let values = self.fall_back(request, entry, &selected, &failure);
                let values = Box::pin(values).await;
                return values.ok_or_else(|| ReadError::of(rule, failure));
            }
        };
        self.fallbacks.succeeded(rule, || request.topic());
        let mut readings = Readings::default();
        for part in &found.parts {
            let objects = part.objects.as_ref().unwrap_or(&selected.objects);
            let place = namespace.unwrap_or_default();
            readings.extend(part.read(rule, |vector, index| {
                self.team_rules.check(rule, place, vector.samples.len())?;
                Ok::<_, ReadError>(match teams::selected(rule, vector, &request.metric) {
                    Some(vector) => {
                        let index = Index::new(&vector, &part.key);
                        reading::read(&vector, &index, place, objects, rule.nan)
                    }
                    None => reading::read(vector, index, place, objects, rule.nan),
                })
            })??);
        }
        // A missing sample is a fact only if the answer is new and complete.
        let knows_all = found.parts.iter().all(|part| is_new_and_whole(&part.got));
        let is_missing = !matches!(request.path.name, Name::One(_))
            || (readings.values.is_empty() && readings.valueless.is_empty());
        if let Some(milli) = rule.on_empty.milli()
            && knows_all
            && is_missing
        {
            let at_ms = found.parts.first().map_or(0, |part| part.got.kept.value().fetched_ms());
            readings.fill(&self.existing(request, entry, &selected).await?, milli, at_ms);
        }
        let nothing = if readings.values.is_empty() {
            Some(self.why_nothing(entry, namespace, &readings, knows_all).await)
        } else {
            None
        };
        let (nothing, label) = nothing.unzip();
        let label = label.as_ref().unwrap_or(&entry.label);
        let subject = Subject::of(entry.source(), label, &request.path.metric);
        self.oddities.record(subject, &readings.odd, nothing);
        if let (Name::One(name), Some(why)) = (&request.path.name, nothing) {
            let of = format!("{} {name}", entry.kind.resource);
            let cause = format!("the query of {} {}", rule.name(), why.explains(label));
            return Err(request.unknown(of, cause));
        }
        Ok(self.values(request, entry, readings))
    }

    fn values(&self, request: &MetricRequest, entry: &Entry, readings: Readings) -> Values {
        self.records.read(|| request.seen(&readings.values));
        Values {
            kind: Arc::clone(&entry.kind),
            readings: readings.values,
            selector: (!request.metric.is_empty()).then(|| request.metric.to_label_selector()),
            window_seconds: entry.rule.base.window_seconds,
        }
    }

    /// The entry of the metric; an unknown metric triggers one more discovery.
    async fn entry(&self, request: &MetricRequest) -> Result<Entry, ReadError> {
        let path = &request.path;
        if let Some(entry) = self.team_entry(path).await {
            return Ok(entry);
        }
        if path.namespace.is_some() {
            self.know_teams()?;
        }
        let name = (&path.resource, &path.metric);
        let entry = self.discovery.find(path.scope(), name, |catalog| find(catalog, path));
        if let Some(entry) = entry.await {
            return Ok(entry);
        }
        let namespace = path.namespace.as_deref();
        let own = namespace.and_then(|namespace| self.unknown_of_team(namespace, &path.metric));
        Err(match own {
            Some(own) => own,
            None => self.unknown(request).await,
        })
    }

    async fn select(&self, request: &MetricRequest, entry: &Entry) -> Result<Selected, ReadError> {
        let MetricPath { namespace, name, .. } = &request.path;
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
            plan::Objects::Named(names) if names.is_empty() => {
                let cause = no_objects(request, &entry.kind);
                Err(request.unknown(entry.kind.resource.to_string(), cause))
            }
            _ => Ok(selected),
        }
    }

    /// The requested objects that exist. A named one may not.
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

    /// Why there is no value, and the label concerned, whether the query was shared or not: a shared one returns samples of other
    /// objects anyway.
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
        let place = namespace.unwrap_or_default();
        match self.looks.renamed(entry.source(), place, &query).await {
            Some(label) => (Oddity::ExportedLabel, label),
            None => own(why),
        }
    }
}

impl MetricRequest {
    /// What the status page shows of the values.
    fn seen(&self, readings: &[Reading]) -> (Topic, Seen) {
        (self.topic(), Seen::mean(readings.iter().map(|reading| reading.milli)))
    }

    /// What is read.
    fn topic(&self) -> Topic {
        let MetricPath { namespace, resource, name, metric } = &self.path;
        let objects = match name {
            Name::One(name) => format!("{resource}/{name}"),
            Name::All if self.objects.is_empty() => resource.to_string(),
            Name::All => format!("{resource} {}", self.objects),
        };
        Topic {
            api: Api::Custom,
            namespace: namespace.clone().unwrap_or_default(),
            objects,
            metric: metric.clone(),
            selector: self.metric.to_string(),
        }
    }

    /// Identifies the reader: an autoscaler always reads the same objects.
    fn reader(&self) -> u64 {
        match &self.path.name {
            Name::One(name) => reader((&self.path.namespace, name)),
            Name::All => reader((&self.path.namespace, &self.objects)),
        }
    }

    /// The error of a metric that is not there.
    fn unknown(&self, of: String, cause: String) -> ReadError {
        let (metric, inquiry) = (self.path.metric.clone(), Box::new(self.inquiry()));
        ReadError::UnknownMetric { metric, of, cause, inquiry, by: ExplainBy::default() }
    }

    /// The question that `loadline explain` answers about this read.
    fn inquiry(&self) -> Inquiry {
        let which = match &self.path.name {
            Name::One(name) => Which::Named(name.clone()),
            Name::All => Which::Selected(self.objects.clone()),
        };
        let scope = self.path.scope();
        Inquiry {
            metric: self.path.metric.clone(),
            subject: explain::Subject::Objects { resource: self.path.resource.to_string(), which },
            namespace: (!scope.is_empty()).then(|| scope.to_owned()),
            selector: self.metric.clone(),
            is_at_zero: false,
        }
    }
}

/// A hash of what a reader reads.
fn reader(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Whether a sample that is missing from the result does not exist.
fn is_new_and_whole(got: &Lookup) -> bool {
    let is_partial =
        matches!(got.kept.value().answer(), Answer::Vector(vector) if vector.is_partial);
    matches!(got.how, How::Fresh) && !is_partial
}

impl Part {
    /// Reads the samples of the result.
    fn read<T>(
        &self,
        rule: impl Into<RuleName>,
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
