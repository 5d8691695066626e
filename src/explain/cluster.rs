//! An explanation in a cluster, with the rights of whoever asks: the objects from kube-apiserver, and what there is to say of a
//! metric from the server that is deployed.

mod rights;

use std::{path::Path, time::Duration};

use k8s_openapi::api::autoscaling::v2::{CrossVersionObjectReference, HorizontalPodAutoscaler};
use serde_json::Value;

pub(crate) use rights::{CONTROLLER, ServiceAccount};

use super::{
    Known,
    environment::{Environment, Server, Target, Way},
};
use crate::{
    core::{
        autoscaler::Scale,
        explain::{
            Answered, Api, Cause, Inquiry, Step, Subject,
            facts::{Asked, ObjectsFacts, Of},
            hpa::Found,
            metric, name, registration,
            workload::{Documents, OwnedPod, Workload},
        },
        kinds::guess_plural,
        selector::Selector,
    },
    kubernetes::{
        self,
        reader::{Reader, Unread},
    },
    wire::{
        discovery::{CUSTOM, EXTERNAL, Group},
        explanation::{self, DecodeError},
    },
};

/// Where registrations are.
const REGISTRATIONS: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

/// How long the server may take: longer than it takes itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a server is asked that has too much to explain.
const TRIES: usize = 5;

/// How long it has until it is asked again, which is what it says itself.
const PAUSE: Duration = Duration::from_secs(1);

/// A cluster, and who asks.
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
            // Who may not read it has an answer, too.
            _ => Ok(()),
        }
    }

    /// Who reads it.
    pub(crate) fn reader(&self) -> &Reader {
        &self.0
    }

    /// The replicas of a workload, and the selector of its pods.
    async fn workload(
        &self,
        wanted: &CrossVersionObjectReference,
        namespace: &str,
    ) -> Result<Workload, Unread> {
        let called = format!("{}/{}", wanted.kind, wanted.name);
        let path = path_of(wanted, namespace);
        if let Ok(scale) = self.0.get(&format!("{path}/scale")).await {
            // Of no replicas the API server says nothing.
            let number = |pointer: &str| {
                let number = scale.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
                i32::try_from(number).unwrap_or(i32::MAX)
            };
            let selector = scale.pointer("/status/selector").and_then(Value::as_str);
            return Ok(Workload {
                name: called,
                scale: Scale { spec: number("/spec/replicas"), status: number("/status/replicas") },
                selector: selector.unwrap_or_default().to_owned(),
            });
        }
        let mut document = self.0.get(&path).await?;
        if let Some(document) = document.as_object_mut() {
            document.insert("kind".to_owned(), wanted.kind.clone().into());
        }
        let documents = Documents::new(vec![document]);
        let workload = documents.workload(&wanted.kind, namespace, &wanted.name);
        let message = "it has no selector, as what scales has";
        workload.ok_or_else(|| Unread { code: 0, message: message.to_owned() })
    }

    /// The workload of an autoscaler, without its pods.
    pub(crate) async fn workload_of(
        &self,
        hpa: &HorizontalPodAutoscaler,
        namespace: &str,
    ) -> Target {
        let wanted = &hpa.spec.scale_target_ref;
        let called = format!("{}/{}", wanted.kind, wanted.name);
        let workload = match self.workload(wanted, namespace).await {
            Ok(workload) => workload,
            Err(unread) => {
                let step = if unread.is_absent() {
                    let seen = format!("there is no {called} in namespace {namespace}");
                    let advice = "correct `scaleTargetRef` of the autoscaler";
                    Step::found(name::TARGET, Cause::HpaTargetNotFound, seen, advice)
                } else {
                    Step::unknown(name::TARGET, format!("{called} cannot be read: {unread}"))
                };
                return Target { steps: vec![step], ..Target::default() };
            }
        };
        let seen = format!(
            "{called} has {} replicas, selector `{}`",
            workload.scale.spec, workload.selector
        );
        let mut steps = vec![Step::good(name::TARGET, seen)];
        if Selector::parse(&workload.selector).unwrap_or_default().is_empty() {
            let seen = format!("{called} does not say which pods are its own");
            steps.push(Step::unknown(name::TARGET, seen));
        }
        Target { workload: Some(workload), steps, ..Target::default() }
    }

    /// The pods that a selector matches and the names of all, with what there is to say where something cannot be read.
    async fn pods(
        &self,
        namespace: &str,
        selector: &Selector,
    ) -> (Option<Vec<OwnedPod>>, Vec<String>, Vec<Step>) {
        let unreadable = |what: &str, unread: &Unread| {
            Step::unknown(name::TARGET, format!("the {what} cannot be listed: {unread}"))
        };
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let pods = match self.0.list(&path, "Pod").await {
            Ok(pods) => pods,
            Err(unread) => return (None, Vec::new(), vec![unreadable("pods", &unread)]),
        };
        let text = |value: &Value, pointer: &str| {
            value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let all = pods.iter().map(|pod| text(pod, "/metadata/name")).collect();
        let is_owned_by = |kind: &str| {
            let mut owners = pods
                .iter()
                .filter_map(|pod| pod.pointer("/metadata/ownerReferences")?.as_array())
                .flatten();
            owners.any(|owner| text(owner, "/kind") == kind)
        };
        let mut steps = Vec::new();
        let mut owners = Vec::new();
        for (kind, group, resource) in
            [("ReplicaSet", "apps", "replicasets"), ("Job", "batch", "jobs")]
        {
            if !is_owned_by(kind) {
                continue;
            }
            let path = format!("/apis/{group}/v1/namespaces/{namespace}/{resource}");
            match self.0.list(&path, kind).await {
                Ok(found) => owners.extend(found),
                Err(unread) => steps.push(unreadable(resource, &unread)),
            }
        }
        let documents = Documents::new(pods.into_iter().chain(owners).collect());
        (Some(documents.pods(namespace, selector)), all, steps)
    }

    /// The `APIService`s of a group's versions, the preferred one first.
    pub(crate) async fn registrations(
        &self,
        group: Group,
    ) -> Result<Vec<(&'static str, Value)>, Unread> {
        let mut found = Vec::new();
        for version in group.versions {
            match self.0.get(&format!("{REGISTRATIONS}/{version}.{}", group.name)).await {
                Ok(document) => found.push((*version, document)),
                Err(unread) if unread.is_absent() => {}
                Err(unread) => return Err(unread),
            }
        }
        Ok(found)
    }

    /// Who serves an API, and what there is to say of that.
    pub(crate) async fn registration(&self, api: Api) -> (Step, Option<Server>) {
        let group = group(api);
        let found = match self.registrations(group).await {
            Ok(found) => found,
            Err(unread) => return self.discovered(api, &unread).await,
        };
        let is_available =
            |(_, document): &&(&str, Value)| registration::is_available(document) == Some(true);
        let chosen = found.iter().find(is_available).or(found.first());
        let Some((version, document)) = chosen else {
            let version = group.versions.first().copied().unwrap_or_default();
            return (registration::missing(group.name, version), None);
        };
        let step = registration::step(document);
        let server = Server {
            api,
            prefix: format!("/apis/{}/{version}", group.name),
            service: registration::service(document),
        };
        let server = Some(server).filter(|_| !step.is_failure());
        (step, server)
    }

    /// Who serves an API, as far as API discovery says it: everybody may read that.
    async fn discovered(&self, api: Api, why: &Unread) -> (Step, Option<Server>) {
        let group = group(api);
        let document = match self.0.get(&format!("/apis/{}", group.name)).await {
            Ok(document) => document,
            Err(unread) if unread.is_absent() => {
                let version = group.versions.first().copied().unwrap_or_default();
                return (registration::missing(group.name, version), None);
            }
            Err(unread) => {
                let seen = format!("who serves {} cannot be read: {unread}", group.name);
                let advice = "see whether kube-apiserver answers: kubectl get --raw /readyz";
                let cause = Cause::ApiserviceUnavailable;
                return (Step::found(name::APISERVICE, cause, seen, advice), None);
            }
        };
        let versions = document.get("versions").and_then(Value::as_array);
        let versions: Vec<_> =
            versions.into_iter().flatten().filter_map(|it| it.get("version")?.as_str()).collect();
        let version = group.versions.iter().find(|version| versions.contains(version));
        let server = version.map(|version| Server {
            api,
            prefix: format!("/apis/{}/{version}", group.name),
            service: None,
        });
        let seen = format!("{} is registered, and by whom cannot be read: {why}", group.name);
        (Step::unknown(name::APISERVICE, seen), server)
    }

    /// What a server says of a metric.
    pub(crate) async fn ask(&self, server: &Server, inquiry: &Inquiry) -> Result<Answered, Step> {
        let path = explanation::path(&server.prefix, inquiry);
        let mut text = self.0.text_within(PATIENCE, &path).await;
        for _ in 1..TRIES {
            let is_busy = matches!(&text, Err(unread) if unread.code == 429);
            if !is_busy {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            text = self.0.text_within(PATIENCE, &path).await;
        }
        let text = text.map_err(|unread| refused(server, inquiry, &unread))?;
        explanation::decode(&text).map_err(|error| match error {
            DecodeError::Other => other_owner(server),
            error @ DecodeError::Form(_) => Step::found(
                name::APISERVICE,
                Cause::ApiserviceOtherOwner,
                error.to_string(),
                "use a loadline of the version that is deployed",
            ),
        })
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
        for api in [Api::Custom, Api::External] {
            if inquiries.iter().any(|inquiry| inquiry.api() == api) {
                let (step, server) = self.registration(api).await;
                way.steps.push(step);
                way.servers.extend(server);
            }
        }
        if way.servers.is_empty() {
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
        let own = way.servers.iter().find(|server| server.api == inquiry.api());
        let unread = match own {
            None => Some("its API is not served"),
            Some(_) if way.denied.contains(inquiry) => Some("the HPA controller may not read it"),
            Some(_) => None,
        };
        let Some(server) = own.or(way.servers.first()) else {
            return Ok(valueless("nobody can be asked for it"));
        };
        let answered = match self.ask(server, inquiry).await {
            Ok(answered) => answered,
            // Of an API that nothing asks for, nothing is to be said.
            Err(_) if own.is_none() => return Ok(valueless("nobody can be asked for it")),
            Err(step) => return Err(step),
        };
        let mut answered = better_known(answered, inquiry, known);
        if let Some(why) = unread {
            // Whatever it is, the controller does not see it.
            answered.found.values = Err(why.to_owned());
        }
        Ok(answered)
    }
}

/// Puts what is known of pods and their owners in the place of what the server knows of them.
fn better_known(answered: Answered, inquiry: &Inquiry, known: Known) -> Answered {
    let Known { selected: Some(selected), all, owner } = known else { return answered };
    let Subject::Objects { resource, which } = &inquiry.subject else { return answered };
    let asked = Asked {
        metric: inquiry.metric.clone(),
        // The steps only write it.
        of: Of::Objects { kind: Err(resource.clone()), which: which.clone() },
        namespace: inquiry.namespace.clone(),
        selector: inquiry.selector.clone(),
        is_at_zero: inquiry.is_at_zero,
    };
    let objects = ObjectsFacts { selected, all, is_known: true, owner };
    let steps = metric::with_objects(answered.steps, metric::objects(&asked, &objects));
    Answered { steps, ..answered }
}

fn valueless(why: &str) -> Answered {
    let found = Found { values: Err(why.to_owned()), query: String::new(), history: None };
    Answered { steps: Vec::new(), found }
}

fn group(api: Api) -> Group {
    match api {
        Api::Custom => CUSTOM,
        Api::External => EXTERNAL,
    }
}

fn other_owner(server: &Server) -> Step {
    registration::other_owner(group(server.api).name, server.service.as_deref())
}

/// Why the server did not explain.
fn refused(server: &Server, inquiry: &Inquiry, unread: &Unread) -> Step {
    let api = group(server.api).name;
    // What a server says that takes the path for another one.
    let is_other_path = unread.message.contains("invalid request path");
    match unread.code {
        401 | 403 => {
            let place = inquiry.namespace.as_ref();
            let advice = match place {
                Some(namespace) => format!(
                    "have the ClusterRole `loadline-explain` bound to you in namespace {namespace}"
                ),
                None => "have the ClusterRole `loadline-explain` bound to you".to_owned(),
            };
            let seen = unread.message.clone();
            Step::found(name::ACCESS, Cause::NotAuthorizedMe, seen, advice)
        }
        404 | 405 => other_owner(server),
        400 if is_other_path => other_owner(server),
        400 => Step::unsound(name::HPA, unread.to_string(), "correct the name or the selector"),
        _ => {
            let seen = format!("the server of {api} has not explained it: {unread}");
            let advice = "see whether its pods are ready and what their log says, and whether kube-apiserver reaches them";
            Step::found(name::APISERVICE, Cause::ApiserviceUnavailable, seen, advice)
        }
    }
}

fn autoscalers(namespace: &str) -> String {
    format!("/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers")
}

/// The path of a workload. Its kind says the resource, as for all kinds that autoscalers are used with.
fn path_of(wanted: &CrossVersionObjectReference, namespace: &str) -> String {
    let version = match (wanted.kind.as_str(), wanted.api_version.as_deref()) {
        // Manifests still name versions that are no more.
        ("Deployment" | "ReplicaSet" | "StatefulSet", _) => "apps/v1",
        (_, version) => version.unwrap_or("v1"),
    };
    let root = if version.contains('/') { "/apis" } else { "/api" };
    let plural = guess_plural(&wanted.kind);
    format!("{root}/{version}/namespaces/{namespace}/{plural}/{}", wanted.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_have_paths_by_their_kinds() {
        for (kind, version, wanted) in [
            ("Deployment", Some("extensions/v1beta1"), "/apis/apps/v1/namespaces/n/deployments/x"),
            ("StatefulSet", None, "/apis/apps/v1/namespaces/n/statefulsets/x"),
            (
                "Rollout",
                Some("argoproj.io/v1alpha1"),
                "/apis/argoproj.io/v1alpha1/namespaces/n/rollouts/x",
            ),
            ("ReplicationController", Some("v1"), "/api/v1/namespaces/n/replicationcontrollers/x"),
        ] {
            let wanted_by = CrossVersionObjectReference {
                api_version: version.map(str::to_owned),
                kind: kind.to_owned(),
                name: "x".to_owned(),
            };
            assert_eq!(path_of(&wanted_by, "n"), wanted);
        }
    }
}
