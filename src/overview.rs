//! Gathers what the status page shows.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;

use crate::{
    backends::Backends,
    blocking,
    cache::QueryCache,
    core::{
        catalog::Catalog,
        overview::{
            DiscoveryFacts, MOST_NAMES, MOST_ROWS, Overview, ReloadFacts, RuleRow, ServerFacts,
            Shown, State, autoscalers::AutoscalerRow,
        },
        quantity::Decimal,
        rules::{Fingerprint, MetricRule, QueryOptions, RuleBase, RuleId, RuleSet},
        team_rules::Standing,
    },
    delegates::Delegates,
    discovery::{self, Problem},
    fallbacks::Fallbacks,
    hpas,
    planner::Planner,
    records::Records,
    registrations::Problems,
    rules_file::Rules,
    server::certificates::Resolver,
    team_rules::{TeamRuleRow, TeamRules},
};

/// How long the page waits for the API server, which knows the autoscalers.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the backend of the flags is called.
const DEFAULT: &str = "--prometheus-url";

/// Whoever knows something that the page shows.
pub struct Gatherer {
    /// What is served.
    pub discovery: discovery::Handle,
    /// Who is asked.
    pub backends: Arc<Backends>,
    /// Who else is asked.
    pub delegates: Arc<Delegates>,
    /// How readers are answered.
    pub planner: Arc<Planner>,
    /// The results of queries.
    pub cache: QueryCache,
    /// The rules.
    pub rules: Rules,
    /// Which reads are answered by fallbacks.
    pub fallbacks: Arc<Fallbacks>,
    /// The rules of teams.
    pub team_rules: TeamRules,
    /// What was read.
    pub records: Arc<Records>,
    /// The serving certificate.
    pub certificate: Arc<Resolver>,
    /// The cluster that has the autoscalers.
    pub client: Option<Client>,
    /// What is wrong with the registrations of our APIs.
    pub registrations: Option<Problems>,
    /// The name of the host.
    pub host: String,
    /// When the process was started.
    pub started: Timestamp,
}

impl Gatherer {
    /// Everything as it is now. Whoever looks once wants to see what is read from then on, too.
    pub async fn gather(&self) -> Overview {
        self.records.begin();
        let autoscalers = self.autoscalers().await;
        let (catalog, rules) = (self.discovery.catalog(), self.rules.current());
        let backends = self.backends.rows();
        let mut names = rule_names(&rules);
        names.extend(self.team_rules.by_fingerprint());
        Overview {
            server: ServerFacts {
                version: env!("CARGO_PKG_VERSION"),
                host: self.host.clone(),
                started: self.started,
                now: Timestamp::now(),
            },
            problems: Shown::first(self.problems(), MOST_ROWS),
            discovery: self.discoveries(&catalog),
            rules: self.rules(catalog, &rules).await,
            metrics: self.records.metrics(MOST_ROWS),
            recording_since: self.records.since(),
            autoscalers,
            backends: Shown::first(backends, MOST_ROWS),
            delegates: Shown::first(self.delegates.rows(), MOST_ROWS),
            plans: self.planner.plans(MOST_ROWS, |content| names.get(&content).cloned()),
            cache: self.cache.facts(),
            reloads: self.reloads(),
            certificate: self.certificate.facts(),
            failures: self.records.failures(MOST_ROWS),
        }
    }

    async fn autoscalers(&self) -> Result<Shown<AutoscalerRow>, String> {
        let Some(client) = &self.client else {
            return Err("Without a cluster there are no HorizontalPodAutoscalers.".to_owned());
        };
        let most = u32::try_from(MOST_ROWS).unwrap_or(u32::MAX);
        match tokio::time::timeout(PATIENCE, hpas::first(client, most)).await {
            Ok(Ok(shown)) => Ok(shown),
            Ok(Err(error)) => {
                tracing::debug!(%error, "no autoscalers for the status page");
                Err("The API server does not list HorizontalPodAutoscalers.".to_owned())
            }
            Err(_elapsed) => Err("The API server does not answer.".to_owned()),
        }
    }

    fn problems(&self) -> Vec<String> {
        let discovery = self.discovery.problems();
        let discovery = discovery.iter().map(ToString::to_string);
        let registrations = self.registrations.as_ref().and_then(Problems::get);
        let registrations = registrations.iter().flat_map(|problems| problems.iter().cloned());
        let file = self.rules.problem();
        let file = file.iter().filter_map(|problem| problem.0.first().cloned());
        self.backends
            .problems()
            .into_iter()
            .chain(discovery)
            .chain(registrations)
            .chain(self.delegates.problems())
            .chain(file)
            .collect()
    }

    fn discoveries(&self, catalog: &Catalog) -> DiscoveryFacts {
        let clock = self.discovery.clock();
        let took =
            |clock: discovery::Clock| u64::try_from(clock.took.as_millis()).unwrap_or(u64::MAX);
        let sentences = |problems: Arc<Vec<Problem>>| {
            Shown::first(problems.iter().map(ToString::to_string), MOST_ROWS)
        };
        DiscoveryFacts {
            rounds: *self.discovery.rounds().borrow(),
            metrics: catalog.len(),
            last: clock.map(|clock| (clock.last, took(clock))),
            next: clock.map(|clock| clock.next),
            failures: sentences(self.discovery.problems()),
            remarks: sentences(self.discovery.remarks()),
        }
    }

    fn reloads(&self) -> ReloadFacts {
        let reloads = self.rules.reloads();
        let problem = self.rules.problem();
        let problem = problem.iter().flat_map(|problem| problem.0.iter().cloned());
        ReloadFacts {
            since: Some(reloads.since),
            taken: reloads.taken,
            refused: (reloads.refused, reloads.last_refused),
            problem: Shown::first(problem, MOST_ROWS),
        }
    }

    async fn rules(&self, catalog: Arc<Catalog>, rules: &RuleSet) -> Shown<RuleRow> {
        let waiting = catalog.undiscovered().to_vec();
        // There may be very many metrics.
        let mut exposed = blocking::run(move || catalog.exposed(MOST_NAMES)).await;
        let (problems, remarks) = (self.discovery.problems(), self.discovery.remarks());
        let cause = |problems: &[Problem], id: &RuleId| {
            let problem = problems.iter().find(|problem| problem.rule.as_ref() == Some(id));
            problem.map(|problem| problem.cause.clone())
        };
        let state = |id: &RuleId| {
            if let Some(cause) = cause(&problems, id) {
                State::Bad("failing", cause)
            } else if waiting.contains(id) {
                State::Doubtful("waiting", String::new())
            } else if let Some(cause) = cause(&remarks, id) {
                State::Doubtful("remark", cause)
            } else {
                State::Good("served")
            }
        };
        let of_metrics = rules.of_metrics().map(|rule: MetricRule| {
            let base = rule.base();
            let metrics = exposed.remove(&base.id).unwrap_or_default();
            RuleRow {
                id: format!("{}, line {}", base.id, base.place.line),
                series: base.selector.text().to_owned(),
                backend: backend(&base.options),
                state: match state(&base.id) {
                    State::Good(_) if metrics.is_empty() => {
                        State::Doubtful("no metrics", String::new())
                    }
                    known => self.fallback(base).unwrap_or(known),
                },
                metrics,
            }
        });
        let usage = rules.resource.iter().flat_map(|usage| [&usage.cpu, &usage.memory]).flatten();
        let usage = usage.map(|rule| {
            let of =
                [("pods", rule.container_query.is_some()), ("nodes", rule.node_query.is_some())];
            let of = of.into_iter().filter(|(_, is_covered)| *is_covered);
            RuleRow {
                id: format!("{}, line {}", rule.id, rule.place.line),
                series: String::new(),
                backend: backend(&rule.options),
                state: state(&rule.id),
                metrics: Shown::first(of.map(|(of, _)| format!("usage of {of}")), MOST_NAMES),
            }
        });
        let broken = rules.broken.iter().map(|problem| RuleRow {
            id: problem.subject(),
            series: String::new(),
            backend: String::new(),
            state: State::Bad("left out", problem.message.clone()),
            metrics: Shown::default(),
        });
        let (teams, counts) = self.team_rules.rows(MOST_ROWS);
        let known = teams.len();
        let of_file = of_metrics.chain(usage).chain(broken);
        let mut shown = Shown::first(of_file.chain(teams.into_iter().map(of_team)), MOST_ROWS);
        let all = counts.serving + counts.refused + counts.over_quota + counts.claimed;
        shown.more += all.saturating_sub(known);
        shown
    }

    /// The state of a rule whose fallback is in use.
    fn fallback(&self, rule: &RuleBase) -> Option<State> {
        let value = Decimal(rule.fallback?.milli);
        let since = self.fallbacks.since_of_rule(rule.fingerprint)?;
        let why = format!("the backend fails, and reads have returned {value} since {since:.0}");
        Some(State::Bad("fallback", why))
    }
}

/// A rule of a team.
fn of_team(row: TeamRuleRow) -> RuleRow {
    let TeamRuleRow { name, metric, target, standing } = row;
    RuleRow {
        id: name,
        series: target,
        backend: String::new(),
        state: match standing {
            Standing::Serves => State::Good("served"),
            Standing::Waiting => State::Doubtful("waiting", String::new()),
            Standing::Refused { message, .. } => State::Bad("refused", message.to_string()),
            Standing::OverQuota { most } => State::Bad(
                "over quota",
                format!("the namespace may have {most} rules (`teamRules.quotas.rules`)"),
            ),
            Standing::Claimed { by } => {
                State::Doubtful("claimed", format!("{by} is older and serves the metric"))
            }
        },
        metrics: Shown::first([metric], MOST_NAMES),
    }
}

fn backend(options: &QueryOptions) -> String {
    options.backend.as_ref().map_or(DEFAULT, |backend| &backend.name).to_owned()
}

/// What the rules are called, by their content.
fn rule_names(rules: &RuleSet) -> HashMap<Fingerprint, String> {
    let of_metrics = rules.of_metrics().map(|rule| {
        let base = rule.base();
        (base.fingerprint, base.id.to_string())
    });
    let usage = rules.resource.iter().flat_map(|usage| [&usage.cpu, &usage.memory]).flatten();
    of_metrics.chain(usage.map(|rule| (rule.fingerprint, rule.id.to_string()))).collect()
}
