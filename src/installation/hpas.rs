//! Whether the autoscalers get their metrics: what the server explains of each.

use futures::{StreamExt as _, stream};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use tokio::time::{Instant, timeout_at};

use super::apis::Apis;
use crate::{
    core::{
        explain::{Answered, Api, Cause, Inquiry, Step, hpa::Found, name},
        installation::{
            Finding, Subject,
            apis::service,
            hpas::{self, is_active},
        },
    },
    explain::{Environment, Known, Target, Way, cluster::Cluster, explain_hpa},
    wire::discovery::{CUSTOM, EXTERNAL},
};

/// The most autoscalers that are looked at. Each costs the server several queries.
const MOST_AUTOSCALERS: usize = 500;

/// How many are explained at the same time: the server explains few at a time, and others ask it, too.
const AT_ONCE: usize = 2;

/// Explains the autoscalers of a namespace, or of all. Those whose metrics the controller does not read come first.
pub(super) async fn look(
    cluster: &Cluster,
    apis: &Apis,
    namespace: Option<&str>,
    until: Instant,
) -> Vec<Finding> {
    let all = || Subject::Hpa(String::new());
    let listing = async {
        match namespace {
            Some(namespace) => cluster.autoscalers(namespace).await,
            None => cluster.all_autoscalers().await,
        }
    };
    let mut autoscalers = match timeout_at(until, listing).await {
        Ok(Ok(autoscalers)) => autoscalers,
        Ok(Err(unread)) => {
            let message = format!("the autoscalers cannot be listed: {unread}");
            let help = "allow the check to list horizontalpodautoscalers";
            let code = Cause::NotAuthorizedMe.code();
            return vec![if unread.is_forbidden() {
                Finding::warning(all(), code, message, help)
            } else {
                Finding::incomplete(all(), message, "")
            }];
        }
        Err(_elapsed) => {
            let help = "allow more time by --timeout";
            return vec![Finding::incomplete(all(), "they were not listed in time", help)];
        }
    };
    autoscalers.sort_by_cached_key(|document| {
        let (namespace, name) = hpas::name(document);
        (is_active(document), namespace.to_owned(), name.to_owned())
    });
    let environment = Installed { cluster, apis, service: service(&apis.facts) };
    let explained = autoscalers.iter().take(MOST_AUTOSCALERS).map(async |document| {
        let explanation = timeout_at(until, explain_hpa(&environment, document)).await.ok()?;
        Some(hpas::judge(hpas::name(document), explanation))
    });
    let explained: Vec<_> = stream::iter(explained).buffered(AT_ONCE).collect().await;
    let looked_at = explained.iter().flatten().count();
    let sound = explained.iter().flatten().filter(|findings| findings.is_empty()).count();
    let mut findings = hpas::summary(looked_at, sound, autoscalers.len() - looked_at);
    // Whoever may not ask about one may probably ask about none.
    let mut is_refused = false;
    findings.extend(explained.into_iter().flatten().flatten().filter(|finding| {
        let is_refusal = finding.code == Cause::NotAuthorizedMe.code();
        !(is_refusal && std::mem::replace(&mut is_refused, true))
    }));
    findings
}

/// The cluster, with the registrations that are known already. Pods are left to the server, so the user who checks needs no right to list them.
struct Installed<'a> {
    cluster: &'a Cluster,
    apis: &'a Apis,
    /// The Service of loadline.
    service: Option<String>,
}

impl Installed<'_> {
    /// Whether somebody else serves the API of a metric, which is nobody's fault: there may be no rules for it.
    fn is_of_another(&self, inquiry: &Inquiry) -> bool {
        let group = match inquiry.api() {
            Api::Custom => CUSTOM.name,
            Api::External => EXTERNAL.name,
        };
        let mut of_group = self.apis.facts.iter().filter(|api| api.group == group);
        of_group.any(|api| api.is_of_another(self.service.as_deref()))
    }
}

impl Environment for Installed<'_> {
    async fn target(&self, hpa: &HorizontalPodAutoscaler, namespace: &str) -> Target {
        self.cluster.workload_of(hpa, namespace).await
    }

    async fn way(&self, inquiries: &[Inquiry]) -> Way {
        let ours: Vec<_> =
            inquiries.iter().filter(|inquiry| !self.is_of_another(inquiry)).cloned().collect();
        let mut way = Way::default();
        for (api, step, server) in &self.apis.ways {
            if ours.iter().any(|inquiry| inquiry.api() == *api) {
                way.steps.push(step.clone());
            }
            way.servers.extend(server.clone());
        }
        self.cluster.access(&ours, &mut way).await;
        way
    }

    async fn metric(&self, way: &Way, inquiry: &Inquiry, known: Known) -> Result<Answered, Step> {
        if self.is_of_another(inquiry) {
            let seen = format!("{} is served by another server", inquiry.metric);
            let found = Found::missing(seen.clone());
            return Ok(Answered { steps: vec![Step::unknown(name::VALUES, seen)], found });
        }
        self.cluster.metric(way, inquiry, known).await
    }
}
