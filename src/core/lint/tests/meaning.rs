//! Queries that run, and read something else than their author means.

use super::*;

const WARNING: Severity = Severity::Warning;
const INFO: Severity = Severity::Info;

fn external(query: &str, more: &str) -> String {
    rule("queue", query, more).replace("rules:", "externalRules:")
}

/// A rule whose query is in double quotes, so that it can have single ones.
fn quoted(query: &str) -> String {
    let query = query.replace('"', "\\\"");
    format!("externalRules: [{{seriesQuery: queue, resources: {PODS}, metricsQuery: \"{query}\"}}]")
}

#[test]
fn selectors_that_never_reach_the_query() {
    let code = "selector-ignored";
    let sum = "sum(queue{<<.LabelMatchers>>})";
    for more in ["", "resources: {namespaced: false}"] {
        tells(code, WARNING, &external("sum(queue)", more), &external(sum, more));
    }
    tells(code, WARNING, &external("sum(queue) # <<.LabelMatchers>>", ""), &external(sum, ""));
    // One of the selectors is enough.
    let ratio = "sum(queue{<<.LabelMatchers>>}) / on() group_left() sum(workers)";
    tells(code, WARNING, &external("sum(queue{name=\"a\"})", ""), &external(ratio, ""));
    // Nor in a dialect.
    for dialect in
        ["sum(queue) limit 5", "sum(range_last(queue))", "sum({a=\"b\"}) keep_metric_names"]
    {
        let good = dialect.replace("queue", "queue{<<.LabelMatchers>>}");
        let good = good.replace("{a=", "{<<.LabelMatchers>>,a=");
        tells(code, WARNING, &external(dialect, ""), &external(&good, ""));
    }
    tells(code, WARNING, &external("sum(queue) limit 5", ""), &external("time() limit 5", ""));
    // Nothing is selected from.
    tells(code, WARNING, &external("sum(queue) * hour()", ""), &external("vector(hour())", ""));
    // Values by label: that of the namespace is not the autoscaler's.
    let by = |label: &str| {
        quoted(&format!("sum(queue{{name=\"<<index .LabelValuesByName \"{label}\">>\"}})"))
    };
    tells(code, WARNING, &by("namespace"), &by("queue_name"));
    let by = |label: &str| {
        external(&format!("sum(queue{{name=\"<<.LabelValuesByName.{label}>>\"}})"), "")
    };
    tells(code, WARNING, &by("namespace"), &by("queue_name"));
    let all = "<<range $k, $v := .LabelValuesByName>><<$k>>=\"<<$v>>\",<<end>>";
    tells(code, WARNING, &quoted("sum(queue)"), &quoted(&format!("sum(queue{{{all}}})")));
    let place = check(&external("sum(queue)", ""))[0].place.unwrap();
    assert_eq!((place.line, place.column), (2, 40));

    // A static rule whose query is no template means one number.
    let number = "resources: {namespaced: false}, static: true";
    tells(code, INFO, &external("sum(queue)", number), &external(sum, number));
    let by = external("sum(queue) by (<<.GroupBy>>)", number);
    tells(code, WARNING, &by, &external(sum, number));

    // An autoscaler of objects seldom has one.
    let by_name = "sum(up{namespace=\"<<.LabelValuesByName.namespace>>\",pod=~\"<<.LabelValuesByName.pod>>\"}) by (pod)";
    tells(code, INFO, &rule("up", by_name, ""), &rule("up", SUM, ""));
    // It has been said that nothing reaches the query.
    assert!(!codes(&rule("up", "sum(up) by (pod)", "")).contains(&code));
}

#[test]
fn selectors_without_the_matchers_that_others_have() {
    let code = "selector-without-matchers";
    let of = |query: &str| rule("up", query, "");
    let pods = "by (<<.GroupBy>>)";
    for bad in [
        "sum(up) PODS / sum(b{<<.LabelMatchers>>}) PODS",
        "sum(<<.Series>>{<<.LabelMatchers>>}) PODS / sum(rate(b[5m])) PODS",
        "sum(b{<<.LabelMatchers>>}) PODS or max(up) PODS",
        "sum(b{<<.LabelMatchers>>} * on(pod) group_left() sum(up{namespace!=\"\"}) by (pod)) PODS",
        "sum(b{<<.LabelMatchers>>}) PODS - sum(up) without (namespace)",
        "sum(b{<<.LabelMatchers>>}) PODS - sum(up{pod=~\"<<.LabelValuesByName.pod>>\"}) PODS",
    ] {
        let bad = bad.replace("PODS", pods);
        let good = bad.replace("up)", "up{<<.LabelMatchers>>})");
        let good = good.replace("b[", "b{<<.LabelMatchers>>}[");
        let good = good.replace("{namespace!=\"\"}", "{<<.LabelMatchers>>}");
        let good = good.replace("{pod=~", "{<<.LabelMatchers>>,pod=~");
        tells(code, WARNING, &of(&bad), &of(&good));
    }
    for good in [
        // A total, and what is joined by the namespace.
        "sum(b{<<.LabelMatchers>>}) PODS / scalar(sum(up))",
        "sum(b{<<.LabelMatchers>>}) PODS / on() group_left() sum(up)",
        "sum(b{<<.LabelMatchers>>} * on(namespace, pod) group_left() kube_pod_info) PODS",
        "sum(b{<<.LabelMatchers>>} * on(namespace, pod) group_left() max(kube_pod_info) by (namespace, pod)) PODS",
        "sum(b{<<.LabelMatchers>>} * on(pod) group_left() kube_pod_info) PODS",
        "sum(up * on(namespace, pod) group_left() kube_pod_info{<<.LabelMatchers>>}) PODS",
        "sum(b{<<.LabelMatchers>>}) PODS / sum(up{namespace=\"shared\"}) PODS",
        "sum(b{<<.LabelMatchers>>}) PODS or 0 * sum(up) PODS",
        "sum(b{<<.LabelMatchers>>}) PODS or vector(0)",
    ] {
        let good = of(&good.replace("PODS", pods));
        assert!(!codes(&good).contains(&code), "{good}");
    }
    // Nodes have no namespace, and of the whole query it has been said.
    let nodes = "resources: {overrides: {node: {resource: node}}}";
    let by_node = "sum(up) by (node) / sum(b{<<.LabelMatchers>>}) by (node)";
    assert!(!codes(&rule("up", by_node, nodes)).contains(&code));
    assert!(!codes(&of("sum(up) by (pod)")).contains(&code));

    let everywhere = "resources: {namespaced: false}";
    for more in ["", everywhere] {
        for (bad, good) in [
            (
                "sum(queue) / count(queue{<<.LabelMatchers>>})",
                "sum(queue{<<.LabelMatchers>>}) / sum(queue)",
            ),
            (
                "sum(queue{<<.LabelMatchers>>}) / count(queue)",
                "sum(queue{<<.LabelMatchers>>}) / count(workers)",
            ),
            (
                "sum(queue{a=\"b\",<<.LabelMatchers>>}) / count(queue{a=\"b\"})",
                "sum(queue{<<.LabelMatchers>>}) / count(queue{a=\"b\"})",
            ),
            (
                "sum(rate(x_sum[2m])) / sum(rate(x_count{<<.LabelMatchers>>}[2m]))",
                "sum(rate(x_sum{<<.LabelMatchers>>}[2m])) / sum(rate(x_count{<<.LabelMatchers>>}[2m]))",
            ),
            (
                "sum(queue{<<.LabelMatchers>>}) or sum(queue)",
                "sum(queue{<<.LabelMatchers>>}) or 0 * sum(queue)",
            ),
            ("queue{<<.LabelMatchers>>} or queue", "queue{<<.LabelMatchers>>} or absent(queue)"),
        ] {
            tells(code, WARNING, &external(bad, more), &external(good, more));
        }
    }
    let by_name =
        "sum(queue{<<.LabelMatchers>>}) / count(queue{name=\"<<.LabelValuesByName.name>>\"})";
    assert!(!codes(&external(by_name, everywhere)).contains(&code));
}

#[test]
fn commas_beside_matchers_that_may_be_empty() {
    let code = "misplaced-comma";
    let everywhere = "resources: {namespaced: false}";
    let of = |matchers: &str| external(&format!("sum(queue{{{matchers}}})"), everywhere);
    let good = of("topic=\"t\",<<.LabelMatchers>>");
    for bad in [
        "<<.LabelMatchers>>,topic=\"t\"",
        "<<.LabelMatchers>>topic=\"t\"",
        "topic=\"t\"<<.LabelMatchers>>",
        "topic=\"t\" <<.LabelMatchers>>",
        "<<.LabelMatchers>> , topic=\"t\"",
        "a=\"b\",<<.LabelMatchers>>,topic=\"t\"",
    ] {
        tells(code, WARNING, &of(bad), &good);
        assert_eq!(codes(&of(bad)), [code], "{bad}");
    }
    // The namespace is always matched.
    let namespaced = |matchers: &str| external(&format!("sum(queue{{{matchers}}})"), "");
    tells(
        code,
        WARNING,
        &of("<<.LabelMatchers>>,a=\"b\""),
        &namespaced("<<.LabelMatchers>>,a=\"b\""),
    );
    tells(code, WARNING, &namespaced("<<.LabelMatchers>>a=\"b\""), &good);
    // Alternatives, a comma that is no matcher's, and one that is wrong whatever is asked for.
    for other in [
        ",a=\"b\"",
        "a=\"b\"c=\"d\"",
        "a=\"b\" or c=\"d\",<<.LabelMatchers>>",
        "a=\"{,\",<<.LabelMatchers>>",
    ] {
        assert!(!codes(&of(other)).contains(&code), "{other}");
    }
}

#[test]
fn selectors_of_the_query_that_match_nothing() {
    let code = "contradictory-matchers";
    for (bad, good) in
        [("a=\"x\",a!~\"x.*\"", "a=\"x\",a!~\"y.*\""), ("a=\"x\",a=\"y\"", "a=\"x\",a=\"x\"")]
    {
        let sum = |matchers: &str| format!("sum(queue{{<<.LabelMatchers>>,{matchers}}})");
        tells(code, WARNING, &external(&sum(bad), ""), &external(&sum(good), ""));
        let by_pod = |matchers: &str| rule("up", &format!("{} by (pod)", sum(matchers)), "");
        tells(code, WARNING, &by_pod(bad), &by_pod(good));
    }
    for good in [
        // What is asked for may be just that.
        "sum(queue{<<.LabelMatchers>>,namespace=\"a\"})",
        "sum(queue{a=\"<<.LabelValuesByName.a>>\",a!=\"\"})",
        "sum(queue{a=\"x\"}) + sum(queue{a=\"y\"})",
        "sum(queue{a=\"x\",b=\"y\" or a=\"z\"})",
    ] {
        assert!(!codes(&external(good, "")).contains(&code), "{good}");
    }
}

#[test]
fn sides_that_do_not_match() {
    let code = "unmatched-sides";
    let of = |query: &str| rule("up", query, "");
    let good = [
        "sum(a{<<.LabelMatchers>>} + on(pod) up{<<.LabelMatchers>>}) by (pod)",
        "sum(a{<<.LabelMatchers>>} + ignoring(engine) up{<<.LabelMatchers>>}) by (pod)",
        "sum(a{<<.LabelMatchers>>}) by (pod) / sum(up{<<.LabelMatchers>>}) by (pod)",
        "sum(a{<<.LabelMatchers>>}) by (pod, x) / sum(up{<<.LabelMatchers>>}) by (x, pod)",
        "sum(rate(a_sum{<<.LabelMatchers>>}[2m]) / rate(a_count{<<.LabelMatchers>>}[2m])) by (pod)",
        "sum(up{<<.LabelMatchers>>} - up{<<.LabelMatchers>>} offset 5m) by (pod)",
        "sum(a{<<.LabelMatchers>>} or up{<<.LabelMatchers>>}) by (pod)",
        "sum(a{<<.LabelMatchers>>} unless up{<<.LabelMatchers>>}) by (pod)",
        "sum(a{<<.LabelMatchers>>}) by (pod) and on() vector(1)",
        "sum(a{<<.LabelMatchers>>}) by (pod) and sum(up{<<.LabelMatchers>>}) by (pod) > 1",
        "sum(a{<<.LabelMatchers>>} > 5) by (pod)",
        "sum(a{<<.LabelMatchers>>}) by (pod) / scalar(sum(up))",
        "(sum(a{<<.LabelMatchers>>}) by (pod) or sum(b{<<.LabelMatchers>>}) by (pod)) / sum(up{<<.LabelMatchers>>}) by (pod)",
        "sum(up{mode=\"idle\",<<.LabelMatchers>>} + ignoring(mode) up{mode=\"user\",<<.LabelMatchers>>}) by (pod)",
        "sum(up{mode=\"idle\",<<.LabelMatchers>>}) by (pod) + sum(up{mode=\"user\",<<.LabelMatchers>>}) by (pod)",
        "sum(up{<<.LabelMatchers>>,mode=~\"idle|user\"} / up{<<.LabelMatchers>>,mode!=\"idle\"}) by (pod)",
        "sum(up{<<.LabelMatchers>>,mode=\"idle\"} / ignoring(mode) up{<<.LabelMatchers>>,mode!=\"idle\"}) by (pod)",
        "sum(up{<<.LabelMatchers>>,mode=\"idle\"}) by (pod) / sum(up{<<.LabelMatchers>>,mode!=\"idle\"}) by (pod)",
        "sum(up{<<.LabelMatchers>>} / up{namespace!~\"kube-.*\",pod=\"a\"}) by (pod)",
        "sum(up{<<.LabelMatchers>>,mode=~\"<<.LabelValuesByName.mode>>\"} / up{<<.LabelMatchers>>,mode=\"idle\"}) by (pod)",
    ];
    for bad in [
        "sum by (<<.GroupBy>>)(a{<<.LabelMatchers>>,m=\"x\"} / a{<<.LabelMatchers>>,m!=\"x\"})",
        "sum by (<<.GroupBy>>)(a{<<.LabelMatchers>>,m!=\"x\"} / a{<<.LabelMatchers>>,m=\"x\"})",
        "sum by (<<.GroupBy>>)(a{<<.LabelMatchers>>,m=\"x\"} and a{<<.LabelMatchers>>,m=~\"y|z\"})",
        "sum by (<<.GroupBy>>)(a{<<.LabelMatchers>>,m=~\"x|y\"} / on (pod, m) a{<<.LabelMatchers>>,m=~\"z\"})",
        "sum by (pod)(sum by (pod, m)(a{<<.LabelMatchers>>,m=~\"x|y\"}) * 2 / sum by (m, pod)(b{<<.LabelMatchers>>,m!~\"x|y\"}))",
    ] {
        tells(code, WARNING, &of(bad), &of(SUM));
        let found = check(&of(bad));
        assert!(found.iter().any(|it| it.code == code && it.message.contains("always empty")));
    }
    for (severity, bad) in [
        (INFO, "sum(a{<<.LabelMatchers>>} + up{<<.LabelMatchers>>}) by (pod)"),
        (INFO, "max(rate(a{<<.LabelMatchers>>}[2m]) / up{<<.LabelMatchers>>}) by (pod)"),
        (INFO, "sum(a{<<.LabelMatchers>>} > up{<<.LabelMatchers>>}) by (pod)"),
        (INFO, "sum(a{<<.LabelMatchers>>} and up{<<.LabelMatchers>>}) by (pod)"),
        (WARNING, "sum(a{<<.LabelMatchers>>}) by (pod) and sum(up{<<.LabelMatchers>>})"),
        (INFO, "up{<<.LabelMatchers>>} / sum(up{<<.LabelMatchers>>}) by (pod)"),
        (
            INFO,
            "sum(rate(a_bucket{<<.LabelMatchers>>}[2m]) / rate(a_count{<<.LabelMatchers>>}[2m])) by (pod)",
        ),
        (WARNING, "sum(a{<<.LabelMatchers>>}) by (pod, x) / sum(up{<<.LabelMatchers>>}) by (pod)"),
        (WARNING, "sum(a{<<.LabelMatchers>>}) by (pod) / sum(up{<<.LabelMatchers>>})"),
        (
            WARNING,
            "sum(up{mode=\"idle\",<<.LabelMatchers>>} + up{mode=\"user\",<<.LabelMatchers>>}) by (pod)",
        ),
    ] {
        tells(code, severity, &of(bad), &of(SUM));
    }
    for query in good {
        assert!(!codes(&of(query)).contains(&code), "{query}: {:?}", check(&of(query)));
    }
    let sum = "sum(queue{<<.LabelMatchers>>} + workers{<<.LabelMatchers>>})";
    tells(code, INFO, &external(sum, ""), &external(&sum.replace("workers", "queue"), ""));
    // The gravest is told.
    let two = "sum(a{<<.LabelMatchers>>} + b{<<.LabelMatchers>>}) by (pod, x) / sum(up{<<.LabelMatchers>>}) by (pod)";
    tells(code, WARNING, &of(two), &of(SUM));

    let node = |query: &str| {
        format!(
            "resourceRules:\n  memory:\n    nodeQuery: {query}\n    containerLabel: c\n    resources: {{overrides: {{node: {{resource: node}}}}}}\n"
        )
    };
    tells(
        code,
        WARNING,
        &node("sum(a{<<.LabelMatchers>>}) by (node) - sum(b{<<.LabelMatchers>>}) by (node, x)"),
        &node("sum(a{<<.LabelMatchers>>} - b{<<.LabelMatchers>>}) by (node)"),
    );
}

#[test]
fn labels_of_the_target() {
    let code = "scrape-target-label";
    let of = |resources: &str| rule("up", SUM, &format!("resources: {resources}"));
    let template = |text: &str| of(&format!("{{template: \"{text}\"}}"));
    tells(code, INFO, &template("<<.Resource>>"), &template("kube_<<.Resource>>"));
    let overrides = |label: &str, kind: &str| {
        of(&format!(
            "{{overrides: {{namespace: {{resource: namespace}}, {label}: {{resource: {kind}}}}}}}"
        ))
    };
    tells(code, INFO, &overrides("job", "job"), &overrides("job_name", "job"));
    // Operators call the targets of a Service like that.
    tells(code, INFO, &overrides("job", "job"), &overrides("job", "service"));
    let service = |series: &str, label: &str| {
        let resources = format!(
            "{{overrides: {{namespace: {{resource: namespace}}, {label}: {{resource: service}}}}}}"
        );
        rule(series, SUM, &format!("resources: {resources}"))
    };
    let of_others = "{__name__=~\"^DCGM_.*\"}";
    tells(code, INFO, &service(of_others, "service"), &service(of_others, "exported_service"));
    tells(code, INFO, &service("kube_pod_info", "service"), &service("up", "service"));
    let found = check(&template("<<.Resource>>"));
    let found = found.iter().find(|finding| finding.code == code).unwrap();
    assert!(
        found.message.contains("`job`") && found.path.to_string() == "rules[0].resources.template"
    );

    let code = "exported-label";
    tells(code, INFO, &overrides("exported_pod", "pod"), &overrides("pod", "pod"));
    let message = |namespace: &str| {
        let text = overrides("exported_pod", "pod").replace("{namespace:", namespace);
        let found = check(&text);
        found.iter().find(|finding| finding.code == code).unwrap().message.clone()
    };
    let of_exporter = "`namespace` is the exporter's";
    assert!(message("{namespace:").contains(of_exporter));
    assert!(!message("{exported_namespace:").contains(of_exporter));
}

#[test]
fn filters_that_the_query_does_not_repeat() {
    let code = "series-filter-not-in-query";
    let of = |series: &str, query: &str| rule(series, query, "");
    let repeated = |matcher: &str| {
        format!("sum(<<.Series>>{{{matcher},<<.LabelMatchers>>}}) by (<<.GroupBy>>)")
    };
    for matcher in ["build=\"a\"", "build!=\"a\"", "build=~\"a|b\"", "build!~\"a.*\"", "build=\"\""]
    {
        let series = format!("backlog{{{matcher}}}");
        tells(code, INFO, &of(&series, SUM), &of(&series, &repeated(matcher)));
        // Whoever matches by the label has thought of it.
        tells(code, INFO, &of(&series, SUM), &of(&series, &repeated("build=~\"x.*\"")));
    }
    // A filter by existence.
    for existence in ["build!=\"\"", "build=~\".+\"", "build=~\"^(.+)$\"", "build!~\"^$\""] {
        let existing = format!("backlog{{{existence}}}");
        tells(code, INFO, &of("backlog{build=\"a\"}", SUM), &of(&existing, SUM));
    }
    let series = "{__name__=~\"^a_.*\",build!=\"x\"}";
    tells(code, INFO, &of(series, SUM), &of("{__name__=~\"^a_.*\",__name__!~\"b\"}", SUM));
    // It is matched as the label of the objects.
    tells(code, INFO, &of("up{x=\"a\"}", SUM), &of("up{namespace=\"a\"}", SUM));
    // The query reads other series.
    let other = "sum(other{<<.LabelMatchers>>}) by (<<.GroupBy>>)";
    tells(code, INFO, &of("up{x=\"a\"}", SUM), &of("up{x=\"a\"}", other));
    // One of two selectors does not repeat it.
    let ratio = |other: &str| {
        format!(
            "sum(up{{x=\"a\",<<.LabelMatchers>>}}) by (pod) / sum(up{{{other}<<.LabelMatchers>>}}) by (pod)"
        )
    };
    let series = "up{x=\"a\"}";
    tells(code, INFO, &of(series, &ratio("")), &of(series, &ratio("x=\"a\",")));
    let two = check(&of("up{x=\"a\",b=\"c\"}", SUM));
    let found = two.iter().find(|finding| finding.code == code).unwrap();
    assert!(found.message.contains("`b` and `x`"), "{found:?}");
}

#[test]
fn kinds_that_look_like_slips() {
    let code = "unknown-kind";
    let of = |kind: &str| {
        rule(
            "up",
            SUM,
            &format!(
                "resources: {{overrides: {{namespace: {{resource: namespace}}, x: {{{kind}}}}}}}"
            ),
        )
    };
    for (bad, good) in [
        ("resource: deplyoment", "resource: deployment"),
        ("resource: deplyoment, group: apps", "resource: rollout, group: argoproj.io"),
        ("resource: statefulsett", "resource: rollout"),
        ("resource: ingres, group: networking.k8s.io", "resource: widget"),
        ("resource: pood", "resource: service, group: serving.knative.dev"),
        ("resource: deployments.apps", "resource: deployments, group: apps"),
    ] {
        tells(code, WARNING, &of(bad), &of(good));
    }
    for group in ["extensions", "batch"] {
        let bad = format!("resource: deployment, group: {group}");
        tells(code, INFO, &of(&bad), &of("resource: deployment, group: apps"));
    }
    // A version where the group belongs.
    for (bad, good, meant) in [
        (
            "resource: deployment, group: apps/v1",
            "resource: deployment, group: apps",
            "`group: apps`",
        ),
        (
            "resource: rollout, group: argoproj.io/v1alpha1",
            "resource: rollout, group: argoproj.io",
            "`group: argoproj.io`",
        ),
        ("resource: deployment, group: v1", "resource: deployment", "`group: apps`"),
        ("resource: service, group: v1", "resource: service", "leave `group` out"),
        (
            "resource: widget, group: v1beta1",
            "resource: widget, group: v1.example.com",
            "leave `group` out",
        ),
    ] {
        tells(code, WARNING, &of(bad), &of(good));
        assert!(check(&of(bad))[0].help.contains(meant), "{bad}");
    }
    let found = check(&of("resource: deplyoment"));
    assert!(found[0].message.contains("did you mean `deployment`"), "{found:?}");
    assert_eq!(found[0].path.to_string(), "rules[0].resources.overrides.x");
}
