//! Gathers the facts about a metric for `core::explain`, most of them from the backends.
//!
//! Queries are sent as they are, not by way of the cache: what is explained is the present.

mod asking;
mod autoscaler;
mod begin;
pub mod cluster;
mod delegated;
mod environment;
pub mod files;
mod operands;
mod past;
pub mod question;
mod served;
mod unserved;
mod usage;

use std::{sync::Arc, time::Duration};

pub(crate) use asking::{Deadline, not_a_vector};
pub(crate) use autoscaler::{explain_hpa, explain_metric, inquiry};
pub(crate) use begin::begin;
pub(crate) use environment::{Environment, Server, Target, Way};
pub(crate) use past::{Past, Progress};
use served::{Entries, entry};
use tokio::time::Instant;

use crate::{
    backends::Backends,
    core::{
        catalog::Catalog,
        explain::{
            Answered, Api, Inquiry, Subject,
            facts::{
                Asked, BrokenRule, Facts, ObjectFacts, ObjectsFacts, Of, UnknownKind, UsagePart,
                Which,
            },
            hpa::{Found, PastDay},
            metric,
            sight::{self, Sight},
        },
        kinds::{GroupResource, Kind, Kinds},
        plan,
        rules::{QueryOptions, RuleEntry, RuleId},
        selector::Selector,
    },
    delegates::Delegates,
    discovery,
    fallbacks::Fallbacks,
    objects::Objects,
    prometheus::{Answer, Audience},
    rules_file::Rules,
    team_rules::TeamRules,
};

/// What an explanation needs.
pub struct Explainer {
    /// What is served.
    pub discovery: discovery::Handle,
    /// Which objects there are.
    pub objects: Arc<Objects>,
    /// Who is asked.
    pub backends: Arc<Backends>,
    /// Who else is asked; nothing where there are no connections to delegates.
    pub delegates: Option<Arc<Delegates>>,
    /// The rules.
    pub rules: Rules,
    /// Which reads are answered by fallbacks; nothing where there are no reads.
    pub fallbacks: Option<Arc<Fallbacks>>,
    /// The rules of teams.
    pub team_rules: TeamRules,
    /// How long one explanation may take. What was not asked for by then counts as not answered.
    pub patience: Duration,
    /// Who reads the explanations.
    pub audience: Audience,
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
    /// Resolves the names of a question. Cluster-scoped objects lose the namespace.
    pub fn asked(&self, inquiry: &Inquiry) -> Asked {
        let of = match &inquiry.subject {
            Subject::External => Of::External,
            Subject::Objects { resource, which } => Of::Objects {
                kind: kind(&self.discovery.catalog(), resource),
                which: which.clone(),
            },
            Subject::Usage { which, .. } => Of::Objects {
                // Pods are what they are in every cluster.
                kind: pods(),
                which: which.clone(),
            },
        };
        let usage = match &inquiry.subject {
            Subject::Usage { container: Some(name), .. } => {
                Some(UsagePart::Container(name.clone()))
            }
            Subject::Usage { container: None, .. } => Some(UsagePart::Pod),
            Subject::Objects { .. } | Subject::External => None,
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
            usage,
        }
    }

    /// Explains a metric to somebody.
    pub async fn answer(&self, asked: Asked, known: Known, sight: Sight) -> Answered {
        if asked.usage.is_some() {
            return Box::pin(self.usage(asked, known, sight)).await;
        }
        let deadline = self.deadline();
        let (mut facts, options) = self.gather(asked, known, deadline).await;
        let has_history = sight.has_all_of(&facts);
        sight::limit(&mut facts, sight);
        let steps = metric::steps(&facts);
        let Some(answer) = facts.answer.as_ref().filter(|answer| !answer.values.is_empty()) else {
            let why = steps.iter().rev().find(|step| step.is_failure());
            let why = why.map_or_else(|| "no value".to_owned(), |step| step.seen.clone());
            return Answered { steps, found: Found::missing(why) };
        };
        let namespace = facts.asked.namespace.as_deref().unwrap_or_default();
        let history = match options.filter(|_| has_history) {
            Some(options) => self.history((&options, namespace), &answer.query, deadline).await,
            None => None,
        };
        let found = Found::new(Ok(answer.values.clone()), answer.query.clone(), history);
        let found = Found { pods: metric::pods(&facts), ..found };
        Answered { steps, found }
    }

    /// What has to be asked until then, for the readers of the explanations.
    pub(crate) fn by(&self, at: Instant) -> Deadline {
        Deadline { at, audience: self.audience }
    }

    fn deadline(&self) -> Deadline {
        self.by(Instant::now() + self.patience)
    }

    /// What the query has returned within a day.
    async fn history(
        &self,
        (options, namespace): (&QueryOptions, &str),
        query: &str,
        deadline: Deadline,
    ) -> Option<PastDay> {
        let backend = self.backends.handle(options, namespace).ok()?;
        let ask = async |query: String| match deadline.ask(backend.query(&query)).await {
            Ok(Answer::Vector(vector)) => vector.samples.first().map(|sample| sample.value),
            _ => None,
        };
        let step = PastDay::STEP_S;
        let highest = ask(format!("max(max_over_time(({query})[1d:{step}s]))")).await?;
        let steps = ask(format!("max(count_over_time(({query})[1d:{step}s]))")).await?;
        let lowest = ask(format!("min(min_over_time(({query})[1d:{step}s]))")).await;
        let lowest = lowest.filter(|lowest| lowest.is_finite());
        (highest.is_finite() && steps.is_finite()).then_some(PastDay { highest, lowest, steps })
    }

    /// Gathers what there is to know about a metric, with the options of the rule that serves it.
    async fn gather(
        &self,
        asked: Asked,
        known: Known,
        deadline: Deadline,
    ) -> (Facts, Option<QueryOptions>) {
        let catalog = self.discovery.catalog();
        let entry = match self.team_entry(&asked).await {
            Some(entry) => Some(entry),
            None => entry(&catalog, &asked),
        };
        let options = entry.as_ref().map(|entry| entry.rule().base().options.clone());
        let objects = self.objects(&asked, known, deadline).await;
        let mut facts = Facts {
            broken: self.broken(&asked),
            rules: Vec::new(),
            served_names: Vec::new(),
            is_in_other_api: is_in_other_api(&catalog, &asked),
            undiscovered: undiscovered(&catalog, asked.api()),
            delegate: None,
            served: None,
            objects,
            series: None,
            answer: None,
            fallback: None,
            asked,
        };
        if self.delegated(&mut facts, entry.is_some(), deadline).await {
            return (facts, None);
        }
        match entry {
            Some(entry) => self.served(&mut facts, &entry, deadline).await,
            None => self.unserved(&mut facts, &catalog, deadline).await,
        }
        (facts, options)
    }

    /// How the rule of a team reads the metric, where there is one.
    async fn team_entry(&self, asked: &Asked) -> Option<Entries> {
        let namespace = asked.namespace.as_deref()?;
        match &asked.of {
            Of::Objects { kind, .. } => {
                let resource = &kind.as_ref().ok()?.resource;
                let entry = self.team_rules.object(namespace, resource, &asked.metric).await?;
                Some(Entries::Custom(Box::new(entry)))
            }
            Of::External => {
                self.team_rules.external(namespace, &asked.metric).await.map(Entries::External)
            }
        }
    }

    /// The rules of the file that do not compile, and a rule of the namespace that claims the metric and is not accepted.
    fn broken(&self, asked: &Asked) -> Vec<BrokenRule> {
        let mut broken = self.rules.broken().to_vec();
        let namespace = asked.namespace.as_deref();
        let refused = namespace.and_then(|it| self.team_rules.refused(it, &asked.metric));
        broken.extend(refused.map(|rule| BrokenRule {
            path: rule.name.to_string(),
            problem: rule.why.to_string(),
            text: asked.metric.as_str().into(),
            is_over_quota: rule.is_over_quota,
        }));
        broken
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
        let selected = tokio::time::timeout_at(deadline.at, selection).await.ok()?.ok()?;
        match selected.objects {
            plan::Objects::Named(names) => Some(names),
            plan::Objects::Any => None,
        }
    }
}

fn is_in_other_api(catalog: &Catalog, asked: &Asked) -> bool {
    match asked.api() {
        Api::Custom => catalog.external().get(&asked.metric).is_some(),
        Api::External => catalog.list().any(|listed| listed.metric == asked.metric),
        Api::Resource => false,
    }
}

fn undiscovered(catalog: &Catalog, api: Api) -> Vec<String> {
    let is_asked =
        |rule: &&RuleId| matches!(rule.entry, RuleEntry::Custom(_)) == (api == Api::Custom);
    catalog.undiscovered().iter().filter(is_asked).map(ToString::to_string).collect()
}

/// The kind of pods.
fn pods() -> Result<Arc<Kind>, UnknownKind> {
    let pods = "pods";
    let unknown = || UnknownKind { written: pods.to_owned(), near: Vec::new() };
    Kinds::builtin().resolve("", pods).cloned().ok_or_else(unknown)
}

/// The kind that a resource names, in the plural or the singular, or that has the name itself; its group is behind a dot.
fn kind(catalog: &Catalog, resource: &str) -> Result<Arc<Kind>, UnknownKind> {
    let parsed = GroupResource::parse(resource);
    let GroupResource { group, resource: name } = &parsed;
    let is_so_called = |kind: &&Arc<Kind>| {
        kind.kind.eq_ignore_ascii_case(name) && (group.is_empty() || kind.resource.group == *group)
    };
    let known = catalog.kinds().resolve(group, name);
    let known = known.or_else(|| catalog.kinds().iter().find(is_so_called));
    known.map(Arc::clone).ok_or_else(|| {
        let near = catalog.kinds().near(&parsed);
        let near = near.into_iter().map(ToString::to_string).collect();
        UnknownKind { written: resource.to_owned(), near }
    })
}
