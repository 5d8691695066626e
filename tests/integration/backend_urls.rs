//! What is in a backend's URL besides its address: the path prefix, and parameters that every request has to carry.

use loadline::prometheus::Method;

use crate::support::{
    app::{App, Launch, custom},
    backend::{Answer, Asked, Backend, knows, pods},
};

/// A rule of which every kind of request is made: the labels that there are, names by label, series where the selector cannot
/// be narrowed, which of two series are alive, and queries.
const RULES: &str = r#"
rules:
- {seriesQuery: m, resources: {template: <<.Resource>>}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'}
- {seriesQuery: '{__name__=~"m|n"}', resources: {template: <<.Resource>>}, name: {as: both}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'}
"#;

/// What the URL says, and how it has to arrive.
const PARAMETERS: &str = "extra_label=team%3DSECRET-team&dedup=false&a+b=%26%25";
const PAIRS: [(&str, &str); 3] =
    [("extra_label", "team=SECRET-team"), ("dedup", "false"), ("a b", "&%")];

async fn backend(ignores_selectors: bool) -> Backend {
    Backend::start(move |asked| match asked.path.rsplit('/').next() {
        Some("query") => Answer::Data(pods(&[("p", "1")])),
        Some("labels") => Answer::Data(serde_json::json!(["__name__", "namespace", "pod"])),
        Some("series") => {
            Answer::Data(serde_json::json!([{"__name__": "m", "namespace": "n", "pod": "p"}]))
        }
        _ if asked.parameter("match[]").contains("matches_nothing") && !ignores_selectors => {
            Answer::Data(serde_json::json!([]))
        }
        _ => Answer::Data(serde_json::json!(["m", "n"])),
    })
    .await
}

async fn read(app: &App, names: &str) {
    let path = format!("namespaces/n/pods/p/m?metricLabelSelector=k+in+({names})");
    app.get(&custom(&path)).await.values();
}

/// All requests that a server with such a backend makes, in discovery and for reads, one of them long.
async fn asked(backend: &Backend, launch: Launch) -> Vec<Asked> {
    backend.take();
    let app = launch.start().await;
    read(&app, "a").await;
    let long: Vec<_> = (0..900).map(|i| format!("value-{i}")).collect();
    read(&app, &long.join(",")).await;
    for path in ["/metrics", "/readyz?verbose"] {
        let body = app.get(path).await.body;
        assert!(!body.contains("SECRET"), "{body}");
    }
    app.stop().await;
    backend.take()
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_reach_every_request() {
    for ignores_selectors in [false, true] {
        let backend = backend(ignores_selectors).await;
        for prefix in ["", "/", "/team/prom", "/team/prom/"] {
            for method in [Method::Get, Method::Post] {
                let url = format!("{}{prefix}?{PARAMETERS}", backend.url);
                let mut launch = Launch::new(RULES, &url);
                launch.prometheus.method = method;
                let asked = asked(&backend, launch).await;
                let endpoints =
                    ["query", "values", if ignores_selectors { "series" } else { "labels" }];
                for endpoint in endpoints {
                    assert!(asked.iter().any(|asked| asked.path.ends_with(endpoint)), "{endpoint}");
                }
                for asked in asked {
                    let path = format!("{}/api/v1/", prefix.trim_end_matches('/'));
                    assert!(asked.path.starts_with(&path), "{asked:?}");
                    // Gateways look at the URL, whatever is in the body.
                    assert!(asked.query.starts_with(PARAMETERS), "{asked:?}");
                    for (name, value) in PAIRS {
                        let found = asked.parameters.iter().filter(|(known, _)| known == name);
                        let found: Vec<_> = found.map(|(_, value)| value).collect();
                        assert_eq!(found, [value], "{asked:?}");
                    }
                    let wanted = if asked.is_query() { "query" } else { "match[]" };
                    assert!(!asked.parameter(wanted).is_empty(), "{asked:?}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_of_a_backend_of_the_rules_file_reach_its_requests_only() {
    let (own, other) = (backend(false).await, backend(false).await);
    let rules = format!(
        "backends: [{{name: vm, url: '{}?{PARAMETERS}'}}]\n{}",
        own.url,
        RULES.replace("{seriesQuery: m,", "{prometheus: vm, seriesQuery: m,")
    );
    for asked in asked(&own, Launch::new(&rules, &other.url)).await {
        assert!(asked.query.starts_with(PARAMETERS), "{asked:?}");
    }
    assert!(other.take().iter().all(|asked| !asked.query.contains("extra_label")));
}

/// The same parameters elsewhere on the server are kept; without them the answer would be of everybody's series.
#[tokio::test(flavor = "multi_thread")]
async fn redirects_that_lose_parameters_are_not_followed() {
    let target = |asked: &Asked, keeps: bool| {
        let kept = asked.query.replace("extra_label", if keeps { "extra_label" } else { "label" });
        Answer::Redirect(307, format!("/moved{}?{kept}", asked.path))
    };
    for keeps in [true, false] {
        let backend = Backend::start(knows(&["m"], move |asked| {
            if asked.path.starts_with("/moved") {
                return Answer::Data(pods(&[("p", "1")]));
            }
            target(asked, keeps)
        }))
        .await;
        let rules = "rules:\n- {seriesQuery: m, resources: {overrides: {ns: {resource: namespace}, pod: {resource: pod}}}, metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'}";
        let app = Launch::new(rules, &format!("{}?{PARAMETERS}", backend.url)).start().await;
        let reply = app.get(&custom("namespaces/n/pods/p/m")).await;
        if keeps {
            reply.values();
        } else {
            assert!(reply.failure().contains("HTTP status 307"), "{reply:?}");
        }
    }
}
