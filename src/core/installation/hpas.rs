//! Whether the autoscalers of a cluster get their metrics.

use serde_json::Value;

use super::{Finding, Subject};
use crate::core::explain::{Cause, Explanation, Severity, Step, Verdict};

/// Namespace and name of an autoscaler.
pub fn name(document: &Value) -> (&str, &str) {
    let text =
        |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    (text("/metadata/namespace"), text("/metadata/name"))
}

/// Whether the controller says that it reads the metrics. Those that it does not are looked at first.
pub fn is_active(document: &Value) -> bool {
    let conditions = document.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "ScalingActive" && condition["status"] == "True")
}

/// What is wrong with the metrics of an autoscaler, if anything is. One finding for each step that has found a cause.
pub fn judge((namespace, name): (&str, &str), explanation: Explanation) -> Vec<Finding> {
    if explanation.verdict == Verdict::Ok {
        return Vec::new();
    }
    let is_wrong =
        |step: &Step| matches!(step.cause, Some((_, Severity::Failed | Severity::Doubtful)));
    let wrong = explanation.steps.into_iter().filter(is_wrong);
    let findings = wrong.map(|step| {
        if let Some((cause @ Cause::NotAuthorizedMe, _)) = step.cause {
            // The right is missing to the user who checks, not to the installation.
            let all = Subject::Hpa(String::new());
            let message = format!("their metrics cannot be asked for: {}", step.seen);
            return Finding::warning(all, cause.code(), message, step.advice);
        }
        let subject = Subject::Hpa(format!("{namespace}/{name}"));
        let mut finding = Finding::of_step(subject, step);
        let separator = if finding.help.is_empty() { "" } else { "; " };
        finding.help += &format!("{separator}loadline explain hpa/{name} -n {namespace}");
        finding
    });
    findings.collect()
}

/// What there is to say of all autoscalers: how many were looked at, of how many nothing was wrong, and how many are left.
pub fn summary(looked_at: usize, sound: usize, left: usize) -> Vec<Finding> {
    let all = || Subject::Hpa(String::new());
    let mut findings = Vec::new();
    if looked_at == 0 && left == 0 {
        return vec![Finding::ok(all(), "there is no HorizontalPodAutoscaler")];
    }
    if sound > 0 {
        findings.push(Finding::ok(all(), format!("nothing is wrong with {sound} of {looked_at}")));
    }
    if left > 0 {
        let message = format!("{left} more were not looked at");
        let help = "name a namespace by --namespace, or allow more time by --timeout";
        findings.push(Finding::incomplete(all(), message, help));
    }
    findings
}
