//! Names that queries write in quotes, as OpenTelemetry has them; and how far back series are found.

use std::time::Duration;

use loadline::discovery::LOOKBACK;
use serde_json::json;

use super::value;
use crate::support::{
    app::{Launch, custom, external},
    backend::{Answer, Asked, Backend},
    exporter::{Exporter, Page},
    store::Store,
};

const RULES: &str = r#"
rules:
- seriesQuery: '{"http.requests","k8s.namespace.name"!=""}'
  resources: {overrides: {k8s.namespace.name: {resource: namespace}, k8s.pod.name: {resource: pod}}}
  metricsQuery: 'sum by (<<.GroupBy>>) (rate(<<.Series>>{<<.LabelMatchers>>}[2m]))'
externalRules:
- seriesQuery: '{"http.requests"}'
  resources: {namespaced: false}
  metricsQuery: 'sum({"http.requests",<<.LabelMatchers>>})'
"#;

/// The names and labels of one series, and its value.
fn otel(asked: &Asked) -> Answer {
    let labels = json!({"k8s.namespace.name": "shop", "k8s.pod.name": "web-0"});
    if asked.is_query() {
        let row = json!({"metric": labels, "value": [1, "42"]});
        return Answer::Data(json!({"resultType": "vector", "result": [row]}));
    }
    if asked.parameter("match[]").contains("matches_nothing") {
        return Answer::Data(json!([]));
    }
    if asked.path.ends_with("/labels") {
        return Answer::Data(json!(["__name__", "k8s.namespace.name", "k8s.pod.name"]));
    }
    Answer::Data(json!(["http.requests"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn quoted_names_are_served() {
    let backend = Backend::start(otel).await;
    let app = Launch::new(RULES, &backend.url).start().await;
    let mut selectors: Vec<_> =
        backend.take().iter().map(|asked| asked.parameter("match[]").to_owned()).collect();
    selectors.retain(|selector| selector.contains("k8s.pod.name"));
    assert_eq!(selectors, [r#"{"http.requests","k8s.namespace.name"!="","k8s.pod.name"!=""}"#]);

    for path in ["namespaces/shop/pods/*/http.requests", "namespaces/shop/pods/%2A/http%2Erequests"]
    {
        assert_eq!(app.get(&custom(path)).await.values(), [("web-0".to_owned(), "42".to_owned())]);
    }
    assert_eq!(
        backend.take()[0].parameter("query"),
        r#"sum by ("k8s.pod.name") (rate({__name__="http.requests","k8s.namespace.name"="shop","k8s.pod.name"!=""}[2m]))"#
    );
    let path = "namespaces/shop/http.requests?labelSelector=service.name%3Dweb,x.io/y+in+(a,b)";
    assert_eq!(app.get(&external(path)).await.status, 200);
    assert_eq!(
        backend.take()[0].parameter("query"),
        r#"sum({"http.requests","service.name"="web","x.io/y"=~"a|b"})"#
    );
    app.stop().await;
}

/// A server that knows no such names is not asked for them, and all else is served.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_server_serves_what_it_has() {
    let exporter = Exporter::start(Page::new().pods("m", "n", 1)).await;
    let store = Store::prometheus(&exporter).await;
    store.until("m{*}").await;
    let text = "rules:\n- seriesQuery: 'm{namespace!=\"\"}'\n  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, k8s.pod.name: {resource: services}}}\n  metricsQuery: max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)\n";
    let app = Launch::new(text, &store.url).start().await;
    assert!(app.discovery.problems().is_empty(), "{:?}", app.discovery.problems());
    assert_eq!(value(&app, "pod-0", "m").await.as_deref(), Some("1"));
    app.stop().await;
}

/// A rule of such names is in error there, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_server_refuses_only_what_it_does_not_read() {
    const REFUSED: &str = "Prometheus refused the query (HTTP status 400): it has a name in quotes, which needs Prometheus 3 or another backend that reads such names";
    let page = Page::new().pods("m", "n", 1);
    let exporter = Exporter::start(page).await;
    let store = Store::prometheus(&exporter).await;
    store.until("m{*}").await;
    let plain = "externalRules:\n- seriesQuery: m\n  resources: {namespaced: false}\n  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>})'\n";
    let text = format!("{}{}", RULES.trim_start(), plain.trim_start_matches("externalRules:\n"));
    let app = Launch::new(&text, &store.url).start().await;
    let problems: Vec<_> = app.discovery.problems().iter().map(ToString::to_string).collect();
    assert_eq!(problems, [format!("rules[0]: {REFUSED}"), format!("externalRules[0]: {REFUSED}")]);
    let reply = app.get(&custom("namespaces/n/pods/*/http.requests")).await;
    assert!(reply.status == 404 && reply.failure().contains(REFUSED), "{reply:?}");

    let metric = external("namespaces/n/m");
    assert_eq!(app.get(&metric).await.status, 200);
    let reply = app.get(&format!("{metric}?labelSelector=service.name%3Dweb")).await;
    assert!(reply.status == 500 && reply.failure().contains(REFUSED), "{reply:?}");
    app.stop().await;
}

/// Series are looked for as far back as their queries look, and at least as far as Prometheus does.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_query_can_read_is_found() {
    let backend = Backend::start(|_| Answer::Data(json!([]))).await;
    let rule = |name: &str, query: &str| {
        format!(
            "- {{seriesQuery: {name}, resources: {{namespaced: false}}, metricsQuery: '{query}'}}\n"
        )
    };
    let text =
        [rule("a", "sum(a)"), rule("b", "sum(rate(b[2h] offset 1h))"), rule("c", "not promql [")];
    let mut launch = Launch::new(&format!("externalRules:\n{}", text.concat()), &backend.url);
    launch.relist_interval = Duration::from_secs(30);
    launch.max_age = Duration::from_secs(30);
    launch.lookback = Some(LOOKBACK);
    let app = launch.start().await;
    let asked = backend.take();
    for (selector, window) in [("a", 300), ("b", 3 * 3600), ("c", 300)] {
        let asked = asked.iter().find(|asked| asked.parameter("match[]") == selector).unwrap();
        let time = |name: &str| asked.parameter(name).parse::<i64>().unwrap();
        assert_eq!(time("end") - time("start"), window + 1, "{selector}");
    }
    app.stop().await;
}
