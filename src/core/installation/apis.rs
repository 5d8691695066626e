//! Who is registered for the APIs, and whether that is the server that was installed.

use serde_json::Value;

use super::{Finding, Subject};
use crate::core::explain::{Cause, Step, registration};

/// The API of usage.
const USAGE: &str = "metrics.k8s.io";

/// What was found of an API.
#[derive(Clone, Debug)]
pub struct ApiFacts {
    /// Its group.
    pub group: &'static str,
    /// The version that is registered by default.
    pub version: &'static str,
    /// Whether there are rules for it; nothing where the rules are not known.
    pub is_wanted: Option<bool>,
    /// The `APIService`s of its versions, or why they cannot be read.
    pub registrations: Result<Vec<Value>, String>,
    /// Who answers.
    pub server: Server,
}

/// Who answers for an API.
#[derive(Clone, Debug)]
pub enum Server {
    /// loadline.
    Loadline,
    /// Somebody else.
    Other(Step),
    /// It is not known, and why.
    Unknown(String),
    /// Nobody was asked.
    NotAsked,
}

impl ApiFacts {
    /// The Services that its versions are registered for.
    fn services(&self) -> Vec<String> {
        let documents = self.registrations.iter().flatten();
        documents.filter_map(registration::service).collect()
    }

    /// Whether it is another server's own affair: there are no rules for it, as far as is known, and another server has it. `ours`
    /// is the Service of loadline.
    pub fn is_of_another(&self, ours: Option<&str>) -> bool {
        let services = self.services();
        let is_elsewhere = !services.is_empty()
            && ours.is_some_and(|ours| services.iter().all(|service| service != ours));
        match self.is_wanted {
            Some(true) => false,
            Some(false) => self.is_registered(),
            None => matches!(self.server, Server::Other(_)) || is_elsewhere,
        }
    }

    fn subject(&self) -> Subject {
        Subject::ApiService(format!("{}.{}", self.version, self.group))
    }

    fn is_registered(&self) -> bool {
        self.registrations.as_ref().is_ok_and(|documents| !documents.is_empty())
    }
}

/// The Service that the server is reached by, where one of the APIs is its own.
pub fn service(apis: &[ApiFacts]) -> Option<String> {
    let own = apis.iter().find(|api| matches!(api.server, Server::Loadline))?;
    own.services().into_iter().next()
}

/// A Service that is registered and may be loadline's, although nobody has said so.
pub fn candidate(apis: &[ApiFacts]) -> Option<String> {
    let unknown = apis.iter().filter(|api| !matches!(api.server, Server::Other(_)));
    unknown.flat_map(ApiFacts::services).next()
}

/// What there is to say of the APIs.
pub fn judge(apis: &[ApiFacts]) -> Vec<Finding> {
    let ours = service(apis);
    let mut findings: Vec<_> = apis.iter().flat_map(|api| of_api(api, ours.as_deref())).collect();
    let is_settled = |api: &ApiFacts| api.is_wanted.is_some() || api.registrations.is_err();
    if apis.iter().any(is_settled) {
        return findings;
    }
    // Without the rules nobody knows which API is ours; one of them has to be.
    let mut registered = apis.iter().filter(|api| api.is_registered()).peekable();
    if registered.peek().is_none() {
        let missing = apis.first().map(|api| {
            Finding::of_step(api.subject(), registration::missing(api.group, api.version))
        });
        findings.extend(missing);
    } else if registered.clone().all(|api| matches!(api.server, Server::Other(_))) {
        findings.extend(registered.filter_map(|api| match &api.server {
            Server::Other(step) => Some(Finding::of_step(api.subject(), step.clone())),
            _ => None,
        }));
    }
    findings
}

fn of_api(api: &ApiFacts, ours: Option<&str>) -> Vec<Finding> {
    if api.is_wanted == Some(false) {
        return left_behind(api, ours);
    }
    let documents = match &api.registrations {
        Ok(documents) => documents,
        Err(why) => {
            let message = format!("who serves {} cannot be read: {why}", api.group);
            let help =
                "allow who checks to get apiservices of apiregistration.k8s.io in the cluster";
            return vec![Finding::incomplete(api.subject(), message, help)];
        }
    };
    if documents.is_empty() {
        let missing = || registration::missing(api.group, api.version);
        let is_wanted = api.is_wanted == Some(true);
        return is_wanted.then(|| Finding::of_step(api.subject(), missing())).into_iter().collect();
    }
    if api.is_of_another(ours) {
        let message = format!("{} is served by another server", api.group);
        return vec![Finding::unchecked(api.subject(), message)];
    }
    if let Server::Other(step) = &api.server {
        return vec![Finding::of_step(api.subject(), step.clone())];
    }
    let mut findings: Vec<_> = documents.iter().map(|it| of_registration(it, ours)).collect();
    if let Server::Unknown(why) = &api.server {
        let message = format!("whether loadline answers for {} is not known: {why}", api.group);
        findings.push(Finding::unchecked(api.subject(), message));
    }
    findings
}

/// Versions of metrics.k8s.io that are still registered for loadline, which does not serve them without rules. The other APIs are
/// served without rules, and have no metrics then.
fn left_behind(api: &ApiFacts, ours: Option<&str>) -> Vec<Finding> {
    if api.group != USAGE {
        return Vec::new();
    }
    let documents = api.registrations.iter().flatten();
    let left =
        documents.filter(|it| ours.is_some() && registration::service(it).as_deref() == ours);
    let finding = |document: &Value| {
        let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        Finding::error(
            Subject::ApiService(name.to_owned()),
            Cause::ApiserviceUnavailable.code(),
            "it names loadline, which has no `resourceRules` and does not serve it: `kubectl top` and autoscalers on CPU fail, and namespaces are not deleted",
            format!("kubectl delete apiservice {name}, or hand it back to metrics-server"),
        )
    };
    left.map(finding).collect()
}

fn of_registration(document: &Value, ours: Option<&str>) -> Finding {
    let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let subject = Subject::ApiService(name.to_owned());
    let service = registration::service(document);
    if let (Some(service), Some(ours)) = (service, ours)
        && service != ours
    {
        return Finding::error(
            subject,
            Cause::ApiserviceOtherOwner.code(),
            format!("it is served by Service {service}, and loadline is Service {ours}"),
            "register loadline's Service in its APIService, or remove the rules of this API",
        );
    }
    Finding::of_step(subject, registration::step(document))
}
