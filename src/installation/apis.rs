//! Who is registered for the APIs, and who answers.

use serde_json::Value;

use crate::{
    core::{
        explain::{Api, Cause, Inquiry, Step, Subject, facts::Which},
        installation::apis::{ApiFacts, Server as Answerer},
        selector::Selector,
    },
    explain::{Server, cluster::Cluster},
    rules_file::Rules,
    wire::discovery::{CUSTOM, EXTERNAL, Group, RESOURCE},
};

/// The most metrics of an API whose rights are reviewed.
const MOST_LISTED: usize = 10;

/// What was found of the APIs.
pub(super) struct Apis {
    /// Of each of them.
    pub(super) facts: Vec<ApiFacts>,
    /// What there is to say of who serves them, and whom to ask.
    pub(super) ways: Vec<(Api, Step, Option<Server>)>,
    /// Some of their metrics.
    pub(super) listed: Vec<Inquiry>,
}

/// Looks at the APIs that there are rules for, or at all where the rules are not known.
pub(super) async fn look(cluster: &Cluster, rules: Option<&Rules>) -> Apis {
    let served = rules.map(Rules::served);
    let is_wanted = |group: Group| served.as_ref().map(|served| served.contains(&group));
    let mut apis = Apis { facts: Vec::new(), ways: Vec::new(), listed: Vec::new() };
    for (api, group) in [(Api::Custom, CUSTOM), (Api::External, EXTERNAL)] {
        let is_wanted = is_wanted(group);
        let mut facts = registered(cluster, group, is_wanted).await;
        let (step, whom) = cluster.registration(api).await;
        if let Some(server) = whom.as_ref().filter(|_| is_wanted != Some(false)) {
            let (answerer, listed) = answerer(cluster, server).await;
            if !matches!(answerer, Answerer::Other(_)) {
                apis.listed.extend(listed);
            }
            facts.server = answerer;
        }
        apis.facts.push(facts);
        apis.ways.push((api, step, whom));
    }
    let (step, whom) = cluster.registration(Api::Resource).await;
    apis.ways.push((Api::Resource, step, whom));
    // metrics-server has it unless there are rules for it. A version may be left of the time when there were.
    if let Some(is_wanted) = is_wanted(RESOURCE) {
        apis.facts.push(registered(cluster, RESOURCE, Some(is_wanted)).await);
    }
    apis
}

async fn registered(cluster: &Cluster, group: Group, is_wanted: Option<bool>) -> ApiFacts {
    let registrations = cluster.registrations(group).await;
    let registrations = registrations
        .map(|found| found.into_iter().map(|(_, document)| document).collect())
        .map_err(|unread| unread.to_string());
    let version = group.versions.first().copied().unwrap_or_default();
    ApiFacts { group: group.name, version, is_wanted, registrations, server: Answerer::NotAsked }
}

/// Who answers for an API, and some of its metrics. Only loadline can explain a metric.
async fn answerer(cluster: &Cluster, server: &Server) -> (Answerer, Vec<Inquiry>) {
    let document = match cluster.reader().get(&server.prefix).await {
        Ok(document) => document,
        Err(unread) => return (Answerer::Unknown(unread.to_string()), Vec::new()),
    };
    let listed = listed(&document, server.api);
    let Some(first) = listed.first() else {
        return (Answerer::Unknown("it lists no metric".to_owned()), listed);
    };
    let answerer = match cluster.ask(server, first).await {
        Ok(_) => Answerer::Loadline,
        Err(step) if matches!(step.cause, Some((Cause::ApiserviceOtherOwner, _))) => {
            Answerer::Other(step)
        }
        Err(step) => Answerer::Unknown(step.seen),
    };
    (answerer, listed)
}

/// The first metrics of a list; those of namespaces, which most rules have besides, come last.
fn listed(document: &Value, api: Api) -> Vec<Inquiry> {
    let resources = document.get("resources").and_then(Value::as_array);
    let names = resources.into_iter().flatten().filter_map(|it| it.get("name")?.as_str());
    let (of_namespaces, others): (Vec<&str>, Vec<&str>) =
        names.partition(|name| name.starts_with("namespaces/"));
    let names = others.into_iter().chain(of_namespaces).take(MOST_LISTED);
    names.filter_map(|name| inquiry(name, api)).collect()
}

fn inquiry(listed: &str, api: Api) -> Option<Inquiry> {
    let (subject, metric) = match api {
        Api::External => (Subject::External, listed),
        Api::Resource => return None,
        Api::Custom => {
            let (resource, metric) = listed.split_once('/')?;
            let which = Which::Selected(Selector::default());
            (Subject::Objects { resource: resource.to_owned(), which }, metric)
        }
    };
    Some(Inquiry {
        metric: metric.to_owned(),
        subject,
        namespace: None,
        selector: Selector::default(),
        is_at_zero: false,
    })
}
