//! For each lint a file that it is about, and the nearest one that it is not about.

mod meaning;
mod others;

use super::*;
use crate::core::rules::ComputeResource;

fn codes(text: &str) -> Vec<&'static str> {
    check(text).iter().map(|finding| finding.code).collect()
}

/// The first file has the finding, the second does not.
#[track_caller]
fn tells(code: &str, severity: Severity, with: &str, without: &str) {
    let found: Vec<_> = check(with).into_iter().filter(|finding| finding.code == code).collect();
    let [finding] = found.as_slice() else { panic!("{code}: {:?}\n{with}", check(with)) };
    assert_eq!(finding.severity, severity, "{code}");
    assert!(finding.place.is_some() && !finding.message.is_empty() && !finding.help.is_empty());
    assert!(!codes(without).contains(&code), "{code}: {:?}\n{without}", check(without));
    // The nearest file has no other problem, so that the lint is told apart from a mistake in this table.
    let errors = check(without).into_iter().filter(|finding| finding.severity == Severity::Error);
    assert_eq!(errors.collect::<Vec<_>>(), []);
}

const PODS: &str = "{overrides: {pod: {resource: pod}, namespace: {resource: namespace}}}";

/// One rule with more keys.
fn rule(series: &str, query: &str, more: &str) -> String {
    let more = if more.contains("resources:") {
        more.to_owned()
    } else {
        format!("resources: {PODS}, {more}")
    };
    format!("rules:\n- {{seriesQuery: '{series}', metricsQuery: '{query}', {more}}}\n")
}

const SUM: &str = "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)";
const RATE: &str = "sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)";

#[test]
fn what_is_not_served_is_an_error() {
    let good = rule("up", SUM, "");
    tells("invalid-file", Severity::Error, "rules: [{seriesQury: up}]", &good);
    tells("broken-rule", Severity::Error, &rule("up", "<<.Serie>>", ""), &good);
    let text = rule("up", "<<.Serie>>", "name: {matches: \"(\"}") + &good.replace("rules:\n", "");
    let findings = check(&text);
    let paths: Vec<_> = findings.iter().map(|finding| finding.path.to_string()).collect();
    assert_eq!(paths, ["rules[0].metricsQuery", "rules[0].name.matches"]);
    assert_eq!(findings[0].rule(), Some(RuleEntry::Custom(0)));
    let findings = check("resourceRules: {cpu: {containerLabel: c}}");
    assert_eq!(findings[0].rule(), Some(RuleEntry::Resource(ComputeResource::Cpu)));
    assert_eq!(check("a: [").first().map(|finding| finding.code), Some("invalid-file"));
}

#[test]
fn selectors() {
    let tells = |code, with: &str, without: &str| {
        tells(code, Severity::Warning, &rule(with, SUM, ""), &rule(without, SUM, ""));
    };
    tells("selector-not-understood", "rate(up[1m])", "up");
    tells("selector-not-understood", "up{a=\"x\"b=\"y\"}", "up{a=\"x\",b=\"y\"}");
    tells("selector-not-understood", "{a=\"\"}", "{a=\"\",b=\"x\"}");
    for (with, without) in [
        ("up{a=\"x\",a=\"y\"}", "up{a=\"x\",a=\"x\"}"),
        ("up{a!=\"\",a=\"\"}", "up{a!=\"\",a!=\"x\"}"),
        ("up{a=\"x\",a=~\"y.*\"}", "up{a=\"xy\",a=~\"x.*\"}"),
        ("up{a=\"x\",a!~\"x|y\"}", "up{a=\"z\",a!~\"x|y\"}"),
        ("up{a=~\"x|y\",a=~\"z\"}", "up{a=~\"x|y\",a=~\"z|y\"}"),
        ("up{a=~\"x|y\",a!~\"[xy]\"}", "up{a=~\"x|y.*\",a!~\"x|y\"}"),
        ("up{a!~\".+\",a!=\"\"}", "up{a!~\".+\",a!=\"x\"}"),
        ("{__name__=\"up\",__name__=~\"down.*\"}", "{__name__=\"up\",__name__=~\"u.*\"}"),
    ] {
        tells("contradictory-matchers", with, without);
    }
}

#[test]
fn names() {
    let tells = |code, series: &str, with: &str, without: &str| {
        tells(code, Severity::Warning, &rule(series, SUM, with), &rule(series, SUM, without));
    };
    let filters = "filters-refuse-series";
    tells(filters, "up", "seriesFilters: [{is: ^down}]", "seriesFilters: [{is: ^u}]");
    tells(filters, "up", "seriesFilters: [{isNot: p}]", "seriesFilters: [{isNot: x}]");
    tells(
        filters,
        "{__name__=~\"^(a|b)$\"}",
        "seriesFilters: [{is: c}]",
        "seriesFilters: [{is: b}]",
    );
    let contradictory = "contradictory-filters";
    let any = "{a=\"b\"}";
    tells(
        contradictory,
        any,
        "seriesFilters: [{is: x}, {isNot: x}]",
        "seriesFilters: [{is: x}, {isNot: y}]",
    );
    tells(contradictory, any, "seriesFilters: [{isNot: .*}]", "seriesFilters: [{isNot: .*_total}]");
    tells(
        contradictory,
        any,
        "seriesFilters: [{is: ^ab$}, {isNot: b$}]",
        "seriesFilters: [{is: ^ab}, {isNot: b$}]",
    );
    let matches = "name-does-not-match";
    tells(matches, "up", "name: {matches: _total$}", "name: {matches: p$}");
    tells("empty-name", "up", "name: {matches: \"^up(.*)$\"}", "name: {matches: \"^u(.*)$\"}");
    let group = "unknown-group";
    tells(
        group,
        "x_total",
        "name: {matches: ^(.*)_total$, as: $1_rate}",
        "name: {matches: ^(.*)_total$, as: \"${1}_rate\"}",
    );
    tells(group, "x_total", "name: {as: \"$1\"}", "name: {as: \"$0\"}");
    let group_named = "name: {matches: ^(?P<what>.*)_total$, as: $what}";
    tells(group, "x_total", &group_named.replace("$what}", "$that}"), group_named);
    for name in ["a/b", "a b", "50%", "a${0}/x", ".."] {
        tells(
            "unusable-name",
            "up",
            &format!("name: {{as: \"{name}\"}}"),
            "name: {as: \"a-b.c:d_5\"}",
        );
    }
}

#[test]
fn resources() {
    let tells = |code, severity, with: &str, without: &str| {
        let rule = |resources| rule("up", SUM, &format!("resources: {resources}"));
        tells(code, severity, &rule(with), &rule(without));
    };
    let warning = Severity::Warning;
    tells("no-resources", warning, "{}", PODS);
    tells("no-resources", warning, "{}", "{template: <<.Resource>>}");
    tells(
        "several-labels-for-resource",
        warning,
        "{overrides: {a: {resource: pod}, b: {resource: pods}, ns: {resource: namespace}}}",
        "{overrides: {a: {resource: pod}, b: {resource: service}, ns: {resource: namespace}}}",
    );
    let no_namespace = "no-namespace-label";
    tells(
        no_namespace,
        warning,
        "{overrides: {pod: {resource: pod}}}",
        "{overrides: {node: {resource: node}}}",
    );
    tells(no_namespace, warning, "{overrides: {pod: {resource: pod}}}", PODS);
}

/// A dialect of the backend is no mistake, and nothing is concluded from a query in it.
#[test]
fn what_is_not_understood_is_told_once_and_no_warning() {
    for query in [
        "rollup_rate(<<.Series>>[1m])",
        "max_over_time(<<.Series>>) keep_metric_names",
        "with (a = <<.Series>>) a",
        "<<.Series>> default 0",
        "<<.Series>> * 1Ki",
        "holt_winters(<<.Series>>[1m], 0.5, 0.5)",
        "rate(<<.Series>>_total[5m + 1m])",
        "label_replace(<<.Series>>, \"a\", `\\`, \"\", \"\")",
    ] {
        let quoted = query.replace('\'', "''");
        tells(
            "query-not-understood",
            Severity::Info,
            &rule("up", &quoted, ""),
            &rule("up", SUM, ""),
        );
        assert_eq!(codes(&rule("up", &quoted, "")), ["query-not-understood"], "{query}");
    }
    // Alternatives are read.
    let or = r#"sum(up{namespace="a",x="1" or namespace="a",y="2"}) by (<<.GroupBy>>)"#;
    assert!(!codes(&rule("up", or, "")).contains(&"namespace-ignored"));
    assert!(!codes(&rule("up", or, "")).contains(&"no-label-matchers"));
    let half = or.replace("or namespace=\"a\",", "or ");
    assert!(codes(&rule("up", &half, "")).contains(&"no-label-matchers"));
    let reported =
        |text: &str| check(text).iter().map(Finding::is_always_reported).collect::<Vec<_>>();
    assert_eq!(reported(&rule("up", "sum(rollup_rate(up[3m]))", "")), [true]);
    let everywhere =
        rule("up", "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>) or vector(0)", "");
    assert!(reported(&everywhere).contains(&false), "{:?}", check(&everywhere));
}

#[test]
fn alternatives_of_a_selector_may_be_a_dialect() {
    let or = rule("{a=\"x\" or b=\"y\"}", SUM, "");
    tells("selector-not-understood", Severity::Info, &or, &rule("up", SUM, ""));
}

#[test]
fn queries() {
    let tells = |code, with: &str, without: &str| {
        tells(code, Severity::Warning, &rule("up", with, ""), &rule("up", without, ""));
    };
    tells("query-not-understood", "sum(<<.Series>>", SUM);
    for dotted in ["a.b", "a{b.c!=0}", "sum(a) by (b.c.d)"] {
        let found = check(&rule("up", &dotted.replace('0', "''''"), ""));
        assert!(
            found.iter().any(|finding| finding.message.contains("has to be quoted")),
            "{dotted}"
        );
    }
    tells("template-fails", "<<index .GroupBySlice 3>>", SUM);
    tells("not-a-vector", "scalar(up{<<.LabelMatchers>>})", SUM);
    tells("not-a-vector", "up{<<.LabelMatchers>>}[5m]", SUM);
    let matchers = "no-label-matchers";
    tells(matchers, "sum(up) by (pod)", SUM);
    tells(matchers, "sum(up) by (pod)", "sum(up{namespace=\"mine\"}) by (pod)");
    let by_name = "sum(up{namespace=\"<<index .LabelValuesByName \"namespace\">>\"}) by (pod)"
        .replace('"', "\\\"");
    let by_name =
        format!("rules: [{{seriesQuery: up, resources: {PODS}, metricsQuery: \"{by_name}\"}}]");
    assert!(!codes(&by_name).contains(&matchers), "{by_name}");
    tells("namespace-ignored", "sum(up{pod=~\"<<.LabelValuesByName.pod>>\"}) by (pod)", SUM);
    let dropped = "label-aggregated-away";
    tells(dropped, "sum(up{<<.LabelMatchers>>})", SUM);
    tells(dropped, "sum(up{<<.LabelMatchers>>}) by (instance)", SUM);
    let several = "several-samples-per-object";
    tells(several, "up{<<.LabelMatchers>>}", SUM);
    tells(
        several,
        "sum(up{<<.LabelMatchers>>}) by (pod, x)",
        "sum(up{<<.LabelMatchers>>}) by (pod, namespace)",
    );
    tells(
        several,
        "topk(2, up{<<.LabelMatchers>>}) by (pod)",
        "topk(1, up{<<.LabelMatchers>>}) by (pod)",
    );
    // A copy of the label is one label more, and no more samples.
    for copied in [
        "label_replace(SUM, \"foo\", \"$1\", \"<<.GroupBy>>\", \"(.*)\")",
        "label_join(SUM, \"foo\", \"-\", \"pod\")",
    ] {
        let by_more = SUM.replace("<<.GroupBy>>", "pod, x");
        tells(several, &copied.replace("SUM", &by_more), &copied.replace("SUM", SUM));
    }
    let quantile = |by| {
        format!("histogram_quantile(0.9, sum(rate(x_bucket{{<<.LabelMatchers>>}}[2m])) by ({by}))")
    };
    tells(several, &quantile("le, pod, x"), &quantile("le, <<.GroupBy>>"));
    tells("histogram-without-le", &quantile("<<.GroupBy>>"), &quantile("<<.GroupBy>>, le"));
    tells(
        "histogram-without-le",
        &quantile("pod"),
        &quantile("pod").replace("_bucket", "_seconds"),
    );
}

#[test]
fn what_is_advised_is_a_query_where_a_label_needs_quotes() {
    let labels =
        "resources: {overrides: {k8s.ns: {resource: namespace}, k8s.pod.name: {resource: pod}}}";
    let found = check(&rule("up", "up{<<.LabelMatchers>>}", labels));
    let several = found.iter().find(|finding| finding.code == "several-samples-per-object");
    assert!(several.is_some_and(|it| it.help.contains("`by (\"k8s.pod.name\")`")), "{found:?}");
}

/// What no dialect takes.
#[test]
fn slips_in_queries() {
    let of = |query: &str| {
        let query = query.replace('"', "\\\"");
        format!(
            "externalRules: [{{seriesQuery: queue, resources: {PODS}, metricsQuery: \"{query}\"}}]"
        )
    };
    let sum = of("sum(queue{<<.LabelMatchers>>})");
    for (query, help) in [
        ("sum(queue{{ .LabelMatchers }})", "write `<<.LabelMatchers>>`"),
        ("sum(queue{<.LabelMatchers>})", "write `<<.LabelMatchers>>`"),
        ("sum(queue{«.LabelMatchers»})", "write `<<.LabelMatchers>>`"),
        ("sum({{.Series}}{<<.LabelMatchers>>})", "write `<<.Series>>`"),
        ("sum by ({{.GroupBy}}) (queue{<<.LabelMatchers>>})", "write `<<.GroupBy>>`"),
        (
            "sum(queue{a=\"{{.LabelValuesByName.a}}\",{<.LabelValuesByName.a>}})",
            "write `<<.LabelValuesByName>>`",
        ),
        ("sum({<<.Series>>,<<.LabelMatchers>>})", "`{\"<<.Series>>\",…}`"),
        ("sum({ <<.Series>> })", "`<<.Series>>{…}`"),
        ("sum(queue{<<.LabelMatchers>>,a=$namespace})", "write the value"),
        ("sum(queue{<<.LabelMatchers>>}) * ${factor}", "write the value"),
        ("sum(rate(queue{<<.LabelMatchers>>}[$range]))", "write the value"),
        ("sum by (<<.GroupBy>>, \"x\") (queue{<<.LabelMatchers>>})", "correct it"),
    ] {
        let text = of(query);
        tells("query-not-understood", Severity::Warning, &text, &sum);
        let [finding] = &check(&text)[..] else { panic!("{query}: {:?}", check(&text)) };
        assert!(finding.help.contains(help), "{query}: {finding:?}");
    }
    let custom = |query: &str| rule("up", query, "");
    let braces = "sum(up{{ .LabelMatchers }}) by (<<.GroupBy>>)";
    tells("query-not-understood", Severity::Warning, &custom(braces), &custom(SUM));
    // VictoriaMetrics replaces these, and has names of matchers. What is in strings and comments is text.
    for query in [
        "sum(rate(queue{<<.LabelMatchers>>}[$__rate_interval]))",
        "sum(increase(queue{<<.LabelMatchers>>}[$__interval:$__interval]))",
        "with (<<.Series>> = {<<.LabelMatchers>>}) sum({<<.Series>>,a=\"b\"})",
        "label_replace(queue{<<.LabelMatchers>>}, \"a\", \"$1 .Series\", \"b\", \"\") keep_metric_names # $a .Series",
    ] {
        tells("query-not-understood", Severity::Info, &of(query), &sum);
    }
    let found = check(&of("sum(rate(queue{<<.LabelMatchers>>}[$__rate_interval]))"));
    assert!(found[0].help.contains("Grafana"), "{found:?}");
}

#[test]
fn a_histogram_of_unknown_kind_may_be_a_native_one() {
    let of = |selector, by| {
        let query = format!(
            "histogram_quantile(0.9, sum(rate(<<.Series>>{{<<.LabelMatchers>>}}[2m])) by ({by}))"
        );
        rule(selector, &query, "")
    };
    let any = "{__name__=~\".*_seconds\"}";
    let by = "<<.GroupBy>>";
    tells("histogram-without-le", Severity::Info, &of(any, by), &of(any, "<<.GroupBy>>, le"));
    tells("histogram-without-le", Severity::Info, &of(any, by), &of("x_seconds", by));
    tells("histogram-without-le", Severity::Warning, &of("x_bucket", by), &of("x_seconds", by));
}

#[test]
fn some_findings_are_for_those_who_ask() {
    let info = Severity::Info;
    let nodes = "resources: {overrides: {node: {resource: node}}}";
    tells(
        "all-objects-fetched",
        info,
        &rule("up", "avg(up) by (node)", nodes),
        &rule("up", "avg(up{<<.LabelMatchers>>}) by (node)", nodes),
    );
    let by_pod = "sum(up{<<.LabelMatchers>>}) by (pod)";
    tells("label-aggregated-away", info, &rule("up", by_pod, ""), &rule("up", SUM, ""));
    tells("not-shared-across-namespaces", info, &rule("up", by_pod, ""), &rule("up", SUM, ""));
    let top = "limitk(1, up{<<.LabelMatchers>>}) by (pod)";
    tells(
        "not-shared",
        info,
        &rule("up", top, ""),
        &rule("up", &top.replace("limitk", "topk"), ""),
    );
    tells(
        "zero-for-missing",
        info,
        &rule("up", SUM, "onEmpty: zero"),
        &rule("up", SUM, "nan: zero"),
    );
    let (value, zero) = (rule("up", SUM, "onEmpty: 5"), rule("up", SUM, "onEmpty: zero"));
    tells("value-for-missing", info, &value, &zero);
    let fallback = |says: &str| rule("up", SUM, &format!("maxStale: 1m, fallback: {{{says}}}"));
    let fine = fallback("after: 1m, value: 5");
    let warning = Severity::Warning;
    tells("short-fallback", warning, &fallback("after: 59s, value: 5"), &fine);
    tells("zero-fallback", warning, &fallback("after: 1m, value: 0"), &fine);
    let headers = |value: &str| rule("up", SUM, &format!("headers: {{X-Scope-OrgID: {value}}}"));
    tells("headers-by-namespace", info, &headers("<<.Namespace>>"), &headers("team"));
    let name = "name: {as: load}";
    tells(
        "one-name-for-several-series",
        info,
        &rule("{a=\"b\"}", SUM, name),
        &rule("up", SUM, name),
    );
    let fixed = "sum(up{<<.LabelMatchers>>}) by (<<.GroupBy>>)";
    tells(
        "one-name-for-several-series",
        info,
        &rule("{a=\"b\"}", SUM, name),
        &rule("{a=\"b\"}", fixed, name),
    );
}

#[test]
fn counters_and_ranges() {
    let raw = "counter-without-rate";
    let warning = Severity::Warning;
    tells(raw, warning, &rule("x_total", SUM, ""), &rule("x_total", RATE, ""));
    tells(raw, warning, &rule("x_total", SUM, ""), &rule("x", SUM, ""));
    let any = "{a=\"b\"}";
    let name = "name: {matches: ^(.*)_total$}";
    tells(raw, warning, &rule(any, SUM, name), &rule(any, SUM, "name: {matches: ^(.*)$}"));
    let filter = "seriesFilters: [{is: _total$}]";
    tells(raw, warning, &rule(any, SUM, filter), &rule(any, SUM, &filter.replace("is:", "isNot:")));
    assert!(!check(&rule(any, SUM, name))[0].message.contains("opaque"));
    for query in [
        "count(x_total{<<.LabelMatchers>>}) by (pod)",
        "sum(a_total{<<.LabelMatchers>>} - b_total{<<.LabelMatchers>>}) by (pod)",
        "sum(x{<<.LabelMatchers>>} and on (pod) x_total) by (pod)",
        "sum(deriv(x_total{<<.LabelMatchers>>}[5m])) by (pod)",
        "sum(max_over_time(rate(x_total{<<.LabelMatchers>>}[1m])[5m:])) by (pod)",
    ] {
        assert!(!codes(&rule("up", query, "")).contains(&raw), "{query}");
    }
    let range = |range: &str| rule("up", &RATE.replace("2m", range), "");
    tells("short-range", warning, &range("20s"), &range("1m"));
    tells("short-range", Severity::Info, &range("30s"), &range("60s"));
    let over = |query: &str| rule("up", &format!("max(rate({query}[5m:])) by (pod)"), "");
    tells(
        "rate-of-aggregation",
        warning,
        &over("sum(x{<<.LabelMatchers>>}) by (pod)"),
        &over("x{<<.LabelMatchers>>}"),
    );
}

/// Short forms of the rules that prometheus-adapter documents, writes and ships.
const PEER: &str = r#"
rules:
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^container_(.*)_seconds_total$"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>,container!="POD"}[2m])) by (<<.GroupBy>>)
- seriesQuery: '{namespace!="",__name__!~"^container_.*"}'
  seriesFilters: [{isNot: .*_total$}]
  resources: {template: <<.Resource>>}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: '{__name__=~"^http_requests_.*",kubernetes_namespace!=""}'
  seriesFilters: [{isNot: _seconds_total}]
  resources: {overrides: {kubernetes_namespace: {resource: namespace}, kubernetes_pod_name: {resource: pod}, ingress: {group: extensions, resource: ingress}}}
  name: {matches: ^(.*)_total, as: "${1}_per_second"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
- seriesQuery: 'foo{namespace!="",pod!=""}'
  resources: {template: "kube_<<.Group>>_<<.Resource>>"}
  metricsQuery: (sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)) / (sum(bar{<<.LabelMatchers>>}) by (<<.GroupBy>>))
resourceRules:
  cpu:
    containerQuery: sum by (<<.GroupBy>>) (irate(container_cpu_usage_seconds_total{<<.LabelMatchers>>,container!=""}[4m]))
    nodeQuery: sum by (<<.GroupBy>>) (1 - irate(node_cpu_seconds_total{mode="idle"}[60s]) * on (namespace, pod) group_left (node) node_namespace_pod:kube_pod_info:{<<.LabelMatchers>>})
    resources: &resources {overrides: {namespace: {resource: namespace}, node: {resource: node}, pod: {resource: pod}}}
    containerLabel: container
  memory:
    containerQuery: sum by (<<.GroupBy>>) (container_memory_working_set_bytes{<<.LabelMatchers>>,container!=""})
    nodeQuery: sum by (<<.GroupBy>>) (node_memory_MemTotal_bytes{<<.LabelMatchers>>} - node_memory_MemAvailable_bytes{<<.LabelMatchers>>})
    resources: *resources
    containerLabel: container
"#;

#[test]
fn sound_files_have_no_findings() {
    let file = |path: &str| {
        std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let chart = file("deploy/helm/loadline/files/default-rules.yaml");
    // Their template maps `job`, and Ingresses were extensions once.
    let known = ["scrape-target-label", "unknown-kind"];
    for text in [
        PEER.to_owned(),
        file("examples/rust-ai-ide/rules.yaml"),
        file("deploy/base/config.yaml"),
        file("deploy/overlays/resource-metrics/config.yaml"),
        format!("rules:\n{chart}"),
        "rules: []\n".to_owned(),
    ] {
        let mut findings = check(&text);
        findings
            .retain(|finding| finding.severity < Severity::Info || !known.contains(&finding.code));
        assert_eq!(findings, [], "{text}");
    }
    // They sum over the series that an autoscaler would sum over.
    let external = "externalRules:\n- {seriesQuery: '{__name__=~\"^queue_.*\"}', resources: {namespaced: false}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (name)'}\n";
    assert_eq!(codes(external), ["several-values"]);
}

#[test]
fn deep_queries_are_left_alone() {
    for query in [
        "-".repeat(3000) + "up",
        "(".repeat(1500) + "up" + &")".repeat(1500),
        "up+".repeat(1000) + "up",
    ] {
        let found = codes(&rule("up", &query, ""));
        assert!(!found.contains(&"several-samples-per-object"), "{found:?}");
    }
    let long = "x".repeat(5000);
    assert!(codes(&rule("up", &format!("sum({long})"), "")).contains(&"query-not-understood"));
}
