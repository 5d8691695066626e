//! The documents that list for Kubernetes clients what this server serves.
//!
//! Shapes: `APIGroupList`, `APIGroup` and `APIResourceList` of meta/v1, and the aggregated form of
//! `apidiscovery.k8s.io/v2` that kube-apiserver and kubectl ask for by `Accept`. In the aggregated form no metric is listed:
//! kube-apiserver would import each of them into the discovery of the whole cluster.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::core::{
    catalog::Catalog, delegation::listing::Listing, kinds::GroupResource, team_rules::Names,
};

/// A served API group and its versions, the preferred one first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Group {
    /// The group's name.
    pub name: &'static str,
    /// Its versions.
    pub versions: &'static [&'static str],
}

/// custom.metrics.k8s.io as this server serves it.
pub const CUSTOM: Group = Group { name: super::custom::GROUP, versions: &["v1beta2", "v1beta1"] };

/// external.metrics.k8s.io as this server serves it.
pub const EXTERNAL: Group =
    Group { name: super::external::GROUP, versions: &[super::external::VERSION] };

/// metrics.k8s.io as this server serves it.
pub const RESOURCE: Group = Group { name: super::resource::GROUP, versions: &["v1", "v1beta1"] };

/// A version of apidiscovery.k8s.io. They differ in nothing else; Kubernetes before 1.30 only takes the first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Aggregated {
    /// `v2beta1`.
    V2beta1,
    /// `v2`.
    V2,
}

impl Aggregated {
    /// The version.
    pub fn version(self) -> &'static str {
        match self {
            Self::V2beta1 => "v2beta1",
            Self::V2 => "v2",
        }
    }

    /// The media type of [`aggregated`].
    pub fn media_type(self) -> &'static str {
        match self {
            Self::V2beta1 => {
                "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
            }
            Self::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        }
    }
}

/// `/apis`.
pub fn group_list(groups: &[Group]) -> Value {
    let groups: Vec<_> = groups.iter().map(|group| group_fields(*group)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/{group}`.
pub fn group(group: Group) -> Value {
    let mut document = json!({"kind": "APIGroup", "apiVersion": "v1"});
    if let (Some(document), Value::Object(fields)) = (document.as_object_mut(), group_fields(group))
    {
        document.extend(fields);
    }
    document
}

/// `/apis` in the aggregated form.
pub fn aggregated(groups: &[Group], form: Aggregated) -> Value {
    let items: Vec<_> = groups
        .iter()
        .map(|group| {
            let versions: Vec<_> = group
                .versions
                .iter()
                .map(|version| {
                    let resources = aggregated_resources(*group);
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            json!({"metadata": {"name": group.name, "creationTimestamp": null}, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{}", form.version()),
        "metadata": {},
        "items": items,
    })
}

/// Of metrics.k8s.io the aggregated form has the resources: they are two, and `kubectl get` finds them there.
fn aggregated_resources(group: Group) -> Vec<Value> {
    if group.name != RESOURCE.name {
        return Vec::new();
    }
    let resource = |(name, kind, is_namespaced): (&str, &str, bool)| {
        json!({
            "resource": name,
            "responseKind": {"group": "", "version": "", "kind": kind},
            "scope": if is_namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": "",
            "verbs": ["get", "list"],
        })
    };
    USAGE.map(resource).into()
}

/// The resources of metrics.k8s.io with their kinds, and whether they are namespaced.
const USAGE: [(&str, &str, bool); 2] =
    [("nodes", "NodeMetrics", false), ("pods", "PodMetrics", true)];

/// `APIResourceList` of meta/v1. It is written from what it lists, one resource after another: of some that are long there is
/// never a whole copy.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceList<R> {
    kind: &'static str,
    api_version: &'static str,
    group_version: String,
    resources: R,
}

/// The source of the resources, which is iterated several times.
struct Resources<R>(R);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource<'a> {
    name: Cow<'a, str>,
    singular_name: &'static str,
    namespaced: bool,
    kind: &'static str,
    verbs: &'static [&'static str],
}

impl<'a, R, I> Serialize for Resources<R>
where
    R: Fn() -> I,
    I: Iterator<Item = Resource<'a>>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

fn resource_list<'a, I>(group: Group, version: &str, resources: impl Fn() -> I) -> impl Serialize
where
    I: Iterator<Item = Resource<'a>>,
{
    ResourceList {
        kind: "APIResourceList",
        api_version: "v1",
        group_version: format!("{}/{version}", group.name),
        resources: Resources(resources),
    }
}

/// `/apis/metrics.k8s.io/{version}`: pods and nodes.
pub fn usage_resources(version: &str) -> impl Serialize {
    resource_list(RESOURCE, version, || {
        USAGE.iter().map(|(name, kind, namespaced)| Resource {
            name: Cow::Borrowed(name),
            singular_name: "",
            namespaced: *namespaced,
            kind,
            verbs: &["get", "list"],
        })
    })
}

/// What is listed: the metrics of rules, of delegates and of teams, in this order.
#[derive(Clone, Copy, Debug)]
pub struct Metrics<'c> {
    /// Those of rules.
    pub catalog: &'c Catalog,
    /// Those that delegates list.
    pub delegated: &'c Listing,
    /// Those of rules of teams.
    pub teams: &'c Names,
}

/// `/apis/custom.metrics.k8s.io/{version}`: every metric as a subresource of the kind that it describes.
pub fn custom_resources(version: &str, metrics: Metrics<'_>) -> impl Serialize {
    let Metrics { catalog, delegated, teams } = metrics;
    let resource = |name, namespaced| Resource {
        name: Cow::Owned(name),
        singular_name: "",
        namespaced,
        kind: "MetricValueList",
        verbs: &["get"],
    };
    resource_list(CUSTOM, version, move || {
        let of_rules = catalog.list().map(move |listed| {
            let name = format!("{}/{}", listed.kind.resource, listed.metric);
            resource(name, listed.kind.namespaced)
        });
        let of_delegates =
            delegated.custom().filter(move |(of, metric, _)| !is_ours(catalog, of, metric));
        let of_delegates = of_delegates
            .map(move |(of, metric, namespaced)| resource(format!("{of}/{metric}"), namespaced));
        let of_teams = teams.custom.iter().filter(move |(of, metric)| {
            catalog.get(of, metric).is_none() && delegated.owner(Some(of), metric).is_none()
        });
        let of_teams = of_teams.map(move |(of, metric)| resource(format!("{of}/{metric}"), true));
        of_rules.chain(of_delegates).chain(of_teams)
    })
}

fn is_ours(catalog: &Catalog, of: &GroupResource, metric: &str) -> bool {
    let kind = catalog.kinds().resolve(&of.group, &of.resource);
    kind.is_some_and(|kind| catalog.has(&kind.resource, metric))
}

/// `/apis/external.metrics.k8s.io/v1beta1`: every metric as a resource, with the verb that prometheus-adapter says, although an
/// authorizer is asked about `list`.
pub fn external_resources(metrics: Metrics<'_>) -> impl Serialize {
    let Metrics { catalog, delegated, teams } = metrics;
    resource_list(EXTERNAL, super::external::VERSION, move || {
        let own = catalog.external();
        let of_delegates = delegated.external().filter(move |metric| !own.has(metric));
        let of_teams = teams.external.iter().map(|metric| &**metric);
        let of_teams = of_teams
            .filter(move |metric| !own.has(metric) && delegated.owner(None, metric).is_none());
        own.names().chain(of_delegates).chain(of_teams).map(|metric| Resource {
            name: Cow::Borrowed(metric),
            singular_name: "",
            namespaced: true,
            kind: "ExternalMetricValueList",
            verbs: &["get"],
        })
    })
}

fn group_fields(group: Group) -> Value {
    let versions: Vec<_> = group
        .versions
        .iter()
        .map(|version| {
            json!({"groupVersion": format!("{}/{version}", group.name), "version": version})
        })
        .collect();
    json!({"name": group.name, "versions": versions, "preferredVersion": versions.first()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_the_shapes_of_meta_v1() {
        assert_eq!(
            group(CUSTOM).to_string(),
            r#"{"kind":"APIGroup","apiVersion":"v1","name":"custom.metrics.k8s.io","versions":[{"groupVersion":"custom.metrics.k8s.io/v1beta2","version":"v1beta2"},{"groupVersion":"custom.metrics.k8s.io/v1beta1","version":"v1beta1"}],"preferredVersion":{"groupVersion":"custom.metrics.k8s.io/v1beta2","version":"v1beta2"}}"#
        );
        assert_eq!(group_list(&[CUSTOM])["groups"][0]["name"], "custom.metrics.k8s.io");
        assert_eq!(
            aggregated(&[CUSTOM], Aggregated::V2)["items"][0]["versions"][0]["resources"],
            json!([])
        );
    }

    #[test]
    fn usage_is_of_pods_and_nodes() {
        assert_eq!(
            serde_json::to_string(&usage_resources("v1beta1")).unwrap(),
            r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"metrics.k8s.io/v1beta1","resources":[{"name":"nodes","singularName":"","namespaced":false,"kind":"NodeMetrics","verbs":["get","list"]},{"name":"pods","singularName":"","namespaced":true,"kind":"PodMetrics","verbs":["get","list"]}]}"#
        );
        let versions = &aggregated(&[RESOURCE], Aggregated::V2)["items"][0]["versions"];
        assert_eq!(versions[0]["version"], "v1");
        assert_eq!(versions[1]["resources"][1]["responseKind"]["kind"], "PodMetrics");
        assert_eq!(versions[1]["resources"][0]["scope"], "Cluster");
    }
}
