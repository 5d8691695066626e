//! What may be read in a cluster: access reviews.

use std::fmt;

use serde_json::{Value, json};

use super::Cluster;
use crate::{
    core::{
        explain::{Cause, Inquiry, Step, Subject, facts::Which, name},
        kinds::{GroupResource, guess_plural},
    },
    explain::environment::Way,
    kubernetes::reader::Unread,
    wire::discovery::{CUSTOM, EXTERNAL, RESOURCE},
};

/// Who reads metrics for autoscalers.
pub(crate) const CONTROLLER: ServiceAccount<'_> =
    ServiceAccount { namespace: "kube-system", name: "horizontal-pod-autoscaler" };

/// A service account. Shown as the user that it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceAccount<'a> {
    /// Its namespace.
    pub(crate) namespace: &'a str,
    /// Its name.
    pub(crate) name: &'a str,
}

impl fmt::Display for ServiceAccount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

impl Cluster {
    /// Whether the HPA controller may read a metric.
    pub(crate) async fn controller_may(&self, inquiry: &Inquiry) -> Result<bool, Unread> {
        self.may(CONTROLLER, &attributes(inquiry)).await
    }

    /// Whether a service account may do what resource attributes describe.
    pub(crate) async fn may(
        &self,
        account: ServiceAccount<'_>,
        attributes: &Value,
    ) -> Result<bool, Unread> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": account.to_string(),
                "groups": [
                    "system:serviceaccounts",
                    format!("system:serviceaccounts:{}", account.namespace),
                    "system:authenticated",
                ],
                "resourceAttributes": attributes,
            },
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let reviewed = self.0.review(path, &review).await?;
        Ok(reviewed.pointer("/status/allowed") == Some(&Value::Bool(true)))
    }

    /// Whether the HPA controller may read the metrics.
    pub(crate) async fn access(&self, inquiries: &[Inquiry], way: &mut Way) {
        let mut allowed: Vec<&str> = Vec::new();
        let mut steps: Vec<Step> = Vec::new();
        for inquiry in inquiries {
            let attributes = attributes(inquiry);
            let step = match self.may(CONTROLLER, &attributes).await {
                Ok(true) => {
                    allowed.push(&inquiry.metric);
                    continue;
                }
                Ok(false) => {
                    way.denied.push(inquiry.clone());
                    denied(inquiry, &attributes)
                }
                Err(unread) => Step::unknown(
                    name::ACCESS,
                    format!("whether the HPA controller may read it cannot be asked: {unread}"),
                ),
            };
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
        if !allowed.is_empty() {
            let seen = format!("the HPA controller may read {}", allowed.join(", "));
            way.steps.push(Step::good(name::ACCESS, seen));
        }
        way.steps.extend(steps);
    }
}

fn denied(inquiry: &Inquiry, attributes: &Value) -> Step {
    let text = |key: &str| attributes.get(key).and_then(Value::as_str).unwrap_or_default();
    let (verb, group, resource) = (text("verb"), text("group"), text("resource"));
    let what = match text("subresource") {
        "" => resource.to_owned(),
        metric => format!("{resource}/{metric}"),
    };
    let place =
        inquiry.namespace.as_ref().map_or(String::new(), |it| format!(" in namespace {it}"));
    let advice = match inquiry.subject {
        Subject::Usage { .. } => {
            "restore the ClusterRole `system:controller:horizontal-pod-autoscaler` of Kubernetes, which allows it"
        }
        _ => {
            "bind a ClusterRole to it that allows get and list of these, such as `hpa-controller-custom-metrics` of the manifests"
        }
    };
    let seen = format!("{CONTROLLER} may not {verb} {what} of {group}{place}");
    Step::found(name::ACCESS, Cause::NotAuthorized, seen, advice)
}

/// The resource attributes of the HPA controller's read.
fn attributes(inquiry: &Inquiry) -> Value {
    let namespace = inquiry.namespace.as_deref().unwrap_or_default();
    match &inquiry.subject {
        Subject::External => json!({
            "verb": "list", "group": EXTERNAL.name, "version": EXTERNAL.versions.first(),
            "namespace": namespace, "resource": inquiry.metric,
        }),
        Subject::Usage { .. } => json!({
            "verb": "list", "group": RESOURCE.name, "version": "v1beta1",
            "namespace": namespace, "resource": "pods",
        }),
        Subject::Objects { resource, which } => {
            let GroupResource { group, resource } = GroupResource::parse(resource);
            // What people and autoscalers write is a singular or a kind.
            let is_plural = resource.ends_with('s') && !resource.ends_with("ss");
            let plural = if is_plural { resource } else { guess_plural(&resource) };
            let resource = GroupResource { group, resource: plural }.to_string();
            let name = match which {
                Which::Named(name) => name.as_str(),
                Which::Selected(_) => "*",
            };
            if resource == "namespaces" {
                // Metrics of a namespace have a path of their own.
                return json!({
                    "verb": "get", "group": CUSTOM.name, "version": CUSTOM.versions.first(),
                    "namespace": name, "resource": "metrics", "name": inquiry.metric,
                });
            }
            json!({
                "verb": "get", "group": CUSTOM.name, "version": CUSTOM.versions.first(),
                "namespace": namespace, "resource": resource, "name": name, "subresource": inquiry.metric,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::selector::Selector;

    #[test]
    fn the_controller_asks_for_resources_in_the_plural() {
        let of = |resource: &str, which: Which| {
            attributes(&Inquiry {
                metric: "m".to_owned(),
                subject: Subject::Objects { resource: resource.to_owned(), which },
                namespace: Some("n".to_owned()),
                selector: Selector::default(),
                is_at_zero: false,
            })
        };
        let named = || Which::Named("x".to_owned());
        for (resource, which, wanted) in [
            ("pods", Which::Selected(Selector::default()), ["n", "pods", "*", "m"]),
            ("service", named(), ["n", "services", "x", "m"]),
            ("ingress.networking.k8s.io", named(), ["n", "ingresses.networking.k8s.io", "x", "m"]),
            ("deployments.apps", named(), ["n", "deployments.apps", "x", "m"]),
        ] {
            let attributes = of(resource, which);
            let found =
                ["namespace", "resource", "name", "subresource"].map(|key| &attributes[key]);
            assert_eq!(found, wanted, "{resource}");
        }
        assert_eq!(of("namespace", named())["resource"], "metrics");
    }
}
