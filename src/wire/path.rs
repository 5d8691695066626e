//! Paths below `/apis/custom.metrics.k8s.io/{version}`, `/apis/external.metrics.k8s.io/{version}` and
//! `/apis/metrics.k8s.io/{version}`.

mod written;

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

pub(in crate::wire) use self::written::segment;
use super::explanation;
use crate::core::kinds::GroupResource;

/// A read of the custom metrics API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MetricPath {
    /// The namespace of the described objects; nothing for cluster-scoped ones.
    pub namespace: Option<String>,
    /// The described resource as written, singular or plural.
    pub resource: GroupResource,
    /// The requested objects.
    pub name: Name,
    /// The metric's name.
    pub metric: String,
}

impl MetricPath {
    /// The namespace that is read: the one of the objects, or a namespace that is the object itself; empty for what is in none.
    pub fn scope(&self) -> &str {
        match (&self.namespace, &self.name) {
            (Some(namespace), _) => namespace,
            (None, Name::One(name)) if self.is_of_namespaces() => name,
            (None, _) => "",
        }
    }

    pub(in crate::wire) fn is_of_namespaces(&self) -> bool {
        self.resource.is_of_namespaces()
    }
}

/// A read of the external metrics API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExternalPath {
    /// The namespace of the request. `*` is not a wildcard: it is a namespace without objects.
    pub namespace: String,
    /// The metric's name.
    pub metric: String,
}

/// A read of the resource metrics API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum UsagePath {
    /// Pods: one of a namespace, all of a namespace, or all.
    Pods {
        /// The namespace; nothing for all.
        namespace: Option<String>,
        /// The pod, which is in a namespace.
        name: Option<String>,
    },
    /// Nodes.
    Nodes {
        /// The node; nothing for all.
        name: Option<String>,
    },
}

/// A read of the explanation of a metric.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExplanationPath {
    /// The namespace; nothing for objects that are in none.
    pub namespace: Option<String>,
    /// The metric's name.
    pub metric: String,
}

/// The objects that a path names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Name {
    /// One object.
    One(String),
    /// `*`: all that match the label selector.
    All,
}

/// A path that is no read of a metric.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PathError {
    /// Not UTF-8 once percent-decoded.
    #[error("the path is not UTF-8 once percent-decoded")]
    NotUtf8,
    /// A name that no object can have.
    #[error("`{0}` cannot be the name of an object or a namespace")]
    Name(String),
    /// None of the three forms.
    #[error(
        "invalid request path: expected namespaces/NAMESPACE/RESOURCE/NAME/METRIC, RESOURCE/NAME/METRIC or namespaces/NAMESPACE/metrics/METRIC"
    )]
    Form,
    /// Not the form of external metrics.
    #[error("invalid request path: expected namespaces/NAMESPACE/METRIC")]
    ExternalForm,
    /// Not the form of resource metrics.
    #[error(
        "invalid request path: expected nodes[/NAME], pods or namespaces/NAMESPACE/pods[/NAME]"
    )]
    UsageForm,
}

/// Takes apart what stands behind the version in a custom metrics URL, and the slash there: still percent-encoded, without
/// the query.
pub fn parse(rest: &str) -> Result<MetricPath, PathError> {
    let segments = whole_segments(rest)?.ok_or(PathError::Form)?;
    let words: Vec<_> = segments.iter().map(|segment| &**segment).collect();
    match *words.as_slice() {
        ["namespaces", namespace, "metrics", metric] => Ok(MetricPath {
            namespace: None,
            resource: GroupResource::parse("namespaces"),
            name: name(namespace)?,
            metric: metric.to_owned(),
        }),
        ["namespaces", namespace, resource, object, metric] => Ok(MetricPath {
            namespace: Some(self::namespace(namespace)?),
            resource: GroupResource::parse(resource),
            name: name(object)?,
            metric: metric.to_owned(),
        }),
        ["namespaces", ..] => Err(PathError::Form),
        [resource, object, metric] => Ok(MetricPath {
            namespace: None,
            resource: GroupResource::parse(resource),
            name: name(object)?,
            metric: metric.to_owned(),
        }),
        _ => Err(PathError::Form),
    }
}

/// Takes apart what stands behind the version in an external metrics URL, as [`parse`] does for custom metrics.
pub fn parse_external(rest: &str) -> Result<ExternalPath, PathError> {
    let segments = whole_segments(rest)?.ok_or(PathError::ExternalForm)?;
    let words: Vec<_> = segments.iter().map(|segment| &**segment).collect();
    match *words.as_slice() {
        ["namespaces", namespace, metric] => Ok(ExternalPath {
            namespace: match namespace {
                "*" => namespace.to_owned(),
                namespace => self::namespace(namespace)?,
            },
            metric: metric.to_owned(),
        }),
        _ => Err(PathError::ExternalForm),
    }
}

/// Takes apart what stands behind the version in a resource metrics URL, as [`parse`] does for custom metrics.
pub fn parse_usage(rest: &str) -> Result<UsagePath, PathError> {
    let segments = whole_segments(rest.strip_suffix('/').unwrap_or(rest))?;
    let segments = segments.ok_or(PathError::UsageForm)?;
    let words: Vec<_> = segments.iter().map(|segment| &**segment).collect();
    match *words.as_slice() {
        ["nodes"] => Ok(UsagePath::Nodes { name: None }),
        ["nodes", node] => Ok(UsagePath::Nodes { name: Some(one(node)?) }),
        ["pods"] => Ok(UsagePath::Pods { namespace: None, name: None }),
        ["namespaces", namespace, "pods"] => {
            Ok(UsagePath::Pods { namespace: Some(self::namespace(namespace)?), name: None })
        }
        ["namespaces", namespace, "pods", pod] => Ok(UsagePath::Pods {
            namespace: Some(self::namespace(namespace)?),
            name: Some(one(pod)?),
        }),
        _ => Err(PathError::UsageForm),
    }
}

/// Takes apart what stands behind the version in the URL of an explanation, as [`parse`] does for custom metrics; nothing where it
/// asks for something else.
pub fn parse_explanation(rest: &str) -> Result<Option<ExplanationPath>, PathError> {
    let Some(segments) = whole_segments(rest)? else { return Ok(None) };
    let words: Vec<_> = segments.iter().map(|segment| &**segment).collect();
    Ok(match *words.as_slice() {
        ["namespaces", namespace, explanation::RESOURCE, metric] => Some(ExplanationPath {
            namespace: Some(self::namespace(namespace)?),
            metric: metric.to_owned(),
        }),
        [explanation::RESOURCE, metric] => {
            Some(ExplanationPath { namespace: None, metric: metric.to_owned() })
        }
        _ => None,
    })
}

/// The same, from a namespace and a metric that are not in a path. The namespace is empty for objects that are in none.
pub fn explanation_of(namespace: &str, metric: &str) -> Result<ExplanationPath, PathError> {
    let namespace = (!namespace.is_empty()).then(|| self::namespace(namespace)).transpose()?;
    Ok(ExplanationPath { namespace, metric: metric.to_owned() })
}

/// Whether what stands behind the version in a URL has the form of an explanation's. It may still be refused by
/// [`parse_explanation`]; this looks at each path that is sent, however long, and so at its beginning only.
pub fn is_explanation(rest: &str) -> bool {
    let mut segments = segments(rest).map_while(Result::ok);
    let words: [_; 5] = std::array::from_fn(|_| segments.next());
    matches!(
        words.each_ref().map(Option::as_deref),
        [Some("namespaces"), Some(_), Some(explanation::RESOURCE), Some(_), None]
            | [Some(explanation::RESOURCE), Some(_), None, ..]
    )
}

/// The segments of what stands behind the version, if none is empty.
fn whole_segments(rest: &str) -> Result<Option<Vec<Cow<'_, str>>>, PathError> {
    // A second slash is an empty segment, as it is for who judges access: else something else would be read than was judged.
    if rest.starts_with('/') {
        return Ok(None);
    }
    let segments = segments(rest).collect::<Result<Vec<_>, _>>()?;
    Ok(segments.iter().all(|segment| !segment.is_empty()).then_some(segments))
}

/// The percent-decoded segments of a path, without slashes at its ends. `+` and a `%` without two hex digits stay as they are.
pub(super) fn segments(path: &str) -> impl Iterator<Item = Result<Cow<'_, str>, PathError>> {
    path.trim_matches('/')
        .split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8().ok().ok_or(PathError::NotUtf8))
}

/// Object names are put into queries, in templates as they are: characters that no name of a kind has (quotes, braces, white
/// space, slashes) would let a reader write queries.
fn name(segment: &str) -> Result<Name, PathError> {
    let is_in_names = |c: char| c.is_ascii_alphanumeric() || "-._:@~+=".contains(c);
    match segment {
        "*" => Ok(Name::All),
        "." | ".." => Err(PathError::Name(segment.to_owned())),
        name if name.chars().all(is_in_names) => Ok(Name::One(name.to_owned())),
        name => Err(PathError::Name(name.to_owned())),
    }
}

/// The name of one object: there are no wildcards.
pub fn one(segment: &str) -> Result<String, PathError> {
    match name(segment)? {
        Name::One(name) => Ok(name),
        Name::All => Err(PathError::Name(segment.to_owned())),
    }
}

/// A namespace's name is a DNS label.
fn namespace(segment: &str) -> Result<String, PathError> {
    let is_in_labels = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if segment.len() <= 63 && segment.chars().all(is_in_labels) {
        Ok(segment.to_owned())
    } else {
        Err(PathError::Name(segment.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn shown(rest: &str) -> String {
        match parse(rest) {
            Ok(path) => format!(
                "{} {} {} {}",
                path.namespace.as_deref().unwrap_or("-"),
                path.resource,
                match &path.name {
                    Name::One(name) => name,
                    Name::All => "ALL",
                },
                path.metric
            ),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn the_namespace_that_is_read() {
        for (rest, scope) in [
            ("namespaces/n/pods/p/m", "n"),
            ("namespaces/n/metrics/m", "n"),
            ("namespaces/*/metrics/m", ""),
            ("namespace/n/m", "n"),
            ("namespaces.example.com/n/m", ""),
            ("nodes/n/m", ""),
        ] {
            assert_eq!(parse(rest).unwrap().scope(), scope, "{rest}");
        }
    }

    #[test]
    fn the_three_forms() {
        let cases = [
            ("namespaces/n/pods/p/m", "n pods p m"),
            ("namespaces/n/pods/*/m/", "n pods ALL m"),
            ("/namespaces/n/pods/*/m", "Form"),
            ("namespaces/n/ingresses.networking.k8s.io/i/m", "n ingresses.networking.k8s.io i m"),
            ("nodes/a/m", "- nodes a m"),
            ("nodes/*/m", "- nodes ALL m"),
            ("namespaces/n/metrics/m", "- namespaces n m"),
            ("namespaces/*/metrics/m", "- namespaces ALL m"),
            ("namespaces/n/pods/%2A/vllm%3Anum_requests", "n pods ALL vllm:num_requests"),
            ("namespaces/n/pods/a%2Fb/m", "Name(\"a/b\")"),
            ("namespaces/n/pods/%22%7D%20or%20up%7B/m", "Name(\"\\\"} or up{\")"),
            ("namespaces/n%22/pods/p/m", "Name(\"n\\\"\")"),
            ("namespaces/*/pods/*/m", "Name(\"*\")"),
            ("namespaces/n/roles/system:masters/m", "n roles system:masters m"),
            ("namespaces/n/m", "Form"),
            ("namespaces/n", "Form"),
            ("namespaces/n/pods//m", "Form"),
            ("namespaces/n/pods/p/m/more", "Form"),
            ("pods/m", "Form"),
            ("", "Form"),
            ("nodes/%ff/m", "NotUtf8"),
            ("nodes/n/100%", "- nodes n 100%"),
        ];
        for (rest, wanted) in cases {
            assert_eq!(shown(rest), wanted, "{rest}");
        }
    }

    #[test]
    fn the_form_of_external_metrics() {
        let cases = [
            ("namespaces/n/m", "n m"),
            ("namespaces/n/m/", "n m"),
            ("namespaces/*/m", "* m"),
            ("namespaces/n/vllm%3Anum_requests", "n vllm:num_requests"),
            ("namespaces/n/a%2Fb", "n a/b"),
            ("namespaces/namespaces/namespaces", "namespaces namespaces"),
            ("/namespaces/n/m", "ExternalForm"),
            ("namespaces//m", "ExternalForm"),
            ("namespaces/n/m/more", "ExternalForm"),
            ("namespaces/n", "ExternalForm"),
            ("m", "ExternalForm"),
            ("", "ExternalForm"),
            ("namespaces/n%22/m", "Name(\"n\\\"\")"),
            ("namespaces/n|x/m", "Name(\"n|x\")"),
            ("namespaces/n/%ff", "NotUtf8"),
        ];
        for (rest, wanted) in cases {
            let shown = match parse_external(rest) {
                Ok(path) => format!("{} {}", path.namespace, path.metric),
                Err(error) => format!("{error:?}"),
            };
            assert_eq!(shown, wanted, "{rest}");
        }
    }

    #[test]
    fn the_form_of_resource_metrics() {
        let cases = [
            ("nodes", "nodes"),
            ("nodes/", "nodes"),
            ("nodes/n-1.example", "nodes n-1.example"),
            ("pods", "pods in all"),
            ("namespaces/n/pods", "pods in n"),
            ("namespaces/n/pods/p", "pods in n p"),
            ("namespaces/n/pods/p%2d0", "pods in n p-0"),
            ("namespaces/n/pods/*", "Name(\"*\")"),
            ("namespaces/*/pods", "Name(\"*\")"),
            ("nodes/a%22", "Name(\"a\\\"\")"),
            ("namespaces/n/nodes", "UsageForm"),
            ("namespaces/n", "UsageForm"),
            ("namespaces//pods", "UsageForm"),
            ("/pods", "UsageForm"),
            ("pods/p", "UsageForm"),
            ("namespaces/n/pods/p/log", "UsageForm"),
            ("watch/pods", "UsageForm"),
            ("", "UsageForm"),
            ("nodes/%ff", "NotUtf8"),
        ];
        for (rest, wanted) in cases {
            let name = |name: Option<String>| name.map_or(String::new(), |name| format!(" {name}"));
            let shown = match parse_usage(rest) {
                Ok(UsagePath::Nodes { name: one }) => format!("nodes{}", name(one)),
                Ok(UsagePath::Pods { namespace, name: one }) => {
                    format!("pods in {}{}", namespace.as_deref().unwrap_or("all"), name(one))
                }
                Err(error) => format!("{error:?}"),
            };
            assert_eq!(shown, wanted, "{rest}");
        }
    }

    #[test]
    fn the_form_of_explanations() {
        let cases = [
            ("namespaces/n/explanations/m", "n m"),
            ("namespaces/n/explanation%73/a%2Fb/", "n a/b"),
            ("explanations/m", "- m"),
            ("namespaces/n/explanations", "other"),
            ("namespaces/n/explanations/p/m", "other"),
            ("namespaces/n/metrics/m", "other"),
            ("namespaces/explanations/m", "other"),
            ("/namespaces/n/explanations/m", "other"),
            ("namespaces/*/explanations/m", "Name(\"*\")"),
            ("namespaces/n%22/explanations/m", "Name(\"n\\\"\")"),
            ("explanations/%ff", "NotUtf8"),
        ];
        for (rest, wanted) in cases {
            let shown = match parse_explanation(rest) {
                Ok(Some(path)) => {
                    format!("{} {}", path.namespace.as_deref().unwrap_or("-"), path.metric)
                }
                Ok(None) => "other".to_owned(),
                Err(error) => format!("{error:?}"),
            };
            assert_eq!(shown, wanted, "{rest}");
            let is_other = wanted == "other" || wanted == "NotUtf8";
            assert!(is_explanation(rest) != is_other || rest.starts_with('/'), "{rest}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart_or_refused(rest in "\\PC{0,60}") {
            if let Ok(path) = parse(&rest) {
                prop_assert!(!path.metric.is_empty());
            }
        }

        #[test]
        fn what_is_encoded_comes_back(name in "[a-zA-Z0-9:@][a-zA-Z0-9._:@~+=-]{0,20}") {
            let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let path = parse(&format!("namespaces/n/pods/{encoded}/m")).unwrap();
            prop_assert_eq!(path.name, Name::One(name));
        }
    }
}
