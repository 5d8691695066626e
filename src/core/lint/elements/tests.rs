//! What is known of the elements of queries.

use promql_parser::parser::parse;

use super::*;

/// What of `pod` and others the elements have; whether a pod has one element at most.
#[track_caller]
fn elements(query: &str) -> Option<(bool, bool)> {
    let elements = of(&parse(query).unwrap_or_else(|error| panic!("{query}: {error}")))?;
    Some((elements.labels.has("pod"), elements.are_one_by(&Labels::these(["pod"]))))
}

#[test]
fn one_element_for_a_pod() {
    for query in [
        "sum by (pod) (a)",
        "sum(rate(a{x=\"y\"}[1m])) by (pod)",
        "max by (pod) (a) * 100",
        "100 - avg by (pod) (a)",
        "-sum by (pod) (a)",
        "sum by (namespace, pod) (a{namespace=\"n\"})",
        "sum by (pod, container) (a{container=\"c\"})",
        "sum by (pod) (a) / sum by (pod) (b)",
        "sum by (pod, x) (a) / on (pod) sum by (pod) (b)",
        "sum by (pod) (a) * on (pod) group_left (node) kube_pod_info",
        "kube_pod_info * on (pod) group_right (node) sum by (pod) (a)",
        "histogram_quantile(0.9, sum by (le, pod) (rate(a_bucket[1m])))",
        "sum by (pod) (a) or sum by (pod) (b)",
        "sum by (pod) (a) or vector(0)",
        "topk(1, sum by (pod, x) (a)) by (pod)",
        "topk(1, a) by (pod)",
        "sum by (pod) (a) > bool 5",
        "sum by (pod) (a) and on (pod) b",
        "label_replace(sum by (pod) (a), \"x\", \"$1\", \"pod\", \"(.*)-.*\")",
        "label_replace(sum by (instance) (a), \"pod\", \"$1\", \"instance\", \"(.*)\")",
        "label_join(sum by (instance) (a), \"pod\", \"\", \"instance\")",
        "label_replace(sum by (pod) (a), \"x\", \"$1\", \"pod\", \"(.*)\")",
        "label_join(sum by (pod) (a), \"x\", \"-\", \"pod\")",
        "label_replace(label_replace(sum by (instance) (a), \"pod\", \"$1\", \"instance\", \"(.*)\"), \"x\", \"$1\", \"instance\", \"(.*)\")",
        "-label_replace(sum by (pod) (a), \"x\", \"$1\", \"pod\", \"(.*)\") * 2",
        "label_join(sum by (instance) (a), \"pod\", \"\", \"instance\") * on (pod) group_left () b",
        "label_join(sum by (instance) (a), \"pod\", \"\", \"instance\") or on (pod) sum by (pod) (b)",
        "max_over_time(sum by (pod) (rate(a[1m]))[5m:])",
        "quantile by (pod) (0.5, a)",
        "clamp_min(sum by (pod) (a), 1)",
        "avg without (x) (sum by (pod, x) (a))",
        "count by (pod) (count by (pod, container) (a))",
    ] {
        assert_eq!(elements(query), Some((true, true)), "{query}");
    }
}

#[test]
fn several_elements_for_a_pod_are_possible() {
    for query in [
        "a",
        "a{pod!=\"\"}",
        "rate(a[1m])",
        "sum by (pod, x) (a)",
        "sum without (x) (a)",
        "sum by (pod) (a) * on (pod) group_right () b",
        "a / on (pod) group_left () sum by (pod) (b)",
        "a / b",
        "a or sum by (pod) (b)",
        "sum by (pod, x) (a{x=\"1\"}) or sum by (pod, x) (a{x=\"2\"})",
        "topk(2, a) by (pod)",
        "topk(1, a) by (pod, x)",
        "topk(1, a) without (x)",
        "histogram_quantile(0.9, rate(a_bucket[1m]))",
        "histogram_quantile(0.9, sum by (le, pod, x) (rate(a_bucket[1m])))",
        "count_values by (pod) (\"v\", a)",
        "label_replace(sum by (instance) (a), \"pod\", \"$1\", \"instance\", \"(.*)-.*\")",
        "label_replace(sum by (pod, y) (a), \"x\", \"$1\", \"pod\", \"(.*)\")",
        "label_replace(sum by (pod, x) (a), \"x\", \"$1\", \"y\", \"(.*)\")",
        "last_over_time({__name__=~\"a.*\", pod=\"x\"}[1m])",
    ] {
        assert_eq!(elements(query), Some((true, false)), "{query}");
    }
}

#[test]
fn an_aggregation_may_drop_the_label() {
    for query in [
        "sum(a)",
        "sum by (x) (a)",
        "sum without (pod) (a)",
        "sum by (x) (sum by (pod) (a))",
        "sum by (pod) (a) / on (x) sum by (x) (b)",
        "sum by (pod) (a) / sum(b)",
        "vector(1)",
        "hour()",
        "histogram_quantile(0.9, sum by (le) (rate(a_bucket[1m])))",
        "sum by (pod) (a{pod=\"\"})",
    ] {
        assert_eq!(elements(query).map(|(has, _)| has), Some(false), "{query}");
    }
}

#[test]
fn what_is_not_known_is_not_said() {
    for query in ["1", "time()", "scalar(a)", "info(a)", "1 + 2"] {
        assert_eq!(elements(query), None, "{query}");
    }
}
