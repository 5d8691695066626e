//! Gathers what `core::explain` draws its conclusions from: asks the backends what lies behind a metric.
//!
//! Queries are sent as they are, not by way of the cache: what is explained is the present.

mod asking;
mod autoscaler;
pub mod cluster;
mod environment;
pub mod files;
mod past;
pub mod question;
mod served;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use asking::{Deadline, not_a_vector, series};
pub(crate) use autoscaler::{explain_hpa, explain_metric, inquiry};
pub(crate) use environment::Environment;
use futures::{StreamExt as _, stream};
pub(crate) use past::{Past, Progress};
use served::{Entries, entry, read, served};
use tokio::time::Instant;

use crate::{
    backends::Backends,
    core::{
        catalog::Catalog,
        explain::{
            Answered, Api, Cause, Inquiry, Subject,
            candidates::{self, Gap},
            facts::{
                AnswerFacts, Asked, Facts, Failure, ObjectFacts, ObjectsFacts, Of, RuleFacts,
                Series, Which,
            },
            hpa::{Found, PastDay},
            metric,
            sight::{self, Sight},
        },
        external,
        go_quote::quote,
        go_regex::quote_meta,
        kinds::{GroupResource, Kind, Kinds},
        plan::{self, PlanError},
        rules::{MetricRule, RuleBase, RuleId},
        selector::Selector,
        window,
    },
    discovery,
    objects::Objects,
    prometheus::{Answer, BackendHandle, Range},
    rules_file::Rules,
};

/// How far back series are looked for that may have ended.
const DAY: Duration = Duration::from_secs(86_400);

/// How many rules are looked at at the same time.
const AT_ONCE: usize = 4;

/// What an explanation needs.
pub struct Explainer {
    /// What is served.
    pub discovery: discovery::Handle,
    /// Which objects there are.
    pub objects: Arc<Objects>,
    /// Who is asked.
    pub backends: Arc<Backends>,
    /// The rules.
    pub rules: Rules,
    /// How long one explanation may take. What was not asked for by then counts as not answered.
    pub patience: Duration,
}

/// What the caller knows of the objects that are asked about.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The objects, if the caller knows them better than by name.
    pub selected: Option<Vec<ObjectFacts>>,
    /// The names of all of the kind in the namespace, if the caller knows them.
    pub all: Vec<String>,
    /// The workload that should own them, as `Kind/name`.
    pub owner: Option<String>,
}

impl Explainer {
    /// What is asked, with its names resolved. Objects that are in no namespace are asked for in none.
    pub fn asked(&self, inquiry: &Inquiry) -> Asked {
        let of = match &inquiry.subject {
            Subject::External => Of::External,
            Subject::Objects { resource, which } => Of::Objects {
                kind: kind(&self.discovery.catalog(), resource),
                which: which.clone(),
            },
        };
        let is_namespaced = match &of {
            Of::Objects { kind: Ok(kind), .. } => kind.namespaced,
            _ => true,
        };
        Asked {
            metric: inquiry.metric.clone(),
            of,
            namespace: inquiry.namespace.clone().filter(|_| is_namespaced),
            selector: inquiry.selector.clone(),
            is_at_zero: inquiry.is_at_zero,
        }
    }

    /// Explains a metric to somebody.
    pub async fn answer(&self, asked: Asked, known: Known, sight: Sight) -> Answered {
        let deadline = Deadline(Instant::now() + self.patience);
        let mut facts = self.gather(asked, known, deadline).await;
        let has_history = sight.has_all_of(&facts);
        sight::limit(&mut facts, sight);
        let steps = metric::steps(&facts);
        let Some(answer) = facts.answer.as_ref().filter(|answer| !answer.values.is_empty()) else {
            let why = steps.iter().rev().find(|step| step.is_failure());
            let why = why.map_or_else(|| "no value".to_owned(), |step| step.seen.clone());
            let found = Found { values: Err(why), query: String::new(), history: None };
            return Answered { steps, found };
        };
        let history =
            if has_history { self.history(&facts, &answer.query, deadline).await } else { None };
        let found =
            Found { values: Ok(answer.values.clone()), query: answer.query.clone(), history };
        Answered { steps, found }
    }

    /// What the query has returned within a day.
    async fn history(&self, facts: &Facts, query: &str, deadline: Deadline) -> Option<PastDay> {
        let rule = facts.served.as_ref()?.rule.base();
        let namespace = facts.asked.namespace.as_deref().unwrap_or_default();
        let backend = self.backends.handle(&rule.options, namespace).ok()?;
        let ask = async |query: String| match deadline.ask(backend.query(&query)).await {
            Ok(Answer::Vector(vector)) => vector.samples.first().map(|sample| sample.value),
            _ => None,
        };
        let step = PastDay::STEP_S;
        let highest = ask(format!("max(max_over_time(({query})[1d:{step}s]))")).await?;
        let steps = ask(format!("max(count_over_time(({query})[1d:{step}s]))")).await?;
        (highest.is_finite() && steps.is_finite()).then_some(PastDay { highest, steps })
    }

    /// Gathers what there is to know about a metric.
    async fn gather(&self, asked: Asked, known: Known, deadline: Deadline) -> Facts {
        let catalog = self.discovery.catalog();
        let entry = entry(&catalog, &asked);
        let objects = self.objects(&asked, known, deadline).await;
        let mut facts = Facts {
            broken: self.rules.broken().to_vec(),
            rules: Vec::new(),
            served_names: Vec::new(),
            is_in_other_api: is_in_other_api(&catalog, &asked),
            undiscovered: undiscovered(&catalog, asked.api()),
            served: None,
            objects,
            series: None,
            answer: None,
            asked,
        };
        match entry {
            Some(entry) => self.served(&mut facts, &entry, deadline).await,
            None => self.unserved(&mut facts, &catalog, deadline).await,
        }
        facts
    }

    async fn objects(&self, asked: &Asked, known: Known, deadline: Deadline) -> ObjectsFacts {
        let mut facts = ObjectsFacts { owner: known.owner, ..ObjectsFacts::default() };
        let Of::Objects { kind: Ok(kind), which } = &asked.of else { return facts };
        let namespace = asked.namespace.as_deref();
        let place = (&**kind, namespace);
        let all = self.select(place, &Selector::default(), deadline).await;
        let Some(all) = all else { return facts };
        facts.is_known = true;
        let matching = match which {
            Which::Named(name) => all.iter().filter(|known| ***known == **name).cloned().collect(),
            Which::Selected(selector) => {
                self.select(place, selector, deadline).await.unwrap_or_default()
            }
        };
        facts.all = all.iter().map(ToString::to_string).collect();
        facts.selected = known.selected.unwrap_or_else(|| {
            let object =
                |name: &Arc<str>| ObjectFacts { name: name.to_string(), ..ObjectFacts::default() };
            matching.iter().map(object).collect()
        });
        facts
    }

    /// The names of the objects of a kind in a namespace that match a selector, where somebody knows them.
    async fn select(
        &self,
        (kind, namespace): (&Kind, Option<&str>),
        selector: &Selector,
        deadline: Deadline,
    ) -> Option<Vec<Arc<str>>> {
        let selection = self.objects.select(kind, namespace, selector);
        let selected = tokio::time::timeout_at(deadline.0, selection).await.ok()?.ok()?;
        match selected.objects {
            plan::Objects::Named(names) => Some(names),
            plan::Objects::Any => None,
        }
    }

    /// What lies behind a metric that is served.
    async fn served(&self, facts: &mut Facts, entry: &Entries, deadline: Deadline) {
        let asked = &facts.asked;
        let namespace = asked.namespace.as_deref();
        let rule = entry.rule();
        let rule = rule.base();
        let plan = entry.plan(facts, &asked.selector);
        facts.served = Some(served(entry, asked));
        let scope = namespace.unwrap_or_default();
        let backend = match self.backends.handle(&rule.options, scope) {
            Ok(backend) => backend,
            Err(error) => {
                let failure =
                    Failure { cause: Cause::BackendUnauthorized, text: error.to_string() };
                facts.answer =
                    Some(AnswerFacts { failure: Some(failure), ..AnswerFacts::default() });
                return;
            }
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => {
                let cause = match error {
                    PlanError::Selector(_) => Cause::Filtered,
                    PlanError::NoNamespaceLabel { .. } => Cause::LabelMissing,
                    PlanError::Template { .. } => Cause::BrokenRule,
                };
                let failure = Failure { cause, text: error.to_string() };
                facts.answer =
                    Some(AnswerFacts { failure: Some(failure), ..AnswerFacts::default() });
                return;
            }
        };
        let mut answer = AnswerFacts {
            query: plan.query.to_string(),
            nan: Some(rule.nan),
            ignores_selector: !asked.selector.is_empty()
                && entry
                    .plan(facts, &Selector::default())
                    .is_ok_and(|without| without.query == plan.query),
            ..AnswerFacts::default()
        };
        match deadline.ask(backend.query(&plan.query)).await {
            Err(failure) => answer.failure = Some(failure),
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
            Ok(Answer::Vector(vector)) => read(&vector, entry, facts, &plan, &mut answer),
        }
        let is_empty = answer.values.is_empty();
        if answer.failure.is_none() {
            if is_empty && !facts.asked.selector.is_empty() {
                answer.without_selector = without_selector(entry, facts, &backend, deadline).await;
            }
            let range = window::shortest(&plan.query).filter(|_| is_empty);
            facts.series = Some(series(&backend, entry.series(), range, deadline).await);
        }
        facts.answer = Some(answer);
    }

    /// What comes near to a metric that is not served.
    async fn unserved(&self, facts: &mut Facts, catalog: &Catalog, deadline: Deadline) {
        facts.served_names = served_names(catalog, &facts.asked);
        let metric = facts.asked.metric.clone();
        let rules = self.rules.current();
        let asked = &facts.asked;
        let mut looks = Vec::new();
        for rule in rules.of_metrics() {
            looks.push(self.look(rule, asked, catalog, deadline));
        }
        facts.rules = stream::iter(looks).buffered(AT_ONCE).collect().await;
        let other = match facts.asked.api() {
            Api::Custom => Api::External,
            Api::External => Api::Custom,
        };
        let in_other = candidates::nearest(&metric, other, &facts.rules);
        facts.is_in_other_api |= in_other.is_some_and(|it| it.gap == Gap::None);
        let near = candidates::nearest(&metric, facts.asked.api(), &facts.rules);
        if let Some(near) = near
            && let Some(rule) = facts.rules.get(near.rule)
            && let Ok(backend) = self.backends.discovery_handle(&rule.rule.base().options)
        {
            facts.series = Some(series(&backend, &near.series, None, deadline).await);
        }
    }

    /// What there is of a rule that may come near.
    async fn look(
        &self,
        rule: MetricRule,
        asked: &Asked,
        catalog: &Catalog,
        deadline: Deadline,
    ) -> RuleFacts {
        let base = rule.base();
        let mapping = match Api::of(&rule) {
            Api::Custom => base.mapping.resolve(catalog.kinds()),
            Api::External => base.mapping.resolve(&Kinds::builtin()),
        };
        let label = match &asked.of {
            Of::Objects { kind: Ok(kind), .. } => mapping.label(&kind.resource),
            _ => None,
        };
        let labels = mapping.labels();
        RuleFacts {
            label: label.map(str::to_owned),
            namespace_label: mapping.namespace_label().map(str::to_owned),
            labels: labels
                .map(|(label, kind)| (label.to_owned(), kind.resource.to_string()))
                .collect(),
            names: self.names(base, base.selector.text(), deadline).await,
            excluded: self.excluded(base, &asked.metric, deadline).await,
            rule,
        }
    }

    async fn names(
        &self,
        rule: &RuleBase,
        selector: &str,
        deadline: Deadline,
    ) -> Result<Vec<String>, Failure> {
        let backend = self.backends.discovery_handle(&rule.options).map_err(|error| Failure {
            cause: Cause::BackendUnauthorized,
            text: error.to_string(),
        })?;
        let now = jiff::Timestamp::now().as_second();
        let day = i64::try_from(DAY.as_secs()).unwrap_or(i64::MAX);
        let range = Range { start: now.saturating_sub(day), end: now.saturating_add(1) };
        let names = deadline.ask(backend.metric_names(selector, range)).await?;
        Ok(names.data.iter().map(str::to_owned).collect())
    }

    /// Series that the rule would call so, which are there although `seriesQuery` does not find them.
    async fn excluded(&self, rule: &RuleBase, metric: &str, deadline: Deadline) -> Vec<String> {
        let guesses = candidates::guesses(metric, rule);
        if guesses.is_empty() {
            return guesses;
        }
        let selector = match guesses.as_slice() {
            [one] => format!("{{__name__={}}}", quote(one)),
            many => {
                let alternatives: Vec<_> = many.iter().map(|name| quote_meta(name)).collect();
                format!("{{__name__=~{}}}", quote(&alternatives.join("|")))
            }
        };
        self.names(rule, &selector, deadline).await.unwrap_or_default()
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

fn served_names(catalog: &Catalog, asked: &Asked) -> Vec<String> {
    match &asked.of {
        Of::Objects { kind: Ok(kind), .. } => {
            let of_kind = catalog.list().filter(|listed| listed.kind.resource == kind.resource);
            of_kind.map(|listed| listed.metric.to_owned()).collect()
        }
        Of::Objects { .. } => Vec::new(),
        Of::External => catalog.external().names().map(str::to_owned).collect(),
    }
}

fn is_in_other_api(catalog: &Catalog, asked: &Asked) -> bool {
    match asked.api() {
        Api::Custom => catalog.external().get(&asked.metric).is_some(),
        Api::External => catalog.list().any(|listed| listed.metric == asked.metric),
    }
}

fn undiscovered(catalog: &Catalog, api: Api) -> Vec<String> {
    let is_asked = |rule: &&RuleId| matches!(rule, RuleId::Custom(_)) == (api == Api::Custom);
    catalog.undiscovered().iter().filter(is_asked).map(ToString::to_string).collect()
}

/// The kind that a resource names, in the plural or the singular, or that has the name itself; its group is behind a dot.
fn kind(catalog: &Catalog, resource: &str) -> Result<Arc<Kind>, String> {
    let GroupResource { group, resource: name } = GroupResource::parse(resource);
    let is_so_called = |kind: &&Arc<Kind>| {
        kind.kind.eq_ignore_ascii_case(&name) && (group.is_empty() || kind.resource.group == group)
    };
    let known = catalog.kinds().resolve(&group, &name);
    let known = known.or_else(|| catalog.kinds().iter().find(is_so_called));
    known.map(Arc::clone).ok_or_else(|| resource.to_owned())
}
