//! What an `APIService` says of who serves an API.

use serde_json::Value;

use super::{Cause, Step, name};

/// Words in a message of kube-apiserver that does not trust the certificate of a Service.
const OF_CERTIFICATES: [&str; 3] = ["x509", "certificate", "tls:"];

/// Namespace and name of the Service; nothing where kube-apiserver serves the API itself.
pub fn service(document: &Value) -> Option<String> {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
    Some(format!("{}/{}", text("/spec/service/namespace")?, text("/spec/service/name")?))
}

/// Whether kube-apiserver reaches the Service; nothing where it does not say so.
pub fn is_available(document: &Value) -> Option<bool> {
    let status = available(document)?.get("status")?.as_str()?;
    match status {
        "True" => Some(true),
        "False" => Some(false),
        _ => None,
    }
}

fn available(document: &Value) -> Option<&Value> {
    let conditions = document.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| condition["type"] == "Available")
}

/// What the name of metrics-server, of an adapter or of loadline contains, and who it is.
const OWNERS: [(&str, &str); 5] = [
    ("keda", "KEDA"),
    ("metrics-server", "metrics-server"),
    (ADAPTER, "prometheus-adapter"),
    ("datadog", "Datadog's cluster agent"),
    ("stackdriver", "the adapter of Google Cloud"),
];

/// Where loadline has taken the place of prometheus-adapter, the Service keeps its name.
const ADAPTER: &str = "prometheus-adapter";

/// The group that metrics-server serves.
const USAGE: &str = "metrics.k8s.io";

/// Who a Service probably belongs to, as a part of a sentence; empty where its name does not say so.
pub fn owner(service: &str) -> String {
    let owner = OWNERS.iter().find(|(word, _)| service.contains(word));
    owner.map_or(String::new(), |(_, owner)| format!(", by its name {owner}"))
}

/// Nobody is registered for an API.
pub fn missing(group: &str, version: &str) -> Step {
    if group == USAGE {
        let seen =
            "there is no APIService of metrics.k8s.io, so kube-apiserver knows no usage of pods";
        let advice = "install metrics-server, or have loadline serve usage: `resourceRules`, and the APIServices of the component `resource-metrics`";
        return Step::found(name::APISERVICE, Cause::ApiserviceMissing, seen, advice);
    }
    Step::found(
        name::APISERVICE,
        Cause::ApiserviceMissing,
        format!("there is no APIService of {group}, so kube-apiserver does not know the API"),
        format!(
            "register it: apply the APIService `{version}.{group}` of the manifests, or add rules for it to the chart's values"
        ),
    )
}

/// What there is to say of an `APIService`.
pub fn step(document: &Value) -> Step {
    let called = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let Some(service) = service(document) else {
        return Step::found(
            name::APISERVICE,
            Cause::ApiserviceOtherOwner,
            format!("{called} is served by kube-apiserver itself"),
            "delete the APIService, and apply that of the manifests",
        );
    };
    let is_insecure = document.pointer("/spec/insecureSkipTLSVerify") == Some(&Value::Bool(true));
    let has_bundle = document.pointer("/spec/caBundle").is_some_and(|bundle| !bundle.is_null());
    let trust = match (is_insecure, has_bundle) {
        (true, _) => "its certificate is not verified",
        (false, true) => "its certificate is verified by caBundle",
        (false, false) => "its certificate is verified by the authorities of the system",
    };
    let seen = format!("{called} is served by Service {service}, {trust}");
    match is_available(document) {
        Some(true) => Step::good(name::APISERVICE, format!("{seen}; available")),
        None => Step::unknown(name::APISERVICE, format!("{seen}; not known whether available")),
        Some(false) => {
            let condition = available(document);
            let message = condition.and_then(|it| it.get("message")).and_then(Value::as_str);
            let message = message.unwrap_or("no reason is given");
            let seen = format!("{seen}; not available: {message}");
            if is_of_another(called, &service, condition) {
                let whose = if called.split_once('.').is_some_and(|(_, group)| group == USAGE) {
                    "loadline's Service, or that of metrics-server,"
                } else {
                    "loadline's Service"
                };
                let seen = format!("{seen}{}", owner(&service));
                let advice = format!("register {whose} in APIService {called}");
                return Step::found(name::APISERVICE, Cause::ApiserviceOtherOwner, seen, advice);
            }
            let lower = message.to_lowercase();
            if OF_CERTIFICATES.iter().any(|word| lower.contains(word)) {
                let advice = format!(
                    "set `caBundle` of {called} to the authority of the certificate, or have `--manage-apiservice` do it"
                );
                return Step::found(name::APISERVICE, Cause::ApiserviceCa, seen, advice);
            }
            let advice = format!(
                "see whether the pods of Service {service} are ready, and whether kube-apiserver reaches them (NetworkPolicy, firewall, port)"
            );
            Step::found(name::APISERVICE, Cause::ApiserviceUnavailable, seen, advice)
        }
    }
}

/// Whether a Service that does not answer is not loadline's: its name says so, or it does not exist and is not called after
/// loadline. metrics-server serves usage by right.
fn is_of_another(called: &str, service: &str, condition: Option<&Value>) -> bool {
    let is_usage = called.split_once('.').is_some_and(|(_, group)| group == USAGE);
    let reason = condition.and_then(|it| it.get("reason")).and_then(Value::as_str);
    let is_absent = reason == Some("ServiceNotFound");
    let mut others = OWNERS.iter().filter(|(word, _)| *word != ADAPTER);
    match others.find(|(word, _)| service.contains(word)) {
        Some((word, _)) => !(is_usage && *word == "metrics-server"),
        None => is_absent && !service.contains("loadline"),
    }
}

/// Somebody else serves the API, who cannot explain it.
pub fn other_owner(api: &str, service: Option<&str>) -> Step {
    let service = service.unwrap_or("which is not known");
    let owner = owner(service);
    Step::found(
        name::APISERVICE,
        Cause::ApiserviceOtherOwner,
        format!("Service {service}{owner} serves {api}, and does not know how to explain it"),
        "register loadline's Service in its APIService; if it is an older loadline, update it",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cause(condition: &Value) -> Option<&'static str> {
        let document = json!({
            "metadata": {"name": "v1beta2.custom.metrics.k8s.io"},
            "spec": {"service": {"namespace": "monitoring", "name": "loadline"}},
            "status": {"conditions": [condition]},
        });
        step(&document).cause.map(|(cause, _)| cause.code())
    }

    #[test]
    fn a_service_of_another_is_named_although_it_does_not_answer() {
        let of = |api: &str, service: &str, reason: &str| {
            let document = json!({
                "metadata": {"name": format!("v1beta1.{api}")},
                "spec": {"service": {"namespace": "x", "name": service}},
                "status": {"conditions": [{"type": "Available", "status": "False", "reason": reason, "message": "m"}]},
            });
            step(&document).cause.map(|(cause, _)| cause)
        };
        let (external, usage) = ("external.metrics.k8s.io", "metrics.k8s.io");
        let (absent, silent) = ("ServiceNotFound", "MissingEndpoints");
        for (api, service, reason, wanted) in [
            (external, "keda-operator-metrics-apiserver", absent, Cause::ApiserviceOtherOwner),
            (external, "keda-operator-metrics-apiserver", silent, Cause::ApiserviceOtherOwner),
            (external, "something", absent, Cause::ApiserviceOtherOwner),
            (external, "something", silent, Cause::ApiserviceUnavailable),
            (external, "loadline", absent, Cause::ApiserviceUnavailable),
            // It may be loadline by now.
            (external, "prometheus-adapter", silent, Cause::ApiserviceUnavailable),
            (external, "prometheus-adapter", absent, Cause::ApiserviceOtherOwner),
            (usage, "metrics-server", absent, Cause::ApiserviceUnavailable),
            (usage, "metrics-server", silent, Cause::ApiserviceUnavailable),
            (usage, "prometheus-adapter", absent, Cause::ApiserviceOtherOwner),
        ] {
            assert_eq!(of(api, service, reason), Some(wanted), "{api} {service} {reason}");
        }
    }

    #[test]
    fn conditions_say_what_is_wrong() {
        let condition = |status: &str, message: &str| json!({"type": "Available", "status": status, "message": message});
        let refused = "failing or missing response from https://10.0.0.1:6443/apis/custom.metrics.k8s.io/v1beta2: Get \"https://10.0.0.1:6443/\": dial tcp 10.0.0.1:6443: connect: connection refused";
        let untrusted = "failing or missing response from https://10.0.0.1:6443/: tls: failed to verify certificate: x509: certificate signed by unknown authority";
        assert_eq!(cause(&condition("True", "all checks passed")), None);
        assert_eq!(cause(&condition("False", refused)), Some("apiservice-unavailable"));
        assert_eq!(cause(&condition("False", untrusted)), Some("apiservice-ca"));
        assert_eq!(cause(&json!({"type": "Other", "status": "False"})), None);
        let local = step(&json!({"metadata": {"name": "v1.apps"}, "spec": {}}));
        assert_eq!(local.cause.map(|(cause, _)| cause), Some(Cause::ApiserviceOtherOwner));
    }
}
