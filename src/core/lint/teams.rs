//! Rules of teams in manifests: whether they compile, and what becomes of their queries.

use serde_json::Value as Json;

use super::{Finding, Severity, written::Written};
use crate::core::{
    key_path::KeyPath,
    kinds::Kinds,
    rules::{TeamPolicy, TeamRuleKind},
    team_rules::{Object, Refused, compile},
    yaml::{Node, Value},
};

/// The namespace of rules whose manifests name none.
const SOME_NAMESPACE: &str = "default";

/// Checks an object. Without a rules file nobody knows which backends it may name.
pub(super) fn check(manifest: Node, policy: Option<&TeamPolicy>, findings: &mut Vec<Finding>) {
    let is_of_cluster = manifest.get("kind").and_then(Node::text) == Some("ClusterMetricRule");
    let kind =
        if is_of_cluster { TeamRuleKind::ClusterMetricRule } else { TeamRuleKind::MetricRule };
    let object = serde_json::from_value::<Object>(json(&manifest));
    let written = Written::new(manifest);
    let mut add = |severity, code, path: KeyPath, message: String, help: &str| {
        let place = Some(written.place(&path));
        findings.push(Finding { severity, code, path, place, message, help: help.to_owned() });
    };
    let mut object = match object {
        Ok(object) => object,
        Err(error) => {
            let help = "correct it: the API server refuses such an object";
            return add(
                Severity::Error,
                "invalid-team-rule",
                "spec".into(),
                error.to_string(),
                help,
            );
        }
    };
    if policy.is_none() {
        object.spec.backend = None;
    }
    let listed = object.spec.namespaces.iter().flatten().next();
    let namespace = match kind {
        TeamRuleKind::MetricRule => object.metadata.namespace.as_ref(),
        TeamRuleKind::ClusterMetricRule => listed,
    };
    let namespace = namespace.map_or(SOME_NAMESPACE, String::as_str).to_owned();
    if kind == TeamRuleKind::MetricRule {
        object.metadata.namespace = Some(namespace.clone());
    }
    let default = TeamPolicy::default();
    let policy = policy.unwrap_or(&default);
    match compile(kind, &object, &namespace, policy, &Kinds::builtin()) {
        Ok(rule) => {
            let message = format!("in namespace {namespace} the query is `{}`", rule.query);
            let help = "nothing, if that is what was intended";
            add(Severity::Info, "team-query", KeyPath::from(["spec", "query"]), message, help);
        }
        Err(refused @ Refused::Target(_)) => add(
            Severity::Warning,
            "unknown-target",
            refused.path(),
            refused.cause(),
            "nothing, if the cluster has the resource: its definition is not in the rules file",
        ),
        Err(refused) => add(
            Severity::Error,
            "team-rule-refused",
            refused.path(),
            refused.cause(),
            "correct it: until then the rule serves nothing, and its status says so",
        ),
    }
}

/// The manifest as JSON has it. A scalar without quotes that looks like a number or a boolean is one.
fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Scalar(text) if node.quote.is_none() => match text.as_str() {
            "true" => true.into(),
            "false" => false.into(),
            text => serde_json::from_str::<serde_json::Number>(text)
                .map_or_else(|_| text.into(), Json::Number),
        },
        Value::Scalar(text) => text.as_str().into(),
        Value::Sequence(items) => items.iter().map(json).collect(),
        Value::Mapping(entries) => {
            entries.iter().map(|(key, node)| (key.text.clone(), json(node))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::core::lint;

    fn rule(kind: &str, spec: &str) -> String {
        format!(
            "apiVersion: loadline.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: depth, namespace: shop}}\nspec:\n  {}\n",
            spec.replace(", ", "\n  ")
        )
    }

    fn findings(text: &str) -> Vec<(&'static str, String, u64)> {
        let all = lint::check(text).into_iter();
        all.map(|finding| (finding.code, finding.path.to_string(), finding.place.unwrap().line))
            .collect()
    }

    #[test]
    fn manifests_are_checked() {
        const RULE: &str = "metric: depth, query: max(depth), target: external";
        for (kind, spec, code, path, line) in [
            ("MetricRule", RULE.to_owned(), "team-query", "spec.query", 6),
            ("ClusterMetricRule", RULE.to_owned(), "team-query", "spec.query", 6),
            ("MetricRule", RULE.replace("max(", "info("), "team-rule-refused", "spec.query", 6),
            (
                "MetricRule",
                RULE.replace("external", "widgets.x.io"),
                "unknown-target",
                "spec.target",
                7,
            ),
            ("MetricRule", format!("{RULE}, qeury: x"), "invalid-team-rule", "spec", 5),
            ("MetricRule", format!("{RULE}, onEmpty: 5"), "invalid-team-rule", "spec", 5),
            (
                "MetricRule",
                format!("{RULE}, onEmpty: '-5'"),
                "team-rule-refused",
                "spec.onEmpty",
                8,
            ),
            ("MetricRule", "metric: depth".to_owned(), "invalid-team-rule", "spec", 5),
        ] {
            let text = rule(kind, &spec);
            assert_eq!(findings(&text), [(code, path.to_owned(), line)], "{text}");
        }
    }

    #[test]
    fn the_query_is_shown_as_it_is_sent() {
        let text = rule("MetricRule", "metric: depth, query: max(depth), target: external");
        let found = lint::check(&text);
        assert!(found[0].message.contains(r#"max(depth{namespace="shop"})"#), "{found:?}");
    }

    #[test]
    fn a_rules_file_beside_them_says_which_backends_there_are() {
        let text =
            rule("MetricRule", "metric: depth, query: max(depth), target: external, backend: long");
        assert_eq!(findings(&text)[0].0, "team-query");
        let file = "---\napiVersion: v1\nkind: ConfigMap\ndata:\n  rules.yaml: |\n    rules: []\n";
        let found = findings(&format!("{text}{file}"));
        assert!(found.contains(&("team-rule-refused", "spec.backend".to_owned(), 8)), "{found:?}");
        let file =
            format!("{file}    backends: [{{name: long, url: 'http://a', teamRules: true}}]\n");
        let found = findings(&format!("{text}{file}"));
        assert!(found.iter().any(|(code, ..)| *code == "team-query"), "{found:?}");
    }
}
