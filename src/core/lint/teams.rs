//! Rules of teams in manifests: whether they compile, and what becomes of their queries.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use promql_parser::parser::value::ValueType;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json, json};

use super::{Finding, Severity, parsed, queries, written::Written};
use crate::core::{
    embedded::Carried,
    key_path::KeyPath,
    kinds::Kinds,
    names,
    rules::{FileName, RuleSet, TeamPolicy, TeamRuleKind},
    team_rules::{Object, Provides, Refused, Spec, TeamRule, compile},
    yaml::{Node, Value},
};

/// The namespace of rules whose manifests name none.
const SOME_NAMESPACE: &str = "default";

/// What a rules file lets teams do.
#[derive(Clone, Debug)]
pub struct SaidOfTeams {
    pub(super) policy: TeamPolicy,
    /// Whether the file says it, and it is not what holds where nothing is said.
    is_said: bool,
}

impl SaidOfTeams {
    /// Nothing for files that cannot say it: values of the chart, which do not hold `teamRules`, and files without content.
    pub(super) fn of(carried: &Carried, rules: &RuleSet) -> Option<Self> {
        let root = &carried.rules;
        let is_empty = match &root.value {
            Value::Mapping(entries) => entries.is_empty(),
            _ => true,
        };
        let is_said = root.get("teamRules").is_some() || !rules.teams.backends.is_empty();
        let is_file = carried.values.is_none() && !is_empty;
        is_file.then(|| Self { policy: rules.teams.clone(), is_said })
    }

    /// Those of files that are used together.
    pub(super) fn of_set(files: &[(FileName, Carried)], rules: &RuleSet) -> Option<Self> {
        files.iter().filter_map(|(_, carried)| Self::of(carried, rules)).reduce(Self::or)
    }

    /// This one or, if only the other is said, that one.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if other.is_said && !self.is_said { other } else { self }
    }
}

/// Checks an object. Without a rules file nobody knows which backends it may name.
pub(super) fn check(manifest: Node, policy: Option<&TeamPolicy>, findings: &mut Vec<Finding>) {
    let is_of_cluster = manifest.get("kind").and_then(Node::text) == Some("ClusterMetricRule");
    let kind =
        if is_of_cluster { TeamRuleKind::ClusterMetricRule } else { TeamRuleKind::MetricRule };
    let object = read(&json(&manifest));
    let written = Written::new(manifest);
    let mut add = |severity, code, path: KeyPath, message: String, help: &str| {
        let place = Some(written.place(&path));
        findings.push(Finding { severity, code, path, place, message, help: help.to_owned() });
    };
    let mut object = match object {
        Ok(object) => object,
        Err(problems) => {
            let help = "correct it: the API server refuses such an object";
            for (path, message) in problems {
                add(Severity::Error, "invalid-team-rule", path, message, help);
            }
            return;
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
            let path = || KeyPath::from(["spec", "query"]);
            add(Severity::Info, "team-query", path(), message, help);
            if let Some((code, message, help)) = doubt(&rule) {
                add(Severity::Warning, code, path(), message, &help);
            }
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

/// Why the values of a rule that compiles are probably none, or not those that are meant: a code, the problem, and what to do.
fn doubt(rule: &TeamRule) -> Option<(&'static str, String, String)> {
    let tree = parsed(&rule.query).ok()?;
    let found = tree.value_type();
    let is_external = matches!(rule.provides, Provides::External(_));
    let is_vector =
        matches!(found, ValueType::Vector) || (is_external && matches!(found, ValueType::Scalar));
    if !is_vector {
        let help = "write a query whose result is an instant vector".to_owned();
        return Some((queries::NOT_A_VECTOR, queries::not_a_vector(&tree), help));
    }
    let Provides::Object(entry) = &rule.provides else { return None };
    let (label, kinds) = (&*entry.label, entry.kind.resource.to_string());
    let written = format!("`{label}`");
    let label_in_query = names::label(label);
    if queries::drops(&tree, label) {
        let help = format!(
            "aggregate `by ({label_in_query})`, or name the label that holds the name of the object in `label`"
        );
        return Some((queries::AGGREGATED_AWAY, queries::aggregated_away(&kinds, &written), help));
    }
    queries::is_several(&tree, &[label]).then(|| {
        let help =
            format!("aggregate by the label of the object, as in `sum by ({label_in_query}) (…)`");
        (queries::SEVERAL_SAMPLES, queries::several_samples(&kinds, &written), help)
    })
}

/// The object, or what is wrong with it, by key.
fn read(manifest: &Json) -> Result<Object, Vec<(KeyPath, String)>> {
    let whole = match serde_json::from_value::<Object>(manifest.clone()) {
        Ok(object) => return Ok(object),
        Err(error) => error.to_string(),
    };
    // Each key by itself, because an error does not say which one it is about.
    let required = json!({"metric": "", "query": "", "target": ""});
    let mut problems = wrong_keys::<Spec>(manifest, "spec", &required);
    let lacks = |key: &&String| manifest.get("spec").is_some_and(|spec| spec.get(key).is_none());
    let lacking = required.as_object().into_iter().flat_map(Map::keys).filter(lacks);
    problems.extend(lacking.map(|key| ("spec".into(), format!("missing field `{key}`"))));
    problems.extend(wrong_keys::<ObjectMeta>(manifest, "metadata", &json!({})));
    if problems.is_empty() {
        problems.push(("spec".into(), whole));
    }
    Err(problems)
}

/// The keys of a mapping that do not fit, where it has all that it needs.
fn wrong_keys<T: DeserializeOwned>(
    manifest: &Json,
    of: &str,
    required: &Json,
) -> Vec<(KeyPath, String)> {
    let keys = manifest.get(of).and_then(Json::as_object).into_iter().flat_map(Map::iter);
    let wrong = keys.filter_map(|(key, value)| {
        let mut alone = required.clone();
        alone.as_object_mut()?.insert(key.clone(), value.clone());
        let error = serde_json::from_value::<T>(alone).err()?;
        Some((KeyPath::from([of, key.as_str()]), error.to_string()))
    });
    wrong.collect()
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
    use crate::core::{lint, rules::CredentialPolicy};

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
            ("MetricRule", format!("{RULE}, qeury: x"), "invalid-team-rule", "spec.qeury", 8),
            ("MetricRule", format!("{RULE}, onEmpty: 5"), "invalid-team-rule", "spec.onEmpty", 8),
            (
                "ClusterMetricRule",
                format!("{RULE}, namespaces: [1]"),
                "invalid-team-rule",
                "spec.namespaces",
                8,
            ),
            (
                "MetricRule",
                format!("{RULE}, onEmpty: '-5'"),
                "team-rule-refused",
                "spec.onEmpty",
                8,
            ),
        ] {
            let text = rule(kind, &spec);
            assert_eq!(findings(&text), [(code, path.to_owned(), line)], "{text}");
        }
    }

    #[test]
    fn every_key_of_a_wrong_type_is_shown_at_its_place() {
        let spec = "metric: 7, query: max(depth), target: external, window: true";
        let text = rule("MetricRule", spec).replace("name: depth", "name: 5");
        let invalid = |path: &str, line| ("invalid-team-rule", path.to_owned(), line);
        assert_eq!(
            findings(&text),
            [invalid("metadata.name", 3), invalid("spec.metric", 5), invalid("spec.window", 8)]
        );
    }

    #[test]
    fn keys_that_are_missing_are_told_beside_those_that_are_wrong() {
        let text = rule("MetricRule", "metric: depth, window: true");
        let told: Vec<_> = lint::check(&text).into_iter().map(|it| it.message).collect();
        for wanted in ["missing field `query`", "missing field `target`", "invalid type: boolean"] {
            assert!(told.iter().any(|message| message.contains(wanted)), "{wanted}: {told:?}");
        }
        assert_eq!(told.len(), 3, "{told:?}");
    }

    #[test]
    fn a_query_whose_result_names_no_object_is_told() {
        for (target, query, code) in [
            ("pods", "sum(rate(depth[2m]))", Some("label-aggregated-away")),
            ("pods", "sum by (job) (depth)", Some("label-aggregated-away")),
            ("pods", "rate(depth[2m])", Some("several-samples-per-object")),
            ("pods", "sum by (pod) (depth)", None),
            ("pods", "max without (job) (sum by (pod) (depth))", None),
            ("pods", "sum by (namespace, pod) (depth)", None),
            ("pods", "depth[5m]", Some("not-a-vector")),
            ("pods", "scalar(depth)", Some("not-a-vector")),
            ("deployments.apps", "sum by (pod) (depth)", Some("label-aggregated-away")),
            ("deployments.apps", "sum by (deployment) (depth)", None),
            ("deployments.apps, label: app", "sum by (app) (depth)", None),
            ("external", "sum(depth)", None),
            ("external", "scalar(depth)", None),
            ("external", "depth[5m]", Some("not-a-vector")),
        ] {
            let text = rule("MetricRule", &format!("metric: depth, target: {target}"));
            let found = findings(&format!("{text}  query: {query}\n"));
            let told: Vec<_> = found.iter().map(|(code, ..)| *code).collect();
            let wanted: Vec<_> = [code, Some("team-query")].into_iter().flatten().collect();
            assert_eq!(told, wanted, "{target} {query}");
        }
    }

    #[test]
    fn the_rules_file_that_says_something_of_teams_counts_before_the_others() {
        let text = rule("MetricRule", "metric: depth, query: max(depth), target: external");
        let said = "rules: []\nteamRules: {namespaceLabel: ns}\n";
        let others = ["", "# nothing\n", "rules: {custom: []}\n", "rules: []\n"];
        for others in [vec![], others.to_vec()] {
            let texts = || others.iter().copied();
            for texts in [
                texts().chain([said]).collect(),
                [said].into_iter().chain(texts()).collect::<Vec<_>>(),
            ] {
                let found = lint::team_policy(texts.iter().copied()).unwrap();
                assert_eq!(&*found.policy.namespace_label, "ns", "{texts:?}");
            }
        }
        assert!(lint::team_policy(others[..3].iter().copied()).is_none());
        let teams = lint::team_policy([said]);
        let query = |text: &str| {
            let found = lint::check_with(text, &CredentialPolicy::default(), teams.as_ref());
            found.into_iter().find(|it| it.code == "team-query").unwrap().message
        };
        assert!(query(&text).contains("{ns=\"shop\"}"));
        let file = "---\napiVersion: v1\nkind: ConfigMap\ndata:\n  rules.yaml: |\n    rules: []\n";
        assert!(query(&format!("{text}{file}")).contains("{ns=\"shop\"}"));
        let own = format!("{text}{file}    teamRules: {{namespaceLabel: own}}\n{file}");
        assert!(query(&own).contains("{own=\"shop\"}"));
        assert!(lint::team_policy([&*text]).is_none());
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
