//! What a rule may say beyond what prometheus-adapter knows.

use std::time::Duration;

use super::{super::*, problems};
use crate::core::template::TemplateError;

const BASE: &str = "seriesQuery: up, metricsQuery: x, resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}";

/// The only rule of a list, with these keys.
#[track_caller]
fn rule(list: &str, keys: &str) -> MetricRule {
    let text =
        format!("backends: [{{name: mimir, url: 'http://mimir'}}]\n{list}: [{{{BASE}, {keys}}}]\n");
    let rules = load(&text).unwrap();
    assert_eq!(rules.broken, []);
    let mut rules = rules.of_metrics();
    let (Some(rule), None) = (rules.next(), rules.next()) else { panic!("one rule") };
    rule
}

#[track_caller]
fn broken(list: &str, keys: &str) -> String {
    problems(&format!("{list}: [{{{BASE}, {keys}}}]\n")).join("\n")
}

#[test]
fn a_rule_that_says_nothing_more_is_what_it_is_to_prometheus_adapter() {
    for (list, nan) in [("rules", Nan::Zero), ("externalRules", Nan::Drop)] {
        let rule = rule(list, "static: false");
        if let MetricRule::External(external) = &rule {
            assert_eq!(external.aggregate, Aggregate::None);
        }
        let rule = rule.base();
        assert_eq!((rule.nan, rule.on_empty), (nan, OnEmpty::Omit));
        assert_eq!(rule.static_metric, None);
        let options = &rule.options;
        assert_eq!((options.cache_ttl, options.max_stale, options.timeout), (None, None, None));
        assert!(options.backend.is_none() && options.headers.is_empty());
        assert!(!options.may_depend_on_namespace());
    }
}

#[test]
fn what_is_said_is_compiled() {
    let options = "cacheTTL: 0, maxStale: 1m30s, timeout: 0.5s, window: 2m, prometheus: mimir";
    for list in ["rules", "externalRules"] {
        let rule = rule(list, options);
        let rule = rule.base();
        let milliseconds = |duration: Option<Duration>| duration.unwrap().as_millis();
        let options = &rule.options;
        let durations = [options.cache_ttl, options.max_stale, options.timeout].map(milliseconds);
        assert_eq!(durations, [0, 90_000, 500]);
        assert_eq!(rule.window_seconds, Some(120));
        assert_eq!(&*options.backend.as_ref().unwrap().name, "mimir");
    }
    let custom = rule("rules", "nan: drop, onEmpty: zero");
    assert_eq!((custom.base().nan, custom.base().on_empty), (Nan::Drop, OnEmpty::Value(0)));
    let external = rule("externalRules", "nan: zero, onEmpty: zero");
    assert_eq!((external.base().nan, external.base().on_empty), (Nan::Zero, OnEmpty::Value(0)));
    for (said, milli) in [
        ("0", 0),
        ("5", 5_000),
        ("2.5", 2_500),
        ("'500m'", 500),
        ("1Ki", 1_024_000),
        ("3e2", 300_000),
        ("9007199254740991", 9_007_199_254_740_991_000),
    ] {
        for list in ["rules", "externalRules"] {
            let rule = rule(list, &format!("onEmpty: {said}"));
            assert_eq!(rule.base().on_empty, OnEmpty::Value(milli), "{said}");
        }
    }
    assert_eq!(rule("rules", "onEmpty: omit").base().on_empty, OnEmpty::Omit);
    for list in ["rules", "externalRules"] {
        assert_eq!(rule(list, "nan: drop").base().fallback, None);
        let fallback = rule(list, "fallback: {after: 3m, value: 1500m}").base().fallback;
        let wanted = Fallback { after: Duration::from_secs(180), milli: 1_500 };
        assert_eq!(fallback, Some(wanted));
    }
    for (word, aggregate) in [
        ("none", Aggregate::None),
        ("sum", Aggregate::Sum),
        ("max", Aggregate::Max),
        ("avg", Aggregate::Avg),
    ] {
        let rule = rule("externalRules", &format!("aggregate: {word}"));
        let MetricRule::External(rule) = rule else { panic!("of externalRules") };
        assert_eq!(rule.aggregate, aggregate, "{word}");
    }
}

#[test]
fn every_problem_is_reported_with_its_place_and_what_was_expected() {
    insta::assert_snapshot!(problems(
        "rules:\n- cacheTtl: 5s\n  cacheTTL: 2h\n  maxStale: soon\n  timeout: 0\n  window: 500ms\n  nan: one\n  onEmpty: [zero]\n  aggregate: sum\n  prometheus: Not a name\n  static: perhaps\n  headers: {A b: x, Host: x, Connection: x, Authorization: x, Content-Length: 5, X-A: '', x-a: [1]}\n  resources: {overrides: {a-b: {group: apps}}}\nexternalRules:\n- onEmpty: one\n- onEmpty: -1\n- onEmpty: 10P5\n- onEmpty: 99E\n- fallback: {after: 3m}\n- fallback: {after: 0s, value: zero}\n- fallback: 5\n  aggregat: sum\n  aggregate: avgs\nresourceRules: {cpu: {cacheTTL: -5s, nodeQueries: x}}\n"
    ).join("\n"));
}

#[test]
fn headers_are_templates_of_the_namespace() {
    let rule = rule(
        "rules",
        "headers: {X-Scope-OrgID: 'team-<<.Namespace>>', X-Plain: ' a ', X-If: '<<if .Namespace>>n<<end>>'}",
    );
    assert!(rule.base().options.may_depend_on_namespace());
    let headers = |namespace| {
        let headers = rule.base().options.render_headers(namespace).unwrap();
        assert!(headers.iter().all(|(_, value)| value.is_sensitive()));
        let headers =
            headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap()));
        headers.collect::<Vec<_>>()
    };
    assert_eq!(headers("ide"), ["x-scope-orgid=team-ide", "x-plain=a", "x-if=n"]);
    assert_eq!(headers(""), ["x-scope-orgid=team-", "x-plain=a", "x-if="]);
    let plain = self::rule("rules", "headers: {X-Scope-OrgID: team}");
    assert!(!plain.base().options.may_depend_on_namespace());
}

#[test]
fn headers_that_cannot_be_rendered_are_errors() {
    for (value, wanted) in [
        ("<<.Name>>", "there is no .Name here, but .Namespace"),
        ("<<.Namespace", "rules[0].headers.X-A: line 1"),
        ("é", "visible ASCII"),
        (r"a\nb", "visible ASCII"),
        ("<<index .Namespace 99>>", "cannot render"),
    ] {
        let text = broken("rules", &format!("headers: {{X-A: \"{value}\"}}"));
        assert!(text.contains(wanted) && text.contains("rules[0].headers.X-A"), "{value}: {text}");
    }
    let late = rule("rules", "headers: {X-A: '<<slice .Namespace 0 3>>'}");
    let error = late.base().options.render_headers("ab").unwrap_err();
    assert!(
        matches!(&error, HeaderError::Template { source: TemplateError::Execution { .. }, .. }),
        "{error}"
    );
}

#[test]
fn a_backend_that_is_named_has_to_exist() {
    assert_eq!(
        broken("rules", "prometheus: thanos"),
        "1:138: rules[0].prometheus: there is no backend `thanos`: the file has no `backends`"
    );
    let text = format!(
        "backends: [{{name: a, url: 'http://a'}}, {{name: b, url: 'http://b'}}]\nexternalRules: [{{{BASE}, prometheus: c}}]\n"
    );
    assert!(problems(&text)[0].ends_with("there is no backend `c`, but `a`, `b`"));
}

#[test]
fn static_rules_know_their_metric() {
    for (series, name, metric) in [
        ("http_requests_total", "{}", "http_requests_total"),
        ("http_requests_total{a=\"b\"}", "{as: rps}", "rps"),
        (
            "http_requests_total",
            "{matches: \"^(.*)_total$\", as: \"${1}_per_second\"}",
            "http_requests_per_second",
        ),
    ] {
        for list in ["rules", "externalRules"] {
            let text = format!(
                "{list}: [{{static: true, seriesQuery: '{series}', name: {name}, metricsQuery: x, resources: {{overrides: {{namespace: {{resource: namespace}}}}}}}}]"
            );
            let rules = load(&text).unwrap();
            assert_eq!(rules.broken, []);
            let rule = rules.of_metrics().next().unwrap();
            let rule = rule.base();
            let wanted =
                StaticMetric { series: "http_requests_total".into(), metric: metric.into() };
            assert_eq!(rule.static_metric, Some(wanted));
            assert!(!rule.mapping.has_template());
        }
    }
}

#[test]
fn static_rules_say_what_they_lack() {
    insta::assert_snapshot!(problems(
        r#"
rules:
- {static: true, seriesQuery: '{__name__=~"a.*"}', metricsQuery: x}
- {static: true, seriesQuery: up, metricsQuery: x, resources: {template: <<.Resource>>}}
- {static: true, seriesQuery: up, metricsQuery: x, name: {matches: down}, resources: {overrides: {pod: {resource: pod}}}}
- {static: true, resources: {template: '<<', overrides: {pod: {resource: pod}}}, name: {matches: '('}}
externalRules:
- {static: true, seriesQuery: up, metricsQuery: x}
- {static: true, seriesQuery: up, metricsQuery: x, resources: {namespaced: false, template: <<.Resource>>}}
"#
    ).join("\n"));
    let text = "externalRules: [{static: true, seriesQuery: up, metricsQuery: x, resources: {namespaced: false}}]";
    assert_eq!(load(text).unwrap().external.len(), 1);
}

#[test]
fn an_external_rule_that_is_namespaced_maps_a_label_to_namespaces() {
    let rule =
        |resources| format!("externalRules: [{{seriesQuery: up, metricsQuery: x{resources}}}]");
    for resources in ["", ", resources: {overrides: {pod: {resource: pod}}}"] {
        let text = problems(&rule(resources)).join("\n");
        assert!(text.contains("externalRules[0].resources: no label is mapped"), "{text}");
    }
    for resources in [
        ", resources: {namespaced: off}",
        ", resources: {template: <<.Resource>>}",
        ", resources: {overrides: {ns: {resource: Namespaces}}}",
    ] {
        assert_eq!(problems(&rule(resources)), Vec::<String>::new(), "{resources}");
    }
}

#[test]
fn rules_that_say_the_same_have_the_same_content() {
    let fingerprint = |text: &str| {
        let rules = load(text).unwrap();
        assert_eq!(rules.broken, []);
        let rule = rules.of_metrics().last().unwrap().base().fingerprint;
        (rule, format!("{rule:?}"))
    };
    let backend = "backends: [{name: b, url: 'http://secret:word@b'}]\n";
    let base = fingerprint("rules:\n- seriesQuery: up\n  metricsQuery: x\n");
    for same in [
        "rules: [{metricsQuery: 'x', nan: ~, seriesQuery: \"up\"}] # other place and order",
        "rules:\n- {seriesQuery: down, metricsQuery: &q x}\n- {seriesQuery: up, metricsQuery: *q}\n",
    ] {
        assert_eq!(fingerprint(same), base, "{same}");
    }
    for other in [
        "rules: [{seriesQuery: up, metricsQuery: y}]",
        "rules: [{seriesQuery: up, metricsQuery: x, nan: zero}]",
        "rules: [{seriesQuery: up, metricsQuery: x, resources: {}}]",
        "rules: [{seriesQuery: x, metricsQuery: up}]",
        "externalRules: [{seriesQuery: up, metricsQuery: x, resources: {namespaced: false}}]",
    ] {
        assert_ne!(fingerprint(other), base, "{other}");
    }
    let named = "rules: [{seriesQuery: up, metricsQuery: x, prometheus: b}]";
    let with_backend = fingerprint(&format!("{backend}{named}"));
    let with_other = fingerprint(&format!("{}{named}", backend.replace("word", "key")));
    assert_ne!(with_backend, with_other);
}
