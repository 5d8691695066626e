//! An explanation in a cluster, with the rights of the kubeconfig's user: objects and reviews from kube-apiserver, and the
//! facts about a metric from the server that is deployed.

mod access;
mod registrations;
mod server;
mod target;
mod usage;

use std::path::Path;

pub(crate) use access::{CONTROLLER, ServiceAccount};

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::Value;

use super::{
    Known,
    environment::{Environment, Target, Way},
};
use crate::{
    core::{
        explain::{
            Answered, Api, Inquiry, Step, Subject,
            facts::{Asked, ObjectsFacts, Of, UnknownKind},
            hpa::Found,
            metric,
        },
        selector::Selector,
    },
    kubernetes::{
        self,
        reader::{Reader, Unread},
    },
    wire::discovery::{CUSTOM, EXTERNAL, Group, RESOURCE},
};

/// metrics.k8s.io, the version first that the HPA controller reads.
const USAGE: Group = Group { name: RESOURCE.name, versions: &["v1beta1", "v1"] };

/// A cluster, as the user of a kubeconfig.
pub struct Cluster(Reader);

impl Cluster {
    /// The cluster of a kubeconfig and one of its contexts, by the rules of `kubectl` where they are not named.
    pub async fn connect(
        kubeconfig: Option<&Path>,
        context: Option<&str>,
    ) -> Result<Self, kubernetes::Error> {
        Ok(Self(Reader::connect(kubeconfig, context).await?))
    }

    /// The namespace of the context.
    pub fn namespace(&self) -> &str {
        self.0.namespace()
    }

    /// An autoscaler; nothing where there is none.
    pub async fn autoscaler(&self, namespace: &str, name: &str) -> Result<Option<Value>, Unread> {
        match self.0.get(&format!("{}/{name}", autoscalers(namespace))).await {
            Ok(found) => Ok(Some(found)),
            Err(unread) if unread.is_absent() => Ok(None),
            Err(unread) => Err(unread),
        }
    }

    /// The autoscalers of a namespace.
    pub async fn autoscalers(&self, namespace: &str) -> Result<Vec<Value>, Unread> {
        self.0.list(&autoscalers(namespace), "HorizontalPodAutoscaler").await
    }

    /// The autoscalers of all namespaces.
    pub(crate) async fn all_autoscalers(&self) -> Result<Vec<Value>, Unread> {
        self.0
            .list("/apis/autoscaling/v2/horizontalpodautoscalers", "HorizontalPodAutoscaler")
            .await
    }

    /// Fails where nobody answers as the API server.
    pub async fn answers(&self) -> Result<(), Unread> {
        match self.0.text("/version").await {
            Err(unread) if unread.code == 0 => Err(unread),
            // A refusal is an answer, too.
            _ => Ok(()),
        }
    }

    /// Reads the cluster, as the same user.
    pub(crate) fn reader(&self) -> &Reader {
        &self.0
    }
}

impl Environment for Cluster {
    async fn target(&self, hpa: &HorizontalPodAutoscaler, namespace: &str) -> Target {
        let mut target = self.workload_of(hpa, namespace).await;
        let Some(workload) = &target.workload else { return target };
        let selector = Selector::parse(&workload.selector).unwrap_or_default();
        if selector.is_empty() {
            return target;
        }
        let (pods, all_pods, more) = self.pods(namespace, &selector).await;
        target.steps.extend(more);
        Target { pods, all_pods, ..target }
    }

    async fn way(&self, inquiries: &[Inquiry]) -> Way {
        let mut way = Way::default();
        if inquiries.is_empty() {
            return way;
        }
        for api in [Api::Custom, Api::External, Api::Resource] {
            if inquiries.iter().any(|inquiry| inquiry.api() == api) {
                let (step, server) = self.registration(api).await;
                way.steps.push(step);
                way.servers.extend(server);
            }
        }
        let are_for_rules = inquiries.iter().any(|inquiry| inquiry.api() != Api::Resource);
        if are_for_rules && way.servers.iter().all(|server| server.api == Api::Resource) {
            // The other API may be ours, and can explain why this one is not asked.
            let is_asked = |api: &Api| inquiries.iter().any(|inquiry| inquiry.api() == *api);
            for api in [Api::Custom, Api::External].into_iter().filter(|api| !is_asked(api)) {
                way.servers.extend(self.registration(api).await.1);
            }
        }
        self.access(inquiries, &mut way).await;
        way
    }

    async fn metric(&self, way: &Way, inquiry: &Inquiry, known: Known) -> Result<Answered, Step> {
        if inquiry.api() == Api::Resource {
            let mut answered = Box::pin(self.usage(way, inquiry, known)).await?;
            if way.denied.contains(inquiry) {
                answered.found = Found::missing("the HPA controller may not read it");
            }
            return Ok(answered);
        }
        let own = way.servers.iter().find(|server| server.api == inquiry.api());
        let unread = match own {
            None => Some("its API is not served"),
            Some(_) if way.denied.contains(inquiry) => Some("the HPA controller may not read it"),
            Some(_) => None,
        };
        let mut others = way.servers.iter().filter(|server| server.api != Api::Resource);
        let Some(server) = own.or_else(|| others.next()) else {
            return Ok(valueless("nobody can be asked for it"));
        };
        let answered = match self.ask(server, inquiry).await {
            Ok(answered) => answered,
            // Errors of an API that the autoscaler does not read are no finding.
            Err(_) if own.is_none() => return Ok(valueless("nobody can be asked for it")),
            Err(step) => return Err(step),
        };
        let mut answered = better_known(answered, inquiry, known);
        if let Some(why) = unread {
            // The controller does not see the value.
            answered.found.values = Err(why.to_owned());
        }
        Ok(answered)
    }
}

/// Replaces the objects that the server has named by those that are known with their owners.
fn better_known(answered: Answered, inquiry: &Inquiry, known: Known) -> Answered {
    if known.selected.is_none() {
        return answered;
    }
    let steps = metric::with_objects(answered.steps, objects_step(inquiry, known));
    Answered { steps, ..answered }
}

/// The step of the objects that are known with their owners.
fn objects_step(inquiry: &Inquiry, known: Known) -> Vec<Step> {
    let Known { selected: Some(selected), all, owner } = known else { return Vec::new() };
    let (resource, which) = match &inquiry.subject {
        Subject::Objects { resource, which } => (resource.as_str(), which),
        Subject::Usage { which, .. } => ("pods", which),
        Subject::External => return Vec::new(),
    };
    let asked = Asked {
        metric: inquiry.metric.clone(),
        // The steps only write it.
        of: Of::Objects {
            kind: Err(UnknownKind { written: resource.to_owned(), near: Vec::new() }),
            which: which.clone(),
        },
        namespace: inquiry.namespace.clone(),
        selector: inquiry.selector.clone(),
        is_at_zero: inquiry.is_at_zero,
        usage: None,
    };
    let objects = ObjectsFacts { selected, all, is_known: true, owner };
    metric::objects(&asked, &objects)
}

fn valueless(why: &str) -> Answered {
    Answered { steps: Vec::new(), found: Found::missing(why) }
}

fn autoscalers(namespace: &str) -> String {
    format!("/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers")
}

fn group(api: Api) -> Group {
    match api {
        Api::Custom => CUSTOM,
        Api::External => EXTERNAL,
        Api::Resource => USAGE,
    }
}
