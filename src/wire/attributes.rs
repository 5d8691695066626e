//! What an authorizer judges of a request, by the rules of `k8s.io/apiserver/pkg/endpoints/request`.

use std::fmt;

use super::path::{self, PathError};

/// The attributes of a request. Segments are judged as they stand: `deployments.apps` is a resource of that name.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Attributes {
    /// `get`, `list` or `watch` for resources, the method in lower case for other paths.
    pub verb: String,
    /// What is asked for.
    pub target: Target,
}

/// What a request asks for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Target {
    /// A path that is no resource.
    Path(String),
    /// A resource. Empty texts stand for nothing.
    Resource {
        /// The API group.
        group: String,
        /// The version.
        version: String,
        /// The namespace.
        namespace: String,
        /// The resource.
        resource: String,
        /// The object's name, or `*`.
        name: String,
        /// What follows the name.
        subresource: String,
    },
}

impl Attributes {
    /// Takes a request apart: the path as it was sent, and whether its query asks to watch.
    pub fn of(method: &str, raw_path: &str, watch: bool) -> Result<Self, PathError> {
        let method = method.to_lowercase();
        let segments = path::segments(raw_path)?;
        let words: Vec<_> = segments.iter().map(String::as_str).collect();
        let ["apis", group, version, rest @ ..] = words.as_slice() else {
            return Ok(Self::path(method, raw_path));
        };
        let (namespace, rest) = match rest {
            [] => return Ok(Self::path(method, raw_path)),
            // A namespace itself is a resource like any other.
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let word = |at: usize| (*rest.get(at).unwrap_or(&"")).to_owned();
        let (resource, name, subresource) = (word(0), word(1), word(2));
        let verb = match method.as_str() {
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
        Ok(Self {
            verb: verb.to_owned(),
            target: Target::Resource {
                group: (*group).to_owned(),
                version: (*version).to_owned(),
                namespace: namespace.to_owned(),
                resource,
                name,
                subresource,
            },
        })
    }

    fn path(verb: String, path: &str) -> Self {
        Self { verb, target: Target::Path(path.to_owned()) }
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

impl fmt::Display for Attributes {
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
