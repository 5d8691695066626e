//! The rules file: what prometheus-adapter reads, strictly, with every problem and its place; and what loadline adds.
//!
//! Reading has two stages. A file that is not YAML, or that has unknown or malformed keys, is refused whole ([`load`]
//! fails with all problems). A rule that is well written but does not compile (a template, a regular expression) is left
//! out and reported, and the others go on, unless the caller is strict about it.

mod backend;
mod content;
mod credentials;
mod external;
mod fields;
mod file;
mod form;
mod keys;
mod mapping;
mod naming;
mod options;
mod resource;
mod schema;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

pub(crate) use backend::http_url;
pub use backend::{Backend, Verb};
pub use content::Content;
pub use credentials::{
    CredentialPolicy, DEFAULT_FOLDER, HostPattern, HostPatternError, Refusal, is_loopback,
};
pub(crate) use form::{excerpt, join};
pub use mapping::{Mapping, ResolvedMapping};
pub use naming::{Namer, Unnamed};
pub use options::{Header, HeaderError, QueryOptions};
pub use resource::{ResourceRule, ResourceRules};
pub use schema::schema;

use super::{
    embedded, go_regex, nesting, order,
    series::SeriesSelector,
    template::{QueryArguments, QueryTemplate},
    window,
    yaml::{Node, Place, YamlError},
};

/// A compiled rules file.
#[derive(Debug, Default)]
pub struct RuleSet {
    /// `rules`: custom.metrics.k8s.io, in the order of the file.
    pub custom: Vec<Arc<Rule>>,
    /// `externalRules`: external.metrics.k8s.io, in the order of the file.
    pub external: Vec<Arc<Rule>>,
    /// `resourceRules`: metrics.k8s.io.
    pub resource: Option<ResourceRules>,
    /// `backends`: servers that rules may name, in the order of the file, whether or not one does.
    pub backends: Vec<Arc<Backend>>,
    /// Rules that were left out because they do not compile.
    pub broken: Vec<Problem>,
    /// Whether the file says that there are no rules, as `rules: []` does. One that is empty, or has comments only, may have been
    /// truncated.
    pub is_empty_on_purpose: bool,
}

impl RuleSet {
    /// How many rules there are, of all APIs.
    pub fn count(&self) -> usize {
        let usage = self.resource.iter().flat_map(|usage| [&usage.cpu, &usage.memory]);
        self.custom.len() + self.external.len() + usage.flatten().count()
    }
}

/// A rule that compiled.
#[derive(Debug)]
pub struct Rule {
    /// What the rule is called in messages: `rules[2]`, its position in the file.
    pub id: String,
    /// Where the rule stands in its file.
    pub place: Place,
    /// What the file says of the rule, and of the backend that it names. A rule of another version of the file is the same
    /// rule if its content is equal; `id` and `place` may then differ. Two rules of one file may be equal, too.
    pub content: Content,
    /// Which series the rule is about.
    pub selector: SeriesSelector,
    /// Which series names are taken and what they are called in the API.
    pub namer: Namer,
    /// Labels to resources and back.
    pub mapping: Mapping,
    /// The query's template.
    pub query: QueryTemplate,
    /// Whether the query puts its samples in an order, by `sort` or one of its relatives outermost.
    pub is_sorted: bool,
    /// The range that the rule's queries look over in seconds: `window`, or read from the query where it is known.
    pub window_seconds: Option<i64>,
    /// `static: true`: the one metric of the rule, which needs no discovery. The labels that name objects are all those of
    /// `mapping`, which has no template.
    pub static_metric: Option<StaticMetric>,
    /// What becomes of NaN: of custom metrics 0 by default, of external metrics no value.
    pub nan: Nan,
    /// What becomes of objects without a sample; of external metrics, of answers without one.
    pub on_empty: OnEmpty,
    /// External metrics: what becomes of several samples.
    pub aggregate: Aggregate,
    /// How the queries are sent, and how long their answers are used.
    pub options: QueryOptions,
}

impl Rule {
    /// The age of the oldest sample that the rule's queries read, where that is known. Without a range they take the last
    /// sample of `lookback`.
    pub fn oldest_sample(&self, lookback: Duration) -> Option<Duration> {
        window::oldest(&specimen(&self.query)?, lookback)
    }
}

/// The metric of a rule that says `static: true`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StaticMetric {
    /// The name of the series.
    pub series: Arc<str>,
    /// The metric's name in the API.
    pub metric: Arc<str>,
}

/// What becomes of NaN.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Nan {
    /// It is 0.
    Zero,
    /// It is no value.
    Drop,
}

/// What becomes of objects that exist but have no sample, and of external metrics that have none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnEmpty {
    /// They are left out of the answer.
    #[default]
    Omit,
    /// Their value is 0, if the answer is new and whole.
    ///
    /// This lifts the protection that the `HorizontalPodAutoscaler` gives to pods without a sample, which it takes for
    /// fully loaded when it would scale in: a pod whose scrape failed now looks like an idle one.
    Zero,
}

/// What becomes of several samples of an external metric.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Aggregate {
    /// Each is a value of its own; an autoscaler adds them up.
    #[default]
    None,
    /// One value: their sum.
    Sum,
    /// One value: the largest.
    Max,
    /// One value: their arithmetic mean.
    Avg,
}

/// Something wrong in a rules file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where in the file, if that is known.
    pub place: Option<Place>,
    /// The key's path: `rules[2].name.as`; empty for the file itself.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
}

/// The most characters of a message: some repeat a name of the file, whatever its length.
const LONGEST_MESSAGE: usize = 600;

impl Problem {
    /// A problem, whose message is cut where it is too long to be read.
    pub fn new(place: Option<Place>, path: String, mut message: String) -> Self {
        if let Some((end, _)) = message.char_indices().nth(LONGEST_MESSAGE) {
            message.truncate(end);
            message.push('…');
        }
        Self { place, path, message }
    }
}

impl From<YamlError> for Problem {
    fn from(error: YamlError) -> Self {
        Self::new(error.place, String::new(), error.to_string())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Reads and compiles a rules file, or the one that a text carries (see [`embedded`]). Fails with every problem of the file's
/// form; rules that do not compile are left out and stand in [`RuleSet::broken`].
pub fn load(text: &str) -> Result<RuleSet, Vec<Problem>> {
    let carried = embedded::one(text)
        .map_err(|errors| errors.into_iter().map(Problem::from).collect::<Vec<_>>())?;
    compile(&carried.rules)
}

/// [`load`] of a text that has been read as YAML.
pub fn compile(root: &Node) -> Result<RuleSet, Vec<Problem>> {
    let file = file::read(root)?;
    let backends = backend::compile_all(&file.backends)?;
    let mut compiler =
        Compiler { backends: &backends, patterns: go_regex::Budget::default(), broken: Vec::new() };
    let custom = compiler.compile_all(&file.rules);
    let external = compiler.compile_all(&file.external_rules);
    let mut broken = compiler.broken;
    let resource =
        file.resource_rules.map(|rules| resource::compile(&rules, &backends, &mut broken));
    let mut rules =
        RuleSet { custom, external, resource, backends, broken, is_empty_on_purpose: false };
    rules.is_empty_on_purpose = file.names_rules && rules.count() == 0 && rules.broken.is_empty();
    Ok(rules)
}

/// What the rules of a file have in common while they are compiled.
struct Compiler<'f> {
    backends: &'f [Arc<Backend>],
    patterns: go_regex::Budget,
    broken: Vec<Problem>,
}

impl Compiler<'_> {
    fn compile_all(&mut self, written: &[file::Rule]) -> Vec<Arc<Rule>> {
        written.iter().filter_map(|rule| self.compile(rule).map(Arc::new)).collect()
    }

    /// Compiles one rule, reporting everything that is wrong with it.
    fn compile(&mut self, rule: &file::Rule) -> Option<Rule> {
        let Self { backends, patterns, broken } = self;
        let problems_before = broken.len();
        let mut problem = |place: Place, key: &str, message: String| {
            let path = format!("{}.{key}", rule.id);
            broken.push(Problem::new(Some(place), path, message));
        };
        let selector = selector(&rule.series_query, &mut problem);
        let namer = Namer::compile(rule, patterns, &mut problem);
        let mapping = Mapping::compile(&rule.resources, &mut problem);
        let query = if rule.metrics_query.value.is_empty() {
            let message = "a query template is required".to_owned();
            problem(rule.metrics_query.place, "metricsQuery", message);
            None
        } else {
            query_template("metricsQuery", &rule.metrics_query, &mut problem)
        };
        let options = options::compile(&rule.options, backends, &mut problem);
        if rule.external
            && let Some(mapping) = &mapping
            && let Err(message) = external::names_its_namespace(mapping)
        {
            problem(rule.place, "resources", message.to_owned());
        }
        let static_metric = if rule.is_static.value {
            static_metric(rule, selector.as_ref(), namer.as_ref(), mapping.as_ref(), &mut problem)
        } else {
            None
        };
        if broken.len() > problems_before {
            return None;
        }
        let query = query?;
        let own_window = rule.window.and_then(|window| i64::try_from(window.as_secs()).ok());
        Some(Rule {
            window_seconds: own_window.or_else(|| window_seconds(&query)),
            id: rule.id.clone(),
            place: rule.place,
            content: options
                .backend
                .as_ref()
                .map_or(rule.content, |backend| rule.content.with(backend.content)),
            selector: selector?,
            namer: namer?,
            mapping: mapping?,
            is_sorted: is_sorted(&query),
            query,
            static_metric,
            nan: rule.nan.unwrap_or(if rule.external { Nan::Drop } else { Nan::Zero }),
            on_empty: rule.on_empty,
            aggregate: rule.aggregate,
            options,
        })
    }
}

/// Selectors are written by people; longer than this, in bytes, one was not.
const MAX_SELECTOR: usize = 64 << 10;

fn selector(
    written: &fields::Text,
    problem: &mut impl FnMut(Place, &str, String),
) -> Option<SeriesSelector> {
    let message = if written.value.trim().is_empty() {
        "a series selector is required"
    } else if written.value.len() > MAX_SELECTOR || !nesting::is_safe(&written.value) {
        "too long for a series selector"
    } else {
        return Some(SeriesSelector::new(&written.value));
    };
    problem(written.place, "seriesQuery", message.to_owned());
    None
}

fn query_template(
    key: &str,
    written: &fields::Text,
    problem: &mut impl FnMut(Place, &str, String),
) -> Option<QueryTemplate> {
    QueryTemplate::compile(&written.value)
        .map_err(|error| problem(written.place, key, error.to_string()))
        .ok()
}

/// The metric of a rule that says `static: true`, as far as its parts have compiled.
fn static_metric(
    rule: &file::Rule,
    selector: Option<&SeriesSelector>,
    namer: Option<&Namer>,
    mapping: Option<&Mapping>,
    problem: &mut impl FnMut(Place, &str, String),
) -> Option<StaticMetric> {
    if mapping.is_some_and(Mapping::has_template) {
        let message = "a static rule has `overrides` only: which labels a template means is found by discovery";
        problem(rule.resources.template.place, "resources.template", message.to_owned());
    } else if !rule.external && mapping.is_some_and(Mapping::is_empty) {
        let message =
            "a static rule has to name the labels of its objects, such as `{pod: {resource: pod}}`";
        problem(rule.place, "resources.overrides", message.to_owned());
    }
    let selector = selector?;
    let Some(series) = selector.name() else {
        let message = "a static rule has to name its series, as in `http_requests_total{…}`";
        problem(rule.series_query.place, "seriesQuery", message.to_owned());
        return None;
    };
    let Some(metric) = namer?.metric_name(series) else {
        let message = format!(
            "a static rule needs a name, and `seriesFilters` and `name` give none to `{}`",
            excerpt(series)
        );
        problem(rule.is_static.place, "static", message);
        return None;
    };
    Some(StaticMetric { series: series.into(), metric: metric.into() })
}

fn window_seconds(query: &QueryTemplate) -> Option<i64> {
    window::seconds(&specimen(query)?)
}

/// Whether a query puts its samples in an order. That, too, is a matter of the template.
pub(in crate::core) fn is_sorted(query: &QueryTemplate) -> bool {
    specimen(query).is_some_and(|query| order::is_sorted(&query))
}

/// The query for something: ranges and order are a matter of the template, not of what it is rendered with.
fn specimen(query: &QueryTemplate) -> Option<String> {
    let rendered = query.render(&QueryArguments {
        series: "series",
        label_matchers: "label=\"value\"",
        label_values_by_name: &BTreeMap::new(),
        group_by: "label",
        group_by_slice: &["label".to_owned()],
    });
    rendered.ok().filter(|rendered| nesting::is_safe(rendered))
}

#[cfg(test)]
mod tests;
