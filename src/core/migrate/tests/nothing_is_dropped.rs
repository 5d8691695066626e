//! Every field of the input is used, or reported.

use proptest::{prelude::*, sample::Index};
use serde_json::json;

use super::*;

/// Objects that have all that is known.
const ALL: &[&str] = &[
    "
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: worker
  namespace: ide
  labels: {team: a}
  annotations: {mine: here, autoscaling.keda.sh/paused-scale-out: 'true'}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: worker, envSourceContainerName: main}
  pollingInterval: 10
  cooldownPeriod: 600
  initialCooldownPeriod: 60
  minReplicaCount: 0
  maxReplicaCount: 30
  fallback: {failureThreshold: 3, replicas: 6, behavior: currentReplicas}
  advanced:
    restoreToOriginalReplicaCount: true
    horizontalPodAutoscalerConfig:
      name: worker-hpa
      behavior:
        scaleUp: {stabilizationWindowSeconds: 5, policies: [{type: Pods, value: 4, periodSeconds: 15}], tolerance: 0.05}
        scaleDown: {selectPolicy: Min}
  triggers:
  - type: prometheus
    name: depth
    metricType: AverageValue
    useCachedMetrics: true
    metadata:
      serverAddress: https://prometheus.monitoring.svc:9090
      query: sum(queue_depth)
      threshold: '60'
      activationThreshold: '5'
      namespace: ide
      customHeaders: X-A=1,X-B=2
      ignoreNullValues: 'true'
      queryParameters: a=1
      unsafeSsl: 'false'
      timeout: '1000'
      authModes: bearer
    authenticationRef: {name: creds, kind: TriggerAuthentication}
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata: {name: creds, namespace: ide}
spec:
  secretTargetRef: [{parameter: bearerToken, name: secret, key: token}]
",
    "
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: web, namespace: ide}
spec:
  scaleTargetRef: {name: web}
  minReplicaCount: 2
  idleReplicaCount: 0
  triggers:
  - {type: cpu, metricType: Utilization, metadata: {value: '60', containerName: main}}
  - {type: memory, metricType: AverageValue, metadata: {value: 500Mi}}
",
];

/// An autoscaler of kube-metrics-adapter. What it has already is handed on as it is.
const OF_ADAPTER: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: myapp
  annotations: {metric-config.external.events.prometheus/query: sum(events)}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: myapp}
  minReplicas: 1
  maxReplicas: 10
  behavior: {scaleDown: {selectPolicy: Disabled}}
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}
  - type: External
    external:
      metric: {name: events, selector: {matchLabels: {type: prometheus}}}
      target: {type: AverageValue, averageValue: '10'}
";

/// Where nothing is configured, or what is reported as a whole.
const EXEMPT: &[&str] = &["/status"];

/// The pointers of all values that `is` says.
fn pointers(value: &Value, is: &impl Fn(&Value) -> bool) -> Vec<String> {
    fn walk(value: &Value, at: &str, is: &impl Fn(&Value) -> bool, found: &mut Vec<String>) {
        if is(value) {
            found.push(at.to_owned());
        }
        let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
        match value {
            Value::Object(entries) => entries
                .iter()
                .for_each(|(key, value)| walk(value, &format!("{at}/{}", escaped(key)), is, found)),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .for_each(|(index, value)| walk(value, &format!("{at}/{index}"), is, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(value, "", is, &mut found);
    found.retain(|pointer| !EXEMPT.iter().any(|exempt| pointer.starts_with(exempt)));
    found
}

/// All that comes out.
fn outcome(documents: &[Value]) -> String {
    let settings = Settings::default();
    let is_hpa = documents.iter().any(|it| it["kind"] == "HorizontalPodAutoscaler");
    let migrate = if is_hpa { kube_metrics_adapter } else { keda };
    let migration = migrate(documents.to_vec(), &settings);
    let notes = migration.notes().iter().map(|note| format!("{note}\n"));
    notes.collect::<String>() + &migration.manifests_yaml()
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[a-z]{1,8}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(json!({"inner": {"most": 1}})),
        Just(json!([{"a": 1}, "b"])),
        Just(json!({})),
    ]
}

proptest! {
    #[test]
    fn an_unknown_field_is_reported_wherever_it_is(
        text in prop::sample::select([ALL, &[OF_ADAPTER]].concat()),
        at in any::<(Index, Index)>(),
        key in "zz[a-zA-Z0-9./-]{0,20}",
        value in any_value(),
    ) {
        let mut documents = documents(text);
        let before = outcome(&documents);
        let document = at.0.get_mut(&mut documents);
        let places = pointers(document, &Value::is_object);
        let chosen: &String = at.1.get(&places);
        let place = document.pointer_mut(chosen).unwrap();
        place.as_object_mut().unwrap().insert(key.clone(), value);
        let after = outcome(&documents);
        prop_assert!(after != before && after.contains(&key), "{chosen}");
    }
}

#[test]
fn every_known_field_matters() {
    for text in ALL {
        let all = documents(text);
        let before = outcome(&all);
        for at in 0..all.len() {
            let is_leaf = |value: &Value| !value.is_object() && !value.is_array();
            for pointer in pointers(&all[at], &is_leaf) {
                let mut changed = all.clone();
                let leaf = changed[at].pointer_mut(&pointer).unwrap();
                *leaf = match &*leaf {
                    Value::Bool(flag) => json!(!*flag),
                    Value::Number(number) => number.as_i64().map_or_else(
                        || json!(number.as_f64().unwrap() + 1.0),
                        |number| json!(number + 1),
                    ),
                    Value::String(flag) if flag == "true" => json!("false"),
                    Value::String(flag) if flag == "false" => json!("true"),
                    other => json!(format!("{}9", other.as_str().unwrap_or_default())),
                };
                if !MEANS_THE_SAME.contains(&pointer.as_str()) {
                    assert_ne!(outcome(&changed), before, "{pointer}");
                }
            }
        }
    }
}

/// Fields whose value is not part of what is said of them.
const MEANS_THE_SAME: &[&str] = &[
    "/spec/scaleTargetRef/envSourceContainerName",
    "/spec/fallback/failureThreshold",
    "/spec/fallback/replicas",
    "/spec/initialCooldownPeriod",
];
