//! What the rules serve now.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use futures::{StreamExt as _, stream};

use crate::{
    core::{
        catalog::{Catalog, Entry, external::ExternalEntry},
        excerpt::{SAID, excerpt},
        explain::{Cause, facts::Failure},
        external,
        installation::{
            Finding, Subject,
            rules::{self, Example, RuleFacts, Series, Serves, Value},
        },
        lint,
        oddity::Oddity,
        plan::{self, Key, Source},
        quantity,
        resource::UsageRules,
        rules::{MetricRule, QueryOptions, RuleBase, RuleEntry, RuleId},
        samples::{Sample, Vector},
    },
    discovery::LOOKBACK,
    explain::{Deadline, Explainer, not_a_vector},
    prometheus::{Answer, BackendHandle, Range},
};

/// The most rules that are looked at.
const MOST_RULES: usize = 500;

/// Of how many metrics of a rule the value is asked.
const MOST_EXAMPLES: usize = 3;

/// How many rules are looked at at the same time.
const AT_ONCE: usize = 4;

/// How far back series are looked for that have ended.
const DAY: Duration = Duration::from_secs(86_400);

/// How many samples of a metric are asked for: the first one may be none that can be used.
const SAMPLES: usize = 5;

/// Asks each rule for its metrics, and for the values of some.
pub(super) async fn look(explainer: &Explainer, deadline: Deadline) -> Vec<Finding> {
    let current = explainer.rules.current();
    let catalog = explainer.discovery.catalog();
    let look = Look {
        explainer,
        deadline,
        given: given(&catalog),
        problems: problems(explainer),
        catalog: &catalog,
    };
    let all: Vec<_> = current.of_metrics().collect();
    let looks = all.iter().take(MOST_RULES).map(|rule| look.rule(rule));
    let facts: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    let mut findings: Vec<_> = facts.into_iter().flat_map(rules::judge).collect();
    let left = all.len().saturating_sub(MOST_RULES);
    if left > 0 {
        let message = format!("{left} more were not looked at");
        findings.push(Finding::incomplete(Subject::Rule(None), message, ""));
    }
    if let Some(usage) = explainer.rules.usage() {
        findings.extend(look.usage(&usage).await.into_iter().flat_map(rules::judge));
    }
    findings
}

/// Why rules could not be discovered.
fn problems(explainer: &Explainer) -> HashMap<Option<RuleId>, String> {
    let problems = explainer.discovery.problems();
    problems.iter().map(|problem| (problem.rule.clone(), problem.cause.clone())).collect()
}

/// The metrics of a rule, by name.
type Given = BTreeMap<String, Metric>;

enum Metric {
    Custom(Box<Entry>),
    External(ExternalEntry),
}

/// What each rule serves. A metric of several resources is there once, and preferably not that of namespaces, which most rules
/// have besides.
fn given(catalog: &Catalog) -> HashMap<RuleId, Given> {
    let mut all: HashMap<RuleId, Given> = HashMap::new();
    for listed in catalog.list() {
        let Some(entry) = catalog.get(&listed.kind.resource, listed.metric) else { continue };
        let given = all.entry(entry.rule.base.id.clone()).or_default();
        if entry.kind.namespaced || !given.contains_key(listed.metric) {
            given.insert(listed.metric.to_owned(), Metric::Custom(Box::new(entry)));
        }
    }
    for name in catalog.external().names() {
        let Some(entry) = catalog.external().get(name) else { continue };
        let given = all.entry(entry.rule.base.id.clone()).or_default();
        given.insert(name.to_owned(), Metric::External(entry));
    }
    all
}

struct Look<'a> {
    explainer: &'a Explainer,
    deadline: Deadline,
    given: HashMap<RuleId, Given>,
    problems: HashMap<Option<RuleId>, String>,
    catalog: &'a Catalog,
}

impl Look<'_> {
    async fn rule(&self, rule: &MetricRule) -> RuleFacts {
        let base = rule.base();
        let serves = if self.catalog.undiscovered().contains(&base.id) {
            let why =
                self.problems.get(&Some(base.id.clone())).or_else(|| self.problems.get(&None));
            let why = why.map_or("it has not been discovered", String::as_str);
            Serves::Unknown(why.to_owned())
        } else if let Some(given) = self.given.get(&base.id) {
            let mut examples = Vec::new();
            for (name, metric) in given.iter().take(MOST_EXAMPLES) {
                examples.push(self.example(name, metric).await);
            }
            Serves::Metrics { count: given.len(), examples }
        } else {
            Serves::None(self.series(base).await)
        };
        RuleFacts { id: base.id.clone(), place: base.place, serves }
    }

    /// The backend of a rule, asked about no namespace.
    fn backend(&self, options: &QueryOptions) -> Result<BackendHandle, Failure> {
        let backend = self.explainer.backends.discovery_handle(options);
        backend.map_err(|error| self.explainer.unusable(&error))
    }

    async fn example(&self, name: &str, metric: &Metric) -> Example {
        match metric {
            Metric::Custom(entry) => {
                let metric = format!("{}/{name}", entry.kind.resource);
                Example { metric, value: self.value(entry.source()).await }
            }
            Metric::External(entry) => {
                let value = self.external(entry).await;
                Example { metric: name.to_owned(), value }
            }
        }
    }

    /// What the query for all objects returns.
    async fn value(&self, source: Source<'_>) -> Result<Value, Failure> {
        let options = source.options;
        let plan = plan::everything(source)
            .map_err(|error| Failure { cause: Cause::BrokenRule, text: error.to_string() })?;
        let query = format!("topk({SAMPLES},{})", plan.query);
        let answer = self.deadline.ask(self.backend(options)?.query(&query)).await;
        match answer.map_err(|failure| quoting(failure, &query))? {
            Answer::Vector(vector) => Ok(or_why(of_objects(&vector, &plan.key), &plan.query)),
            Answer::Scalar(..) => Err(not_a_vector("scalar")),
            Answer::Other(kind) => Err(not_a_vector(kind)),
        }
    }

    async fn external(&self, entry: &ExternalEntry) -> Result<Value, Failure> {
        let query = external::query_everywhere(entry)
            .map_err(|error| Failure { cause: Cause::BrokenRule, text: error.to_string() })?;
        let backend = self.backend(&entry.rule.base.options)?;
        let answer = self.deadline.ask(backend.query(&query)).await;
        match answer.map_err(|failure| quoting(failure, &query))? {
            Answer::Vector(vector) => {
                Ok(or_why(first(&vector, |sample| Some(labels(sample))), &query))
            }
            Answer::Scalar(_, value) => {
                let milli = quantity::milli(value);
                Ok(milli.map_or(Value::NotFinite(not_finite(value)), |milli| {
                    Value::Of(String::new(), milli)
                }))
            }
            Answer::Other(kind) => Err(not_a_vector(kind)),
        }
    }

    /// The series of a rule that serves no metric.
    async fn series(&self, rule: &RuleBase) -> Result<Series, Failure> {
        let backend = self.backend(&rule.options)?;
        let now = jiff::Timestamp::now().as_second();
        let names = async |back: Duration| {
            let back = i64::try_from(back.as_secs()).unwrap_or(i64::MAX);
            let range = Range { start: now.saturating_sub(back), end: now.saturating_add(1) };
            let names =
                self.deadline.ask(backend.metric_names(rule.selector.text(), range)).await?;
            Ok::<_, Failure>(names.data)
        };
        let recent = names(LOOKBACK).await?;
        let Some(first) = recent.iter().next() else {
            let day = names(DAY).await?;
            return Ok(if day.iter().next().is_some() { Series::Ended } else { Series::Absent });
        };
        let metric = recent.iter().find_map(|series| rule.namer.metric_name(series));
        let Some(metric) = metric else { return Ok(Series::Unnamed(excerpt(first, SAID))) };
        let is_external = matches!(rule.id.entry, RuleEntry::External(_));
        let is_taken = if is_external {
            self.catalog.external().get(&metric).is_some()
        } else {
            !self.catalog.kinds_with(&metric).is_empty()
        };
        let (metric, series) = (excerpt(&metric, SAID), excerpt(first, SAID));
        Ok(if is_taken { Series::Taken(metric) } else { Series::Unlabelled(series) })
    }

    /// The usage of pods and nodes.
    async fn usage(&self, usage: &UsageRules) -> Vec<RuleFacts> {
        let mut facts = Vec::new();
        for (what, of) in [("pods", &usage.pods), ("nodes", &usage.nodes)] {
            // Why there is none is a finding of the file.
            let Ok(pair) = &of.queries else { continue };
            for (name, source) in [("cpu", &pair.cpu), ("memory", &pair.memory)] {
                let source = source.source();
                let metric = format!("{what}/{name}");
                let examples = vec![Example { metric, value: self.value(source).await }];
                let serves = Serves::Metrics { count: 1, examples };
                facts.push(RuleFacts { id: source.rule.clone(), place: source.place, serves });
            }
        }
        facts
    }
}

/// The first value of an object.
fn of_objects(vector: &Vector, key: &Key) -> Value {
    first(vector, |sample| {
        let object = sample.label(&key.name).filter(|object| !object.is_empty())?;
        let namespace = key.namespace.as_ref().and_then(|label| sample.label(label));
        Some(namespace.map_or_else(|| object.to_owned(), |it| format!("{object} in {it}")))
    })
}

/// A failure with the query that was sent, if that is to blame: the advice is to try it.
fn quoting(failure: Failure, query: &str) -> Failure {
    let Failure { cause, text } = failure;
    match cause {
        Cause::QueryError => Failure { cause, text: format!("{text}; the query is `{query}`") },
        _ => Failure { cause, text },
    }
}

/// A value, or why the query returns none if its text says so.
fn or_why(value: Value, query: &str) -> Value {
    if value == Value::Nothing && lint::has_buckets_without_le(query) {
        return Value::WithoutBuckets;
    }
    value
}

/// The first value that has an owner.
fn first(vector: &Vector, owner: impl Fn(Sample<'_>) -> Option<String>) -> Value {
    // `topk` leaves native histograms out.
    let has_histograms = vector.lacks_histograms
        || vector.unusable.iter().any(|(_, oddity)| oddity == Oddity::NativeHistogram);
    let mut found = Value::Nothing;
    for sample in vector.samples.iter() {
        match (owner(sample), quantity::milli(sample.value)) {
            (Some(owner), Some(milli)) => {
                let owner = excerpt(&owner, SAID);
                return if has_histograms {
                    Value::AmongHistograms(owner, milli)
                } else {
                    Value::Of(owner, milli)
                };
            }
            (Some(_), None) => found = Value::NotFinite(not_finite(sample.value)),
            (None, _) if found == Value::Nothing => {
                found = Value::Unlabelled(sample.labels.iter().next().is_none());
            }
            (None, _) => {}
        }
    }
    if found == Value::Nothing && has_histograms {
        found = Value::NotFinite(Cause::HistogramSample);
    }
    found
}

fn not_finite(value: f64) -> Cause {
    if value.is_nan() { Cause::Nan } else { Cause::Infinite }
}

/// The labels of an external value, as a selector has them.
fn labels(sample: Sample<'_>) -> String {
    let labels = sample.labels.iter().filter(|(name, _)| *name != "__name__");
    labels.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}
