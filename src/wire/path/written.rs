//! Paths as a client writes them: what the functions of [`path`](super) take apart.

use std::fmt::{self, Display};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

use super::{ExternalPath, MetricPath, Name, UsagePath};

/// What is encoded in a segment of a path.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b':').remove(b'.');

/// A segment of a path.
pub(in crate::wire) fn segment(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, ENCODED)
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(name) => segment(name).fmt(f),
            Self::All => f.write_str("*"),
        }
    }
}

impl Display for MetricPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, resource, name, metric } = self;
        let metric = segment(metric);
        match namespace {
            Some(namespace) => {
                write!(f, "namespaces/{}/{resource}/{name}/{metric}", segment(namespace))
            }
            None if self.is_of_namespaces() => write!(f, "namespaces/{name}/metrics/{metric}"),
            None => write!(f, "{resource}/{name}/{metric}"),
        }
    }
}

impl Display for ExternalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "namespaces/{}/{}", segment(&self.namespace), segment(&self.metric))
    }
}

impl Display for UsagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, namespace, name) = match self {
            Self::Pods { namespace, name } => ("pods", namespace.as_deref(), name),
            Self::Nodes { name } => ("nodes", None, name),
        };
        if let Some(namespace) = namespace {
            write!(f, "namespaces/{}/", segment(namespace))?;
        }
        f.write_str(kind)?;
        name.as_ref().map_or(Ok(()), |name| write!(f, "/{}", segment(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::kinds::GroupResource,
        wire::path::{parse, parse_external, parse_usage},
    };

    #[test]
    fn what_is_written_is_taken_apart_again() {
        for (namespace, resource, name) in [
            (Some("team-0"), "pods", Name::One("web-0.a".to_owned())),
            (Some("team-0"), "jobs.batch", Name::All),
            (None, "nodes", Name::One("10.0.0.1".to_owned())),
            (None, "namespaces", Name::All),
            (None, "namespaces", Name::One("ide".to_owned())),
        ] {
            for metric in ["m_per_second", "http.requests", "job:ratio", "a b/é%*"] {
                let path = MetricPath {
                    namespace: namespace.map(str::to_owned),
                    resource: GroupResource::parse(resource),
                    name: name.clone(),
                    metric: metric.to_owned(),
                };
                assert_eq!(parse(&path.to_string()), Ok(path));
            }
        }
        let external = ExternalPath { namespace: "ide".to_owned(), metric: "a/b".to_owned() };
        assert_eq!(parse_external(&external.to_string()), Ok(external));
        let (namespace, name) = (Some("ide".to_owned()), Some("web-0".to_owned()));
        for path in [
            UsagePath::Pods { namespace: namespace.clone(), name: name.clone() },
            UsagePath::Pods { namespace, name: None },
            UsagePath::Pods { namespace: None, name: None },
            UsagePath::Nodes { name },
            UsagePath::Nodes { name: None },
        ] {
            assert_eq!(parse_usage(&path.to_string()), Ok(path));
        }
    }
}
