//! `resourceRules`: the usage of containers and nodes.

use std::collections::BTreeMap;

use promql_parser::parser::Expr;

use super::{
    Report, Severity, counters, elements,
    labels::Labels,
    parsed,
    queries::{fails, not_understood},
    sides,
};
use crate::core::{
    key_path::KeyPath,
    kinds::{GroupResource, Kinds},
    names,
    rules::{ComputeResource, ResourceRule, ResourceRules},
    template::{QueryArguments, QueryTemplate},
};

pub(super) fn check(rules: &ResourceRules, kinds: &Kinds, report: &mut Report<'_>) {
    for rule in [&rules.cpu, &rules.memory].into_iter().flatten() {
        let mut check = Check { rule, report: &mut *report };
        let mapping = rule.mapping.resolve(kinds);
        let label = |resource| mapping.label(&GroupResource::parse(resource)).map(str::to_owned);
        if let (Some(query), Some(pod), Some(namespace)) =
            (&rule.container_query, label("pods"), label("namespaces"))
        {
            let matchers = format!("{}=\"n\",{}", names::label(&namespace), opaque(&pod));
            check.query("containerQuery", query, &matchers, &[pod, rule.container_label.clone()]);
        }
        if let (Some(query), Some(node)) = (&rule.node_query, label("nodes")) {
            check.query("nodeQuery", query, &opaque(&node), &[node]);
        }
    }
}

/// Checks that there is something to query where `resourceRules` are written: prometheus-adapter serves metrics.k8s.io then, too,
/// and every read fails.
pub(super) fn check_written(report: &mut Report<'_>) {
    let path = KeyPath::from("resourceRules");
    let has_rules = report.written.keys(&path).any(|key| ["cpu", "memory"].contains(&key));
    if !has_rules && report.written.has(&path) {
        let message =
            "it has neither `cpu` nor `memory`: metrics.k8s.io is served, and no usage can be read";
        let help = "take it away, or write rules for `cpu` and `memory`";
        report.add(Severity::Info, "no-resource-rules", path, message, help);
    }
}

/// Matches two objects whose names nothing else has.
fn opaque(label: &str) -> String {
    format!("{}=~\"loadline-opaque-one|loadline-opaque-two\"", names::label(label))
}

struct Check<'r, 'w> {
    rule: &'r ResourceRule,
    report: &'r mut Report<'w>,
}

impl Check<'_, '_> {
    fn query(&mut self, key: &str, query: &QueryTemplate, matchers: &str, labels: &[String]) {
        let written: Vec<_> = labels.iter().map(|label| names::label(label).into_owned()).collect();
        let rendered = query.render(&QueryArguments {
            series: "",
            label_matchers: matchers,
            label_values_by_name: &BTreeMap::new(),
            group_by: &written.join(","),
            group_by_slice: &written,
        });
        let query = match rendered {
            Ok(query) => query,
            Err(error) => return fails(self.rule.id.entry, key, error.to_string(), self.report),
        };
        let tree = match parsed(&query) {
            Ok(tree) => tree,
            Err(reason) => {
                not_understood(self.rule.id.entry, key, &query, &reason, self.report);
                return;
            }
        };
        if !query.contains("loadline-opaque") {
            let message = "the query does not depend on which objects are asked for";
            let help = "put <<.LabelMatchers>> into the braces of each selector";
            self.warning("no-label-matchers", key, message, help);
        }
        self.labels(key, &tree, labels);
        // Series of one exporter have the same labels, as the memory that a node has and the part that is free.
        if let Some(unmatched) =
            sides::unmatched(&tree, self.report.written.text(&self.rule.id.entry.key(key)))
            && unmatched.severity == Severity::Warning
        {
            self.warning(sides::CODE, key, unmatched.message, sides::HELP);
        }
        self.rates(key, &tree);
    }

    fn labels(&mut self, key: &str, tree: &Expr, labels: &[String]) {
        let Some(elements) = elements::of(tree) else { return };
        if let Some(label) = labels.iter().find(|label| !elements.labels.has(label)) {
            let message = format!("the result has no label `{label}`, so there is never a value");
            let help = "aggregate `by (<<.GroupBy>>)`";
            self.warning("label-aggregated-away", key, message, help);
        } else if !elements.are_one_by(&Labels::these(labels)) {
            let of = if labels.len() == 1 { "node" } else { "container" };
            let message = format!("the result may have several samples for one {of}");
            let help = "aggregate by nothing else than the labels of <<.GroupBy>>";
            self.warning("several-samples-per-object", key, message, help);
        }
    }

    fn rates(&mut self, key: &str, tree: &Expr) {
        let has_rate = counters::has_rate(tree);
        let is_cpu = self.rule.resource == ComputeResource::Cpu;
        if is_cpu && !has_rate && counters::reads_counter(tree) {
            let message = "CPU seconds are counted, and the query takes no rate of them";
            let help = "take the rate, as in `rate(…[3m])`, which is in cores";
            self.warning("cpu-without-rate", key, message, help);
        }
        if !is_cpu && has_rate {
            let message = "memory is no counter, and the query takes a rate of it";
            let help = "read the bytes that are in use as they are";
            self.warning("rate-of-memory", key, message, help);
        }
    }

    fn warning(&mut self, code: &'static str, key: &str, message: impl Into<String>, help: &str) {
        self.report.warning(self.rule.id.entry, code, key, message, help);
    }
}
