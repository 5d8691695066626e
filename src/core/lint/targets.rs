//! Labels that describe the scraped target, and not the object of the series.

use promql_parser::label::{METRIC_NAME, MatchOp};

use super::{Report, listed};
use crate::core::{
    key_path::KeyPath,
    kinds::{GroupResource, Kinds},
    rules::RuleBase,
};

/// What Prometheus calls the targets of one scrape configuration.
const JOB: &str = "job";

/// What Prometheus' operator calls the Service that a target is found by.
const SERVICE: &str = "service";

/// Prefixes of series whose exporters describe other objects than themselves: kube-state-metrics, the kubelet, those
/// of nodes and of NVIDIA's GPUs.
const OF_OTHERS: [&str; 4] = ["kube_", "container_", "node_", "DCGM_"];

/// What Prometheus puts before a series' own label where the target has one of the same name.
const EXPORTED: &str = "exported_";

pub(super) fn check(rule: &RuleBase, kinds: &Kinds, report: &mut Report<'_>) {
    let mapping = rule.mapping.resolve(kinds);
    let overrides = rule.id.entry.key(["resources", "overrides"]);
    let written: Vec<_> = report.written.keys(&overrides).map(str::to_owned).collect();
    if mapping.label(&GroupResource::parse("jobs.batch")) == Some(JOB) {
        let is_named = written.iter().any(|label| label == JOB);
        let key: KeyPath = if is_named {
            ["resources", "overrides", JOB].into()
        } else {
            ["resources", "template"].into()
        };
        report.info(
            rule.id.entry,
            "scrape-target-label",
            key,
            "`job` is what Prometheus calls the targets of a scrape configuration, so metrics of `jobs.batch` are not those of Jobs. `namespace`, `pod` and `service` may be those of the exporter, too",
            "nothing, if nobody reads metrics of Jobs; otherwise map the labels in `overrides`, and only those that name what the series are about",
        );
    }
    if written.iter().any(|label| label == SERVICE)
        && mapping.kind(SERVICE).is_some_and(|kind| kind.resource.resource == "services")
        && tells_of_others(rule)
    {
        report.info(
            rule.id.entry,
            "scrape-target-label",
            ["resources", "overrides", SERVICE],
            "`service` is the Service by which Prometheus reaches the exporter, and not one that these series are about",
            "take it out, unless the scrape is relabelled",
        );
    }
    let exported: Vec<_> = written.iter().filter(|label| label.starts_with(EXPORTED)).collect();
    if let Some(first) = exported.first() {
        let mut message = format!(
            "{} of a series exist only where its target has labels of the same name without `{EXPORTED}`, and the scrape does not honor those of the series",
            listed(&exported)
        );
        if let Some(namespace) = mapping.namespace_label()
            && !namespace.starts_with(EXPORTED)
        {
            message.push_str("; `");
            message.push_str(namespace);
            message.push_str("` is the exporter's namespace then");
        }
        report.info(
            rule.id.entry,
            "exported-label",
            ["resources", "overrides", first],
            message,
            "nothing, if the scrape stays as it is; with `honorLabels: true` (`honor_labels`) the labels are called as the exporter calls them",
        );
    }
}

fn tells_of_others(rule: &RuleBase) -> bool {
    rule.selector.matchers().unwrap_or_default().iter().any(|matcher| {
        let name = matcher.value.trim_start_matches(['^', '(']);
        matcher.name == METRIC_NAME
            && matches!(matcher.op, MatchOp::Equal | MatchOp::Re(_))
            && OF_OTHERS.iter().any(|prefix| name.starts_with(prefix))
    })
}
