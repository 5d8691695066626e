//! Values of the chart that carry rules: keys that nothing reads, and what else there is than the rules in them.

use serde_json::Value as Schema;

use super::{Finding, Severity};
use crate::core::{
    key_path::KeyPath,
    nearest::nearest,
    rules,
    yaml::{Key, Node, Value},
};

/// What the chart takes.
const SCHEMA: &str = include_str!("../../../deploy/helm/loadline/values.schema.json");

/// What Helm itself reads from a chart's values: what all charts share, and whether the chart is wanted.
const OF_HELM: &[&str] = &["enabled", "global"];

pub(super) fn check(values: &Node, findings: &mut Vec<Finding>) {
    let schema: Schema = serde_json::from_str(SCHEMA).unwrap_or_default();
    unknown_keys(values, &KeyPath::default(), &schema, findings);
    findings.extend(port_behind_url(values));
    let Some(rules @ Node { value: Value::Mapping(entries), .. }) = values.get("rules") else {
        return;
    };
    // Null takes the chart's own value away.
    let default = entries.iter().find(|(key, _)| key.text == "default").map(|(_, node)| node);
    let mut add = |severity, code, key: &str, message: String, help: &str| {
        findings.push(Finding {
            severity,
            code,
            path: ["rules", key].into(),
            place: Some(rules.get(key).unwrap_or(rules).place),
            message,
            help: help.to_owned(),
        });
    };
    if let Some(name) = rules.get("existing").and_then(Node::text).filter(|name| !name.is_empty()) {
        let message = format!(
            "the rules of the ConfigMap `{}` are served instead of those in these values",
            rules::excerpt(name)
        );
        let help = "check that ConfigMap, and leave out either `existing` or the rules";
        add(Severity::Warning, "rules-elsewhere", "existing", message, help);
    } else if default.is_none_or(|node| node.text() == Some("true")) {
        let message = "the chart adds its default rules, which offer every series with a namespace and may claim the names of these rules";
        let help = "set `default: false` if the rules in these values are all that is wanted";
        add(Severity::Info, "default-rules", "default", message.to_owned(), help);
    }
}

/// The chart puts `prometheus.port`, which has a default, behind `prometheus.url`.
fn port_behind_url(values: &Node) -> Option<Finding> {
    let prometheus = values.get("prometheus")?;
    let url = prometheus.get("url")?;
    let Value::Mapping(entries) = &prometheus.value else { return None };
    let is_appended = match entries.iter().find(|(key, _)| key.text == "port") {
        None => true,
        Some((_, Node { value: Value::Scalar(port), .. })) => !matches!(port.trim(), "" | "0"),
        Some(_) => false,
    };
    let (_, rest) = url.text()?.trim().split_once("://")?;
    if !is_appended || rest.contains("{{") {
        return None;
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    let has_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let what = match (has_port, path.is_empty()) {
        (true, _) => "a port",
        (false, false) => "a path",
        (false, true) => return None,
    };
    Some(Finding {
        severity: Severity::Warning,
        code: "port-behind-url",
        path: ["prometheus", "url"].into(),
        place: Some(url.place),
        message: format!(
            "this URL has {what}, and the chart puts `:` and `prometheus.port` behind it"
        ),
        help: "set `prometheus.port: 0`, or leave only scheme and host in the URL".to_owned(),
    })
}

fn unknown_keys(values: &Node, of: &KeyPath, schema: &Schema, findings: &mut Vec<Finding>) {
    let (Value::Mapping(entries), Some(known)) = (&values.value, schema["properties"].as_object())
    else {
        return;
    };
    for (key, node) in entries {
        let path = of.key(&rules::excerpt(&key.text));
        match known.get(&key.text) {
            Some(schema) => unknown_keys(node, &path, schema, findings),
            None if of.is_root() && is_of_others(key) => {}
            None => {
                let nearest = nearest(&key.text, known.keys().map(String::as_str));
                let message = nearest.first().map_or_else(
                    || "unknown key: the chart does not read it".to_owned(),
                    |nearest| format!("unknown key; did you mean `{nearest}`?"),
                );
                findings.push(Finding {
                    severity: Severity::Warning,
                    code: "unknown-value",
                    path,
                    place: Some(key.place),
                    message,
                    help: "correct it or leave it out: it has no effect".to_owned(),
                });
            }
        }
    }
}

/// Keys that are not meant for the chart: Helm's, and those that only hold anchors.
fn is_of_others(key: &Key) -> bool {
    OF_HELM.contains(&key.text.as_str())
        || key.is_repeated
        || ["x-", "_", "."].iter().any(|mark| key.text.starts_with(mark))
}

#[cfg(test)]
mod tests {
    use crate::core::lint;

    const CHART: &str = include_str!("../../../deploy/helm/loadline/values.yaml");

    /// Place, code and path of what is found.
    fn found(text: &str) -> Vec<String> {
        lint::check(text)
            .iter()
            .map(|found| format!("{} {} {}", found.place.unwrap(), found.code, found.path))
            .collect()
    }

    #[test]
    fn the_chart_reads_all_its_values() {
        let found: Vec<_> = lint::check(CHART).into_iter().map(|finding| finding.code).collect();
        assert_eq!(found, ["default-rules"]);
    }

    #[test]
    fn unknown_keys_are_told_where_they_are() {
        let rules = "rules: {default: false, custom: []}\n";
        for (text, wanted) in [
            ("loglevel: 1\n", vec!["1:1 unknown-value loglevel"]),
            ("logLevel: 1\n", vec![]),
            ("psp: {create: true}\n", vec!["1:1 unknown-value psp"]),
            ("prometheus: {url: u, ulr: u}\n", vec!["1:22 unknown-value prometheus.ulr"]),
            ("prometheus:\n  path: p\n  prot: 1\n", vec!["3:3 unknown-value prometheus.prot"]),
            (
                "service: {ipDualStack: {enable: true}}\n",
                vec!["1:25 unknown-value service.ipDualStack.enable"],
            ),
            // What the schema leaves open, and what Helm reads itself.
            ("resources: {limit: {cpu: 1}}\npodLabels: {a: b}\ntolerations: [{a: b}]\n", vec![]),
            ("enabled: true\nglobal: {a: b}\nx-shared: &a {a: b}\n", vec![]),
            (
                "global: {a: b}\nprometheus: {global: 1}\n",
                vec!["2:14 unknown-value prometheus.global"],
            ),
        ] {
            assert_eq!(found(&format!("{text}{rules}")), wanted, "{text}");
            // Only values of our chart are looked at.
            let below: String = text.lines().map(|line| format!("  {line}\n")).collect();
            assert!(found(&format!("prometheus-adapter:\n  {rules}other:\n{below}")).is_empty());
        }
        let nested = "a: b\nloadline:\n  rules: {default: false, custom: []}\n  replica: 2\n";
        assert_eq!(found(nested), ["4:3 unknown-value replica"]);
        let finding = lint::check("loglevel: 1\nrules: {default: false}\n").remove(0);
        assert!(finding.message.contains("`logLevel`"), "{finding:?}");
    }

    #[test]
    fn a_key_whose_value_is_repeated_is_meant_for_that() {
        let rules = "rules: {default: false, custom: []}\n";
        for used in
            ["extra: &e {a: b}\nnodeSelector: *e\n", "extra: &e {a: b}\nnodeSelector: {<<: *e}\n"]
        {
            assert!(found(&format!("{used}{rules}")).is_empty(), "{used}");
            let unused = used.replace("*e", "{a: b}");
            assert_eq!(found(&format!("{unused}{rules}")), ["1:1 unknown-value extra"]);
        }
    }

    #[test]
    fn a_port_behind_a_url_that_has_more_than_a_host_is_told() {
        let rules = "rules: {default: false, custom: []}\n";
        for (prometheus, is_told) in [
            ("{url: 'http://host:9090', port: 9090}", true),
            ("{url: 'http://host:9090'}", true),
            ("{url: 'https://user:1@[::1]:80/'}", true),
            ("{url: 'http://host/prom', port: 80}", true),
            ("{url: 'http://host:9090', port: 0}", false),
            ("{url: 'http://host:9090', port: ''}", false),
            ("{url: 'http://host:9090', port: }", false),
            ("{url: 'http://host/', port: 9090}", false),
            ("{url: 'http://user:1@[::1]', port: 9090}", false),
            ("{url: 'http://{{ .Release.Name }}:9090', port: 9090}", false),
            ("{port: 9090}", false),
        ] {
            let wanted = is_told.then(|| "1:19 port-behind-url prometheus.url".to_owned());
            let text = format!("prometheus: {prometheus}\n{rules}");
            assert_eq!(found(&text), Vec::from_iter(wanted), "{prometheus}");
        }
    }

    #[test]
    fn other_rules_than_those_of_the_values_are_told() {
        for (rules, wanted) in [
            ("default: true, custom: []", vec!["1:18 default-rules rules.default"]),
            ("custom: []", vec!["1:8 default-rules rules.default"]),
            ("default: false, custom: []", vec![]),
            ("default: , custom: []", vec![]),
            ("existing: mine, custom: []", vec!["1:19 rules-elsewhere rules.existing"]),
            ("existing: '', default: false", vec![]),
        ] {
            assert_eq!(found(&format!("rules: {{{rules}}}\n")), wanted, "{rules}");
        }
    }
}
