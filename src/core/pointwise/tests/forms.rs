//! Queries, short: `D` stands for a selector that carries the names, `G` for the label to group by.

use super::Shared::{self, InCluster, InNamespace};

/// Forms that people write, by name. The first are those that most rules have.
pub(super) const EVERYDAY: &[(&str, &str, Shared)] = &[
    ("rate summed by the object", "sum(rate(D[2m])) by (G)", InCluster),
    ("average", "avg(D) by (G)", InCluster),
    ("maximum", "max by (G) (D)", InCluster),
    ("a gauge as it is", "D", InCluster),
    ("a fixed name", "sum(rate(http_requests_total{<<.LabelMatchers>>}[2m])) by (G)", InCluster),
    ("a further matcher", "sum(some{code=~\"5..\",<<.LabelMatchers>>}) by (G)", InCluster),
    (
        "a fixed matcher on the key",
        "sum(some{pod!~\"canary-.*\",<<.LabelMatchers>>}) by (G)",
        InCluster,
    ),
    (
        "values by name",
        "sum(some{namespace=~\"<<index .LabelValuesByName \"namespace\">>\",pod=~\"<<index .LabelValuesByName \"pod\">>\"}) by (G)",
        InCluster,
    ),
    ("the label written out", "sum(D) by (pod)", InNamespace),
    ("both labels written out", "sum(D) by (namespace, pod)", InCluster),
    ("without another label", "sum without (instance, container) (D)", InCluster),
    ("ratio by the same labels", "sum(rate(D[2m])) by (G) / sum(rate(D[2m])) by (G)", InCluster),
    ("ratio on the labels", "sum(D) by (G) / on (G) sum(D) by (G)", InCluster),
    ("ratio of series", "D / ignoring (code) D", InCluster),
    ("percent of a limit", "100 * sum(D) by (G) / sum(D) by (G)", InCluster),
    ("many to one, both with names", "D / on (G) group_left () sum(D) by (G)", InCluster),
    ("histogram_quantile", "histogram_quantile(0.99, sum(rate(D[2m])) by (le, G))", InCluster),
    ("a native histogram", "histogram_quantile(0.99, sum by (G) (rate(D[2m])))", InCluster),
    ("the mean of a native histogram", "histogram_avg(sum by (G) (rate(D[2m])))", InCluster),
    (
        "a part of a native histogram",
        "histogram_fraction(0, 0.2, sum by (G) (rate(D[2m])))",
        InCluster,
    ),
    ("histogram_quantile of buckets", "histogram_quantile(0.5, rate(D[2m]))", InCluster),
    (
        "join with information",
        "sum(D * on (namespace, pod) group_left (node) kube_pod_info) by (G)",
        InCluster,
    ),
    (
        "join on another label",
        "sum by (G) (D * on (node) group_left (zone) kube_node_labels)",
        InCluster,
    ),
    ("join, information first", "kube_node_labels * on (node) group_right () D", InCluster),
    (
        "one to one with another metric",
        "sum(D) by (pod) / on (pod) sum(limits) by (pod)",
        InNamespace,
    ),
    (
        "another metric is the many side",
        "limits * on (namespace, pod) group_left () sum(D) by (namespace, pod)",
        InCluster,
    ),
    ("or zero", "sum(D) by (G) or vector(0)", InNamespace),
    ("or another metric", "sum(D) by (G) or sum(other) by (pod)", InNamespace),
    ("another metric, or this one", "other or D", InNamespace),
    ("either metric", "sum(D) by (G) or sum(D * 2) by (G)", InCluster),
    ("only where another metric is", "D and on (namespace, pod) kube_pod_ready", InCluster),
    ("only on ready nodes", "sum(D and on (node) ready) by (G)", InCluster),
    ("another metric where this one is", "other and on (namespace, pod) D", InCluster),
    ("unless", "sum(D unless on (namespace) paused) by (G)", InCluster),
    ("unless there are names", "other unless on (namespace, pod) D", InNamespace),
    ("a day ago", "sum(D offset 1d) by (G)", InCluster),
    ("at a time", "sum(D @ 1600000000) by (G)", InCluster),
    ("topk in the object", "max by (G) (topk by (G) (2, D))", InCluster),
    ("quantile in the object", "quantile by (G) (0.9, D)", InCluster),
    ("count_values of another label", "count_values by (G) (\"version\", D)", InCluster),
    ("clamp", "clamp(sum(D) by (G), 1, 100)", InCluster),
    ("round", "round(sum(D) by (G))", InCluster),
    ("unary", "-sum(D) by (G)", InCluster),
    ("avg_over_time", "avg_over_time(D[5m])", InCluster),
    ("max_over_time of a subquery", "max_over_time(sum(rate(D[1m])) by (G)[10m:30s])", InCluster),
    ("predict_linear", "predict_linear(D[1h], 600)", InCluster),
    ("deriv", "sum(deriv(D[5m])) by (G)", InCluster),
    ("age", "time() - max(D) by (G)", InCluster),
    ("timestamp", "time() - timestamp(D)", InCluster),
    ("comparison", "sum(D > 0) by (G)", InCluster),
    ("comparison as a number", "sum(D) by (G) >= bool 5", InCluster),
    ("share of everything", "sum(D) by (G) / scalar(sum(some_series))", InCluster),
    ("a parameter from elsewhere", "quantile by (G) (scalar(level), D)", InCluster),
    (
        "label_replace of another label",
        "label_replace(D, \"app\", \"$1\", \"pod\", \"(.*)-.*\")",
        InCluster,
    ),
    (
        "label_join of another label",
        "label_join(D, \"key\", \"/\", \"namespace\", \"pod\")",
        InCluster,
    ),
];

/// What is shared nowhere, and why.
pub(super) const REFUSED: &[(&str, &str)] = &[
    // One object's value depends on others.
    ("sum(D)", "`sum` aggregates the label `pod` away"),
    ("sum(D) by (namespace)", "`sum` aggregates the label `pod` away"),
    ("sum without (pod) (D)", "`sum` aggregates the label `pod` away"),
    ("topk(1, D)", "`topk` aggregates the label `pod` away"),
    ("quantile by (node) (0.5, D)", "`quantile` aggregates the label `pod` away"),
    ("sum(D) by (G) / scalar(sum(D))", "`sum` aggregates the label `pod` away"),
    (
        "absent(D)",
        "`absent` of something that depends on the names is not known to work element by element",
    ),
    (
        "absent_over_time(D[5m])",
        "`absent_over_time` of something that depends on the names is not known to work element by element",
    ),
    (
        "vector(scalar(D))",
        "`scalar` of something that depends on the names is not known to work element by element",
    ),
    (
        "topk by (G) (scalar(D), some)",
        "`scalar` of something that depends on the names is not known to work element by element",
    ),
    (
        "limitk by (G) (1, D)",
        "`limitk` of something that depends on the names is not known to work element by element",
    ),
    (
        "limit_ratio by (G) (0.5, D)",
        "`limit_ratio` of something that depends on the names is not known to work element by element",
    ),
    (
        "info(D)",
        "`info` of something that depends on the names is not known to work element by element",
    ),
    (
        "label_replace(D, \"pod\", \"$1\", \"pod\", \"(.*)-.*\")",
        "`label_replace` may write the label `pod`",
    ),
    ("label_join(D, \"pod\", \"\", \"node\")", "`label_join` may write the label `pod`"),
    (
        "label_replace(D, (\"pod\"), \"\", \"x\", \"\")",
        "`label_replace` of something that depends on the names is not known to work element by element",
    ),
    ("count_values by (G) (\"pod\", D)", "`count_values` may write the label `pod`"),
    (
        "count_values by (G) ((\"pod\"), D)",
        "`count_values` of something that depends on the names is not known to work element by element",
    ),
    // The sides of an operator.
    ("D / ignoring (pod) group_left () D", "`/` with names on both sides needs `pod` in its match"),
    ("D / on (node) D", "`/` with names on both sides needs `pod` in its match"),
    ("D and on () D", "`and` with names on both sides needs `pod` in its match"),
    ("D / ignoring (pod) group_left () sum(D)", "`sum` aggregates the label `pod` away"),
    ("D or on () (some * 0)", "`or` with names only on its left needs `pod` in its match"),
    ("some or on () D", "`or` with names only on its right needs `pod` in its match"),
    (
        "some unless on (namespace) D",
        "`unless` with names only on its right needs `pod` in its match",
    ),
    ("some and on (namespace) D", "`and` with names only on its right needs `pod` in its match"),
    (
        "some * on (node) group_left () D",
        "`*` with names only on its right needs `pod` in its match",
    ),
    ("D * on (node) some", "`*` with names only on its left needs `pod` in its match"),
    (
        "D * on (node) group_right () some",
        "`*` with names only on its left needs `pod` in its match",
    ),
    ("D > on (node) some", "`>` with names only on its left needs `pod` in its match"),
    ("D * on (node) group_left (pod) some", "`*` includes the label `pod` of its other side"),
    ("D * on (pod) fill (0) some", "`*` fills in values"),
    (
        "D / (sum(D) by (G) or vector(1))",
        "a side of `/` may have elements without `pod`, which some backends take for a number; say `on` or `ignoring`",
    ),
    // Names in other places.
    (
        "some{pod=~\"<<index .LabelValuesByName \"pod\">>-canary\"}",
        "`pod=~\".+-canary\"` has the names in another form than .LabelMatchers has",
    ),
    (
        "some{pod!~\"<<index .LabelValuesByName \"pod\">>\"}",
        "`pod!~\".+\"` has the names in another form than .LabelMatchers has",
    ),
    (
        "some{pod=\"<<index .LabelValuesByName \"pod\">>\"}",
        "`pod=\".+\"` has the names in another form than .LabelMatchers has",
    ),
    (
        "some{name=~\"<<index .LabelValuesByName \"pod\">>\"}",
        "`name=~\".+\"` has the names in another form than .LabelMatchers has",
    ),
    (
        "label_replace(some, \"a\", \"<<index .LabelValuesByName \"pod\">>\", \"\", \"\")",
        "the names change more than what selectors match",
    ),
    (
        "sum(some{<<.LabelMatchers>> or pod=\"x\"}) by (G)",
        "the names change more than what selectors match",
    ),
    (
        "<<if eq (index .LabelValuesByName \"pod\") \"n-1\">>1<<else>>2<<end>>",
        "the names change more than what selectors match",
    ),
    (
        "<<if eq (index .LabelValuesByName \"pod\") \"n-1\">>some<<else>>some{<<.LabelMatchers>>}<<end>>",
        "the names change more than what selectors match",
    ),
    // What is not known.
    ("rollup(D[5m])", "the parser does not know this query: unknown function with name 'rollup'"),
    ("D default 0", "the parser does not know this query: invalid promql query"),
];

/// What the whole cluster does not share, and why.
pub(super) const REFUSED_IN_CLUSTER: &[(&str, &str)] = &[
    ("sum(D) by (pod)", "`sum` aggregates the label `namespace` away"),
    ("sum without (namespace) (D)", "`sum` aggregates the label `namespace` away"),
    (
        "some{pod=~\"<<index .LabelValuesByName \"pod\">>\"}",
        "a selector has the match on `pod` without the one on `namespace`",
    ),
    (
        "some{namespace=~\"<<index .LabelValuesByName \"namespace\">>\"}",
        "a selector has the match on `namespace` without the one on `pod`",
    ),
    ("D / on (pod) D", "`/` with names on both sides needs `namespace` in its match"),
    (
        "D * on (node) group_left (namespace) some",
        "`*` includes the label `namespace` of its other side",
    ),
    (
        "label_replace(D, \"namespace\", \"x\", \"\", \"\")",
        "`label_replace` may write the label `namespace`",
    ),
    // The answer for one namespace would have elements of others.
    ("sum(D) by (G) or vector(0)", "`or` lets in elements of every namespace"),
    ("D or on (namespace, pod) other", "`or` lets in elements of every namespace"),
    ("other unless on (namespace, pod) D", "`unless` lets in elements of every namespace"),
    // The label of the namespace changes what matches.
    (
        "sum(D) by (G) * on (G) group_left () some",
        "grouping by `namespace` as well may change the result of `*`",
    ),
    (
        "sum(D) by (G) / sum(limits) by (namespace, pod)",
        "grouping by `namespace` as well may change the result of `/`",
    ),
    (
        "sum(D) by (G) and on (namespace) some",
        "grouping by `namespace` as well may change the result of `and`",
    ),
    ("sum(D) by (G) / D", "grouping by `namespace` as well may change the result of `/`"),
    ("sum(D) by (G) or D", "grouping by `namespace` as well may change the result of `or`"),
    (
        "D * on (G) group_left () sum(other) by (G)",
        "grouping by `namespace` as well may change the result of `sum`",
    ),
    (
        "D and on (namespace, pod) (a * on (G) b)",
        "grouping by `namespace` as well may change the result of `*`",
    ),
    (
        "label_replace(sum(D) by (G), \"x\", \"$1\", \"namespace\", \"(.*)\")",
        "`label_replace` reads the label `namespace` that only the grouping for the whole cluster has",
    ),
    (
        "label_join(sum(D) by (G), \"x\", \"\", \"pod\", \"namespace\")",
        "`label_join` reads the label `namespace` that only the grouping for the whole cluster has",
    ),
    ("sum without (<<.GroupBy>>) (some)", "the names change more than what selectors match"),
    (
        "<<if eq .GroupBy \"pod\">>D<<else>>sum(D) by (G)<<end>>",
        "the names change more than what selectors match",
    ),
];
