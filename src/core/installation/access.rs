//! The rights that an installation needs: of the controller of autoscalers, and of the server itself.

use std::borrow::Cow;

use super::{Finding, Subject, Who};
use crate::core::{explain::Cause, lint::Severity};

/// The code of a right that the server does not have.
pub const SERVER_NOT_AUTHORIZED: &str = "server-not-authorized";

/// A right of the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Right {
    /// The verb.
    pub verb: &'static str,
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The resource.
    pub resource: &'static str,
    /// The namespace; empty for all.
    pub namespace: Cow<'static, str>,
    /// The name, where it is about one object; else empty.
    pub name: &'static str,
    /// How much it matters that it is missing.
    severity: Severity,
    /// What does not work without it.
    without: &'static str,
}

/// The rights that every installation needs.
pub const RIGHTS: &[Right] = &[
    Right {
        verb: "create",
        group: "authorization.k8s.io",
        resource: "subjectaccessreviews",
        namespace: Cow::Borrowed(""),
        name: "",
        severity: Severity::Error,
        without: "no read of a metric is allowed",
    },
    Right {
        verb: "create",
        group: "authentication.k8s.io",
        resource: "tokenreviews",
        namespace: Cow::Borrowed(""),
        name: "",
        severity: Severity::Warning,
        without: "clients with tokens are refused",
    },
    Right {
        verb: "get",
        group: "",
        resource: "configmaps",
        namespace: Cow::Borrowed("kube-system"),
        name: "extension-apiserver-authentication",
        severity: Severity::Error,
        without: "requests of kube-apiserver are refused",
    },
    Right {
        verb: "list",
        group: "",
        resource: "pods",
        namespace: Cow::Borrowed(""),
        name: "",
        severity: Severity::Error,
        without: "metrics of type Pods cannot be read",
    },
    Right {
        verb: "watch",
        group: "",
        resource: "pods",
        namespace: Cow::Borrowed(""),
        name: "",
        severity: Severity::Warning,
        without: "every read of metrics of pods lists them",
    },
    Right {
        verb: "list",
        group: "autoscaling",
        resource: "horizontalpodautoscalers",
        namespace: Cow::Borrowed(""),
        name: "",
        severity: Severity::Warning,
        without: "metrics are not fetched before they are read",
    },
];

/// The rights that a server needs that reads rules from ConfigMaps of a namespace.
pub fn of_config_maps(namespace: &str) -> [Right; 2] {
    ["list", "watch"].map(|verb| Right {
        verb,
        group: "",
        resource: "configmaps",
        namespace: Cow::Owned(namespace.to_owned()),
        name: "",
        severity: Severity::Error,
        without: "the rules of ConfigMaps are not served",
    })
}

impl Right {
    /// The right in words: `list pods`.
    fn words(&self) -> String {
        let Self { verb, group, resource, namespace, name, .. } = self;
        let dot = if group.is_empty() { "" } else { "." };
        match (&**namespace, *name) {
            ("", _) => format!("{verb} {resource}{dot}{group}"),
            (namespace, "") => format!("{verb} {resource}{dot}{group} in {namespace}"),
            (namespace, name) => format!("{verb} {resource}{dot}{group} {namespace}/{name}"),
        }
    }
}

/// What the reviews of the server's rights say: of each whether it has it, or why that is not known.
pub fn server(account: &str, reviews: &[(Right, Result<bool, String>)]) -> Vec<Finding> {
    let subject = || Subject::Access(Who::Server);
    let mut findings = Vec::new();
    for (right, reviewed) in reviews {
        let words = right.words();
        match reviewed {
            Ok(true) => {}
            Ok(false) => findings.push(Finding {
                subject: subject(),
                severity: right.severity,
                code: SERVER_NOT_AUTHORIZED,
                message: format!("{account} may not {words}: {}", right.without),
                help: "apply the RBAC of the manifests, or bind a role to it that allows this"
                    .to_owned(),
            }),
            Err(why) => {
                let message = format!("whether {account} may {words} is not known: {why}");
                return vec![unreviewed(subject(), message)];
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(subject(), format!("{account} has the rights that it needs")));
    }
    findings
}

/// What reviews of metrics say of the controller of autoscalers: by metric whether it may read it, or why that is not known.
pub fn controller(account: &str, reviews: &[(String, Result<bool, String>)]) -> Option<Finding> {
    let subject = Subject::Access(Who::HpaController);
    let unknown = reviews.iter().find_map(|(_, reviewed)| reviewed.as_ref().err());
    if let Some(why) = unknown {
        let message = format!("whether {account} may read metrics is not known: {why}");
        return Some(unreviewed(subject, message));
    }
    let (allowed, denied): (Vec<_>, Vec<_>) =
        reviews.iter().partition(|(_, reviewed)| *reviewed == Ok(true));
    let names = |reviews: &[&(String, Result<bool, String>)]| {
        reviews.iter().map(|(metric, _)| metric.as_str()).collect::<Vec<_>>().join(", ")
    };
    let help = "bind a ClusterRole to it that allows get and list of these, such as `hpa-controller-custom-metrics` of the manifests";
    if allowed.is_empty() && denied.is_empty() {
        return None;
    }
    if denied.is_empty() {
        return Some(Finding::ok(subject, format!("{account} may read {}", names(&allowed))));
    }
    let message = format!("{account} may not read {}", names(&denied));
    // A role may allow those that are meant for autoscalers, and no others.
    let found = if allowed.is_empty() { Finding::error } else { Finding::warning };
    Some(found(subject, Cause::NotAuthorized.code(), message, help))
}

fn unreviewed(subject: Subject, message: String) -> Finding {
    Finding::incomplete(subject, message, "allow the check to create subjectaccessreviews")
}
