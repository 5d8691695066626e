//! What an authorizer judges of a request, by the rules of `k8s.io/apiserver/pkg/endpoints/request`.

use std::{borrow::Cow, fmt};

use super::path::{self, PathError};

/// The attributes of a request. Segments are judged as they stand: `deployments.apps` is a resource of that name.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Attributes<'a> {
    /// `get`, `list` or `watch` for resources, the method in lower case for other paths.
    pub verb: Cow<'static, str>,
    /// The requested path or resource.
    pub target: Target<'a>,
}

/// The target of a request.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Target<'a> {
    /// A path that is no resource.
    Path(Cow<'a, str>),
    /// A resource. Empty texts stand for nothing.
    Resource {
        /// The API group.
        group: Cow<'a, str>,
        /// The version.
        version: Cow<'a, str>,
        /// The namespace.
        namespace: Cow<'a, str>,
        /// The resource.
        resource: Cow<'a, str>,
        /// The object's name, or `*`.
        name: Cow<'a, str>,
        /// What follows the name.
        subresource: Cow<'a, str>,
    },
}

impl<'a> Attributes<'a> {
    /// How long the texts of the target are together, in bytes.
    pub fn bytes(&self) -> usize {
        match &self.target {
            Target::Path(path) => path.len(),
            Target::Resource { group, version, namespace, resource, name, subresource } => {
                [group, version, namespace, resource, name, subresource]
                    .iter()
                    .map(|text| text.len())
                    .sum()
            }
        }
    }

    /// Takes a request apart: the path as it was sent, and whether its query asks to watch.
    pub fn of(method: &str, raw_path: &'a str, watch: bool) -> Result<Self, PathError> {
        let mut words: [Cow<'a, str>; 8] = Default::default();
        let mut count = 0;
        for segment in path::segments(raw_path) {
            let segment = segment?;
            if let Some(word) = words.get_mut(count) {
                *word = segment;
            }
            count += 1;
        }
        let [root, group, version, first, second, third, fourth, fifth] = words;
        if root != "apis" || count < 4 {
            return Ok(Self { verb: lower(method), target: Target::Path(raw_path.into()) });
        }
        let (namespace, resource, name, subresource) = if first == "namespaces" && count > 5 {
            (second, third, fourth, fifth)
        } else {
            // A namespace itself is a resource like any other.
            (Cow::default(), first, second, third)
        };
        let verb = match &*lower(method) {
            "get" | "head" if watch => "watch",
            "get" | "head" if name.is_empty() => "list",
            "get" | "head" => "get",
            "post" => "create",
            "put" => "update",
            "patch" => "patch",
            "delete" if name.is_empty() => "deletecollection",
            "delete" => "delete",
            _ => "",
        };
        let target = Target::Resource { group, version, namespace, resource, name, subresource };
        Ok(Self { verb: verb.into(), target })
    }

    /// The same, kept for longer than the request.
    pub fn into_owned(self) -> Attributes<'static> {
        let owned = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        let target = match self.target {
            Target::Path(path) => Target::Path(owned(path)),
            Target::Resource { group, version, namespace, resource, name, subresource } => {
                Target::Resource {
                    group: owned(group),
                    version: owned(version),
                    namespace: owned(namespace),
                    resource: owned(resource),
                    name: owned(name),
                    subresource: owned(subresource),
                }
            }
        };
        Attributes { verb: self.verb, target }
    }

    /// The sentence of a refusal, as an API server says it.
    pub fn refusal(&self, user: &str) -> String {
        format!("{}User \"{user}\" cannot {self}", self.subject())
    }

    fn subject(&self) -> String {
        match &self.target {
            Target::Path(_) => "forbidden: ".to_owned(),
            Target::Resource { group, resource, name, .. } if name.is_empty() => {
                format!("{resource}.{group} is forbidden: ")
            }
            Target::Resource { group, resource, name, .. } => {
                format!("{resource}.{group} \"{name}\" is forbidden: ")
            }
        }
    }
}

impl fmt::Display for Attributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = &self.verb;
        match &self.target {
            Target::Path(path) => write!(f, "{verb} path \"{path}\""),
            Target::Resource { group, namespace, resource, subresource, .. } => {
                let slash = if subresource.is_empty() { "" } else { "/" };
                write!(
                    f,
                    "{verb} resource \"{resource}{slash}{subresource}\" in API group \"{group}\""
                )?;
                if namespace.is_empty() {
                    f.write_str(" at the cluster scope")
                } else {
                    write!(f, " in the namespace \"{namespace}\"")
                }
            }
        }
    }
}

fn lower(method: &str) -> Cow<'static, str> {
    match method {
        "GET" => "get".into(),
        method => method.to_lowercase().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shown(method: &str, path: &str, watch: bool) -> String {
        let attributes = Attributes::of(method, path, watch).unwrap();
        match attributes.target {
            Target::Path(path) => format!("{} {path}", attributes.verb),
            Target::Resource { group, version, namespace, resource, name, subresource } => format!(
                "{} g={group} v={version} ns={namespace} r={resource} n={name} s={subresource}",
                attributes.verb
            ),
        }
    }

    #[test]
    fn requests_are_judged_as_kubernetes_does() {
        let custom = "/apis/custom.metrics.k8s.io/v1beta1";
        let cases = [
            (
                "GET",
                format!("{custom}/namespaces/n/pods/*/m"),
                "get g=custom.metrics.k8s.io v=v1beta1 ns=n r=pods n=* s=m",
            ),
            (
                "GET",
                format!("{custom}/namespaces/n/pods/p/m"),
                "get g=custom.metrics.k8s.io v=v1beta1 ns=n r=pods n=p s=m",
            ),
            (
                "GET",
                format!("{custom}/namespaces/n/deployments.apps/d/m"),
                "get g=custom.metrics.k8s.io v=v1beta1 ns=n r=deployments.apps n=d s=m",
            ),
            (
                "GET",
                format!("{custom}/namespaces/n/metrics/m"),
                "get g=custom.metrics.k8s.io v=v1beta1 ns=n r=metrics n=m s=",
            ),
            (
                "GET",
                format!("{custom}/nodes/n1/m"),
                "get g=custom.metrics.k8s.io v=v1beta1 ns= r=nodes n=n1 s=m",
            ),
            (
                "HEAD",
                format!("{custom}/nodes/n1/m"),
                "get g=custom.metrics.k8s.io v=v1beta1 ns= r=nodes n=n1 s=m",
            ),
            (
                "POST",
                format!("{custom}/nodes/n1/m"),
                "create g=custom.metrics.k8s.io v=v1beta1 ns= r=nodes n=n1 s=m",
            ),
            (
                "GET",
                "/apis/external.metrics.k8s.io/v1beta1/namespaces/n/q".to_owned(),
                "list g=external.metrics.k8s.io v=v1beta1 ns=n r=q n= s=",
            ),
            (
                "GET",
                "/apis/external.metrics.k8s.io/v1beta1/namespaces/*/vllm%3Aq/".to_owned(),
                "list g=external.metrics.k8s.io v=v1beta1 ns=* r=vllm:q n= s=",
            ),
            (
                "GET",
                "/apis/external.metrics.k8s.io/v1beta1//namespaces/n/q".to_owned(),
                "get g=external.metrics.k8s.io v=v1beta1 ns= r= n=namespaces s=n",
            ),
            (
                "GET",
                format!("{custom}/namespaces/n%2Fm/pods/a%20b/m"),
                "get g=custom.metrics.k8s.io v=v1beta1 ns=n/m r=pods n=a b s=m",
            ),
            (
                "GET",
                "/apis/custom.metrics.k8s.io/v1beta1".to_owned(),
                "get /apis/custom.metrics.k8s.io/v1beta1",
            ),
            ("GET", "/apis".to_owned(), "get /apis"),
            ("HEAD", "/metrics".to_owned(), "head /metrics"),
        ];
        for (method, path, wanted) in cases {
            assert_eq!(shown(method, &path, false), wanted, "{method} {path}");
        }
        assert!(shown("GET", &format!("{custom}/nodes/*/m"), true).starts_with("watch "));
        let external = "/apis/external.metrics.k8s.io/v1beta1/namespaces/n/q";
        assert!(shown("GET", external, true).starts_with("watch "));
        assert!(shown("GET", "/metrics", true).starts_with("get "));
    }

    #[test]
    fn refusals_are_worded_as_by_an_api_server() {
        let refusal = |path: &str| Attributes::of("GET", path, false).unwrap().refusal("u");
        assert_eq!(
            refusal("/apis/custom.metrics.k8s.io/v1beta1/namespaces/n/pods/*/m"),
            r#"pods.custom.metrics.k8s.io "*" is forbidden: User "u" cannot get resource "pods/m" in API group "custom.metrics.k8s.io" in the namespace "n""#
        );
        assert_eq!(
            refusal("/apis/external.metrics.k8s.io/v1beta1/namespaces/n/q"),
            r#"q.external.metrics.k8s.io is forbidden: User "u" cannot list resource "q" in API group "external.metrics.k8s.io" in the namespace "n""#
        );
        assert_eq!(
            refusal("/apis/custom.metrics.k8s.io/v1beta1/nodes/a/m"),
            r#"nodes.custom.metrics.k8s.io "a" is forbidden: User "u" cannot get resource "nodes/m" in API group "custom.metrics.k8s.io" at the cluster scope"#
        );
        assert_eq!(refusal("/metrics"), r#"forbidden: User "u" cannot get path "/metrics""#);
    }
}
