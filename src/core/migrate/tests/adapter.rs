//! HorizontalPodAutoscalers of kube-metrics-adapter, most of them from its documentation.

use serde_json::json;

use super::*;

fn of_adapter(text: &str) -> Migration {
    let server = Url::parse("http://other:9090").unwrap();
    let aliases = BTreeMap::from([("other".to_owned(), server)]);
    kube_metrics_adapter(documents(text), &Settings { aliases, ..Settings::default() })
}

/// An autoscaler with annotations and a metric.
fn hpa(annotations: &[(&str, &str)], metric: &Value) -> Migration {
    let annotations: serde_json::Map<String, Value> = annotations
        .iter()
        .map(|(key, value)| (format!("metric-config.{key}"), json!(value)))
        .collect();
    let document = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "myapp", "namespace": "ide", "annotations": annotations, "labels": {"a": "b"}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "myapp"},
            "minReplicas": 1, "maxReplicas": 10, "metrics": [metric],
            "behavior": {"scaleDown": {"selectPolicy": "Disabled"}},
        },
    });
    of_adapter(&document.to_string())
}

fn external(name: &str) -> Value {
    json!({"type": "External", "external": {
        "metric": {"name": name, "selector": {"matchLabels": {"type": "prometheus"}}},
        "target": {"type": "AverageValue", "averageValue": "10"},
    }})
}

const EVENTS: &str = "external.events.prometheus";

#[test]
fn an_autoscaler_of_v1_is_converted_if_nothing_is_lost() {
    let of = |metrics: &str| {
        let document = json!({
            "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "myapp", "namespace": "ide", "annotations": {
                format!("metric-config.{EVENTS}/query"): "sum(events)",
                "autoscaling.alpha.kubernetes.io/metrics": metrics,
            }},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "myapp"},
                "minReplicas": 1, "maxReplicas": 10, "targetCPUUtilizationPercentage": 70,
            },
        });
        of_adapter(&document.to_string()).autoscalers_yaml()
    };
    let metrics = json!([{"type": "External", "external": {
        "metricName": "events", "metricSelector": {"matchLabels": {"type": "prometheus"}},
        "targetAverageValue": "10",
    }}]);
    let written = of(&metrics.to_string());
    assert!(
        written.contains("averageValue") && written.contains("averageUtilization"),
        "{written}"
    );
    assert!(!of("[").contains("scaleTargetRef"));
}

#[test]
fn an_external_metric() {
    let key = |key: &str| format!("{EVENTS}/{key}");
    let query = "scalar(sum(rate(events_total{processed=\"true\"}[1m])))\n";
    let annotations = [
        (key("query"), query),
        (key("interval"), "60s"),
        (key("prometheus-server"), "http://prometheus.mine.svc"),
    ];
    let annotations: Vec<_> = annotations.iter().map(|(key, value)| (&**key, *value)).collect();
    let migration = hpa(&annotations, &external("events"));
    assert!(migration.is_whole(), "{:#?}", migration.notes());
    passes_but_for(&migration, &[]);
    let rules = rules_file(&migration);
    assert_eq!(
        rules["externalRules"],
        json!([{
            "seriesQuery": "events_total", "resources": {"namespaced": false},
            "name": {"as": "ide.myapp.events"}, "metricsQuery": query.trim(), "static": true,
            "cacheTTL": "1m", "prometheus": "prometheus",
        }])
    );
    let written = autoscaler(&migration);
    assert_eq!(
        written["metadata"],
        json!({"name": "myapp", "namespace": "ide", "labels": {"a": "b"}})
    );
    assert_eq!(written["spec"]["behavior"]["scaleDown"]["selectPolicy"], "Disabled");
    assert_eq!(
        written["spec"]["metrics"],
        json!([{"type": "External", "external": {
            "metric": {"name": "ide.myapp.events"},
            "target": {"type": "AverageValue", "averageValue": "10"},
        }}])
    );
}

#[test]
fn servers_by_their_names() {
    let of = |alias: &str| {
        let (query, server) =
            (format!("{EVENTS}/query"), format!("{EVENTS}/prometheus-server-alias"));
        hpa(&[(&query, "up"), (&server, alias)], &external("events"))
    };
    let known = of("other");
    assert_eq!(rules_file(&known)["backends"][0]["url"], "http://other:9090");
    passes_but_for(&known, &[]);
    let unknown = of("unknown");
    assert!(!unknown.is_whole());
    assert_eq!(unknown.autoscalers().count(), 0);
}

#[test]
fn a_metric_of_an_object_is_external() {
    let metric = json!({"type": "Object", "object": {
        "describedObject": {"apiVersion": "v1", "kind": "Pod", "name": "dummy-pod"},
        "metric": {"name": "events"}, "target": {"type": "Value", "value": "10"},
    }});
    let (query, per_replica) =
        ("object.events.prometheus/query", "object.events.prometheus/per-replica");
    let target = |annotations: &[(&str, &str)]| {
        let migration = hpa(annotations, &metric);
        assert!(migration.is_whole(), "{:#?}", migration.notes());
        autoscaler(&migration)["spec"]["metrics"][0]["external"]["target"].clone()
    };
    assert_eq!(target(&[(query, "up")]), json!({"type": "Value", "value": "10"}));
    let average = json!({"type": "AverageValue", "averageValue": "10"});
    assert_eq!(target(&[(query, "up"), (per_replica, "true")]), average);
}

#[test]
fn the_name_of_a_query_is_a_label_in_old_manifests() {
    let mut metric = external("prometheus-query");
    metric["external"]["metric"]["selector"]["matchLabels"]["query-name"] = json!("events");
    let migration = hpa(&[("external.prometheus-query.prometheus/events", "up")], &metric);
    assert!(migration.is_whole(), "{:#?}", migration.notes());
    assert_eq!(rules_file(&migration)["externalRules"][0]["metricsQuery"], "up");
}

#[test]
fn other_collectors_are_listed() {
    let pods = json!({"type": "Pods", "pods": {
        "metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "1k"}}});
    let annotations =
        [("pods.rps.json-path/path", "/metrics"), ("pods.rps.json-path/port", "9090")];
    let sqs = json!({"type": "External", "external": {
        "metric": {"name": "q", "selector": {"matchLabels": {"type": "sqs", "queue-name": "foo"}}},
        "target": {"type": "AverageValue", "averageValue": "30"}}});
    let ingress = json!({"type": "Object", "object": {
        "describedObject": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "myapp"},
        "metric": {"name": "requests-per-second"},
        "target": {"type": "AverageValue", "averageValue": "10"}}});
    for (annotations, metric) in [(&annotations[..], pods), (&[], sqs), (&[], ingress)] {
        let migration = hpa(annotations, &metric);
        assert!(!migration.is_whole(), "{metric}");
        assert_eq!(migration.autoscalers().count(), 0, "{metric}");
    }
    let resource = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}});
    assert_eq!(hpa(&[], &resource).objects(), 0);
}

#[test]
fn annotations_that_nobody_uses_are_listed() {
    let query = format!("{EVENTS}/query");
    for other in ["external.other.prometheus/query", "external.events.prometheus/unknown"] {
        let migration = hpa(&[(&query, "up"), (other, "x")], &external("events"));
        let path = format!("metadata.annotations.metric-config.{other}");
        assert!(
            said(&migration).contains(&(Level::Cannot, path)),
            "{other}: {:?}",
            said(&migration)
        );
    }
}
