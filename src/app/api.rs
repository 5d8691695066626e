//! What requests are answered from, put together.

use std::sync::{Arc, atomic::AtomicBool};

use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::{
    auth::{Authenticator, access::Authorizer},
    backends::Backends,
    cache::QueryCache,
    core::{budgets::MemoryBudgets, explain::command::ExplainBy},
    delegates::Delegates,
    discovery,
    explain::Explainer,
    fallbacks::{Fallbacks, events::Notes},
    http::{self, Api, Explanations, Health, Lists, StatusPage},
    metrics::Metrics,
    objects::Objects,
    overview::Gatherer,
    planner::Planner,
    prometheus::Audience,
    reads::Reads,
    records::Records,
    registrations::Problems,
    rules_file::Rules,
    server::certificates::Resolver,
    team_rules::TeamRules,
    traces::Traces,
};

/// What was made before.
pub(super) struct Made {
    pub(super) discovery: discovery::Handle,
    pub(super) objects: Arc<Objects>,
    pub(super) backends: Arc<Backends>,
    pub(super) delegates: Arc<Delegates>,
    pub(super) planner: Arc<Planner>,
    pub(super) cache: QueryCache,
    pub(super) rules: Rules,
    pub(super) metrics: Arc<Metrics>,
    pub(super) traces: Traces,
    pub(super) certificate: Arc<Resolver>,
    pub(super) client: Option<Client>,
    pub(super) registrations: Option<Problems>,
    /// Where Events about fallbacks are ordered.
    pub(super) notes: Option<Notes>,
    pub(super) host: String,
    pub(super) started: Timestamp,
    pub(super) memory: MemoryBudgets,
    pub(super) fetches: TaskTracker,
    /// Who asks, and may they.
    pub(super) access: (Authenticator, Authorizer),
    /// How an explanation is asked for.
    pub(super) explain_by: ExplainBy,
    pub(super) trust: Option<watch::Receiver<bool>>,
    pub(super) team_rules: TeamRules,
    /// Whether the status page is wanted from the start.
    pub(super) is_debugged: bool,
}

pub(super) fn assemble(made: Made) -> Arc<Api> {
    let Made { discovery, objects, backends, delegates, planner, rules, metrics, memory, .. } =
        made;
    let records = Arc::new(Records::new(memory.histories));
    if made.is_debugged {
        records.begin();
    }
    let fallbacks = Arc::new(Fallbacks::new(made.notes, Arc::clone(&metrics)));
    let status_page = StatusPage::new(Gatherer {
        discovery: discovery.clone(),
        backends: Arc::clone(&backends),
        delegates: Arc::clone(&delegates),
        planner: Arc::clone(&planner),
        cache: made.cache,
        rules: rules.clone(),
        fallbacks: Arc::clone(&fallbacks),
        team_rules: made.team_rules.clone(),
        records: Arc::clone(&records),
        certificate: made.certificate,
        client: made.client,
        registrations: made.registrations.clone(),
        host: made.host,
        started: made.started,
    });
    let explanations = Explanations::new(Explainer {
        discovery: discovery.clone(),
        objects: Arc::clone(&objects),
        backends: Arc::clone(&backends),
        delegates: Some(Arc::clone(&delegates)),
        rules: rules.clone(),
        fallbacks: Some(Arc::clone(&fallbacks)),
        team_rules: made.team_rules.clone(),
        patience: http::EXPLANATION_TIME,
        audience: Audience::Clients,
    });
    let noted = (Arc::clone(&records), Arc::clone(&fallbacks));
    let (authenticator, authorizer) = made.access;
    let teams = (made.team_rules, &metrics);
    Arc::new(Api {
        reads: Reads::new(discovery.clone(), objects, planner, rules.clone(), noted, teams)
            .explained_by(made.explain_by),
        delegates: Arc::clone(&delegates),
        rules: rules.clone(),
        explanations,
        status_page,
        lists: Lists::new(memory.lists, made.fetches),
        authenticator,
        authorizer,
        under_way: http::UnderWay::new(memory.requests, memory.responses),
        failures: http::Failures::default(),
        records,
        metrics,
        health: Health {
            discovery,
            backends,
            delegates,
            rules,
            trust: made.trust,
            registrations: made.registrations,
            stopping: Arc::new(AtomicBool::new(false)),
        },
        traces: made.traces,
    })
}
