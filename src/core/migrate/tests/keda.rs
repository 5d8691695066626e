//! `ScaledObjects`, most of them from KEDA's documentation.

use serde_json::json;

use super::*;

/// A `ScaledObject` with a spec, and documents beside it.
fn object(spec: &str, others: &str) -> String {
    format!(
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: worker, namespace: ide}}\nspec:\n  scaleTargetRef: {{name: worker}}\n{spec}\n---\n{others}"
    )
}

/// One with a trigger of Prometheus.
fn trigger(spec: &str, metadata: &str, more: &str) -> String {
    let spec = format!(
        "  triggers:\n  - type: prometheus\n    metadata: {{serverAddress: 'https://prometheus.monitoring.svc:9090', query: 'sum(queue_depth)', threshold: '100.50'{metadata}}}\n    {more}\n  {spec}"
    );
    object(&spec, "")
}

#[test]
fn the_example_of_the_documentation() {
    let text = "
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: prometheus-scaledobject
  namespace: default
spec:
  scaleTargetRef:
    name: my-deployment
  triggers:
  - type: prometheus
    metadata:
      serverAddress: http://prometheus.example:9090
      threshold: '100'
      query: sum(rate(http_requests_total{deployment=\"my-deployment\"}[2m]))
";
    let migration = of_keda(text);
    insta::assert_snapshot!("documented", migration.manifests_yaml());
    assert!(migration.is_whole());
    passes_but_for(&migration, &[]);
}

#[test]
fn keda_s_defaults_are_those_of_its_api() {
    let hpa = autoscaler(&of_keda(&trigger("", "", "")));
    assert_eq!(
        hpa["spec"],
        json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"},
            "minReplicas": 0, "maxReplicas": 100,
            "metrics": [{"type": "External", "external": {
                "metric": {"name": "ide.worker.s0-prometheus"},
                "target": {"type": "AverageValue", "averageValue": "100500m"},
            }}],
        })
    );
}

#[test]
fn targets() {
    let target = |metadata: &str, more: &str| {
        let hpa = autoscaler(&of_keda(&trigger("", metadata, more)));
        hpa["spec"]["metrics"][0]["external"]["target"].clone()
    };
    assert_eq!(target("", "metricType: Value"), json!({"type": "Value", "value": "100500m"}));
    assert_eq!(target("", "name: depth")["averageValue"], "100500m");
    for (threshold, wanted) in
        [("5", "5"), ("5.0", "5"), ("0.25", "250m"), ("1e3", "1k"), ("0.0014", "1m")]
    {
        let text = trigger("", "", "").replace("100.50", threshold);
        let hpa = autoscaler(&of_keda(&text));
        let target = &hpa["spec"]["metrics"][0]["external"]["target"];
        assert_eq!(target["averageValue"], wanted, "{threshold}");
    }
    // KEDA takes them, and the API server does not.
    for bad in ["0", "0.0001", "-1", "x", "NaN", "inf", ""] {
        let migration = of_keda(&trigger("", "", "").replace("100.50", bad));
        assert_eq!(migration.autoscalers().count(), 0, "{bad}");
        assert!(!migration.is_whole());
    }
    let migration = of_keda(&trigger("", "", "metricType: Utilization"));
    assert!(said(&migration).contains(&(Level::Cannot, "spec.triggers[0].metricType".to_owned())));
}

/// The notes of a field that have these words.
fn told(migration: &Migration, field: &str, words: &str) -> Vec<Level> {
    let notes = migration.notes().iter();
    let notes = notes.filter(|note| note.path.to_string().ends_with(field));
    notes.filter(|note| note.text.contains(words)).map(|note| note.level).collect()
}

#[test]
fn a_threshold_that_is_no_plain_number_is_quoted() {
    let of = |written: &str| of_keda(&trigger("", "", "").replace("100.50", written));
    for written in ["100m", "10,5", "5k", "abc", "NaN", "{{ .x }}"] {
        let words = format!("plain number here, such as 10 or 0.5, and `{written}` is none");
        assert_eq!(told(&of(written), "threshold", &words), [Level::Cannot], "{written}");
    }
    for (written, level) in [("0", Level::Cannot), ("-1", Level::Cannot), ("1e30", Level::Note)] {
        assert_eq!(told(&of(written), "threshold", &format!("`{written}`")), [level], "{written}");
    }
}

#[test]
fn a_type_in_another_case_is_told_with_the_one_that_is_meant() {
    let text = trigger("", "", "").replace("type: prometheus", "type: Prometheus");
    let told = told(&of_keda(&text), "type", "did you mean `prometheus`?");
    assert_eq!(told, [Level::Cannot]);
}

#[test]
fn rules_have_what_the_trigger_says() {
    let rule = |spec: &str, metadata: &str, more: &str| {
        let migration = of_keda(&trigger(spec, metadata, more));
        passes_but_for(&migration, &[]);
        rules_file(&migration)["externalRules"][0].clone()
    };
    let usual = rule("", "", "");
    assert_eq!(
        usual,
        json!({
            "seriesQuery": "queue_depth", "resources": {"namespaced": false},
            "name": {"as": "ide.worker.s0-prometheus"}, "metricsQuery": "sum(queue_depth)",
            "static": true, "onEmpty": "zero", "nan": "zero", "prometheus": "prometheus",
        })
    );
    let text = trigger("", "", "").replace("sum(queue_depth)", "sum({\"queue.depth\"})");
    let quoted = rules_file(&of_keda(&text))["externalRules"][0].clone();
    assert_eq!(quoted["seriesQuery"], "{__name__=\"queue.depth\"}", "{text}");
    let strict = rule("", ", ignoreNullValues: 'false'", "");
    assert_eq!((strict.get("onEmpty"), strict.get("nan")), (None, None));
    assert_eq!(rule("", ", timeout: '1500'", "")["timeout"], "1500ms");
    assert_eq!(rule("", ", timeout: 2m", "")["timeout"], "2m");
    assert_eq!(rule("pollingInterval: 60", "", "useCachedMetrics: true")["cacheTTL"], "60s");
    assert_eq!(rule("", "", "useCachedMetrics: true")["cacheTTL"], "30s");
    assert_eq!(rule("pollingInterval: 60", "", "").get("cacheTTL"), None);
    let headers = rule("", ", customHeaders: 'X-Client-Id=cid, X-Scope-OrgID=a<<b'", "");
    assert_eq!(headers["headers"], json!({"X-Client-Id": "cid", "X-Scope-OrgID": "a<<\"<<\">>b"}));
    // An empty value, and a name that differs by case only, would be refused.
    let bad = of_keda(&trigger("", ", customHeaders: 'X-A=1,X-B=,X-C= ,x-a=2'", ""));
    assert_eq!(rules_file(&bad)["externalRules"][0]["headers"], json!({"X-A": "1"}));
    let headers = (Level::Cannot, "spec.triggers[0].metadata.customHeaders".to_owned());
    assert_eq!(said(&bad).iter().filter(|said| **said == headers).count(), 3);
    assert_eq!(rule("", "", "name: depth")["name"]["as"], "ide.worker.depth");
    assert_eq!(rule("", "", "name: a b/c")["name"]["as"], "ide.worker.s0-prometheus");
}

#[test]
fn activation_is_part_of_the_query_where_it_matters() {
    let query = |spec: &str, metadata: &str, query: &str| {
        let text = trigger(spec, metadata, "").replace("sum(queue_depth)", query);
        let migration = of_keda(&text);
        passes_but_for(&migration, &[]);
        rules_file(&migration)["externalRules"][0]["metricsQuery"].as_str().unwrap().to_owned()
    };
    let five = ", activationThreshold: '5.5'";
    let never_null = ", activationThreshold: '5.5', ignoreNullValues: 'false'";
    assert_eq!(query("", five, "sum(q)"), "(sum(q)) > 5.5");
    assert_eq!(query("", never_null, "sum(q)"), "(sum(q)) * ((sum(q)) > bool 5.5)");
    assert_eq!(query("", five, "scalar(q)"), "(scalar(q)) * ((scalar(q)) > bool 5.5)");
    assert_eq!(query("", five, "q default 0"), "(q default 0) > 5.5");
    assert_eq!(query("minReplicaCount: 2", five, "sum(q)"), "sum(q)");
    assert_eq!(query("", ", activationThreshold: '0'", "sum(q)"), "sum(q)");
    let always = of_keda(&trigger("", ", activationThreshold: '-1'", ""));
    assert_eq!(autoscaler(&always)["spec"]["minReplicas"], 1);
}

#[test]
fn activation_is_no_part_of_the_query_where_another_trigger_keeps_a_replica() {
    let activation = ", activationThreshold: '50'";
    let beside = [
        ("kafka", "  - {type: kafka, metadata: {topic: t}}"),
        ("cpu", "  - {type: cpu, metricType: Utilization, metadata: {value: '60'}}"),
    ];
    for (name, other) in beside {
        let alone = trigger("", activation, "");
        let first = alone.replace("  triggers:\n", &format!("  triggers:\n{other}\n"));
        let last = alone.replace("\n    \n", &format!("\n{other}\n"));
        for text in [first, last] {
            assert_ne!(text, alone);
            let migration = of_keda(&text);
            assert_eq!(autoscaler(&migration)["spec"]["minReplicas"], 1, "{name}");
            let rule = &rules_file(&migration)["externalRules"][0];
            assert_eq!(rule["metricsQuery"], "sum(queue_depth)", "{name}");
        }
    }
    let always = "
  - type: prometheus
    metadata: {serverAddress: 'https://host', query: up, threshold: '1', activationThreshold: '-1'}";
    let text = trigger("", activation, "").replace("\n    \n", &format!("{always}\n"));
    let migration = of_keda(&text);
    assert_eq!(autoscaler(&migration)["spec"]["minReplicas"], 1);
    let rules = rules_file(&migration);
    assert_eq!(rules["externalRules"].as_array().unwrap().len(), 2);
    assert_eq!(rules["externalRules"][0]["metricsQuery"], "sum(queue_depth)");
}

#[test]
fn a_server_is_one_backend_unless_it_is_asked_in_another_way() {
    let one = |name: &str, server: &str, more: &str| {
        trigger("", more, "")
            .replace("name: worker, n", &format!("name: {name}, n"))
            .replace("https://prometheus.monitoring.svc:9090", server)
    };
    let all = [
        one("a", "http://prom.a.svc:9090", ""),
        one("b", "http://prom.a.svc:9090/", ""),
        one("c", "http://prom.b.svc:9090", ""),
        one("d", "http://prom.a.svc:9090", ", namespace: ide, queryParameters: 'dedup=true,x=a b'"),
        one("e", "http://10.0.0.1/select/0/prometheus", ""),
        one("f", "http://main:9090", ""),
    ];
    let main = Some(Url::parse("http://main:9090").unwrap());
    let settings = Settings { prometheus: main, ..Settings::default() };
    let migration = keda(documents(&all.join("---\n")), &settings);
    passes_but_for(&migration, &[]);
    let file = rules_file(&migration);
    assert_eq!(
        file["backends"],
        json!([
            {"name": "prom", "url": "http://prom.a.svc:9090"},
            {"name": "prom-2", "url": "http://prom.b.svc:9090"},
            {"name": "prom-3", "url": "http://prom.a.svc:9090/?namespace=ide&dedup=true&x=a+b"},
            {"name": "10-0-0-1", "url": "http://10.0.0.1/select/0/prometheus"},
        ])
    );
    let rules = file["externalRules"].as_array().unwrap().iter();
    let asked: Vec<_> = rules.map(|rule| rule["prometheus"].as_str().unwrap_or("")).collect();
    assert_eq!(asked, ["prom", "prom", "prom-2", "prom-3", "10-0-0-1", ""]);
    for bad in ["http://<prometheus-host>:9090", "prometheus:9090", "", "http://h/?a=b"] {
        let migration = of_keda(&one("g", bad, ""));
        let path = "spec.triggers[0].metadata.serverAddress".to_owned();
        assert!(said(&migration).contains(&(Level::Cannot, path)), "{bad}");
    }
}

/// A trigger with a mode, and its `TriggerAuthentication`.
fn authenticated(mode: &str, address: &str, spec: &str) -> Migration {
    let text = object(
        &format!(
            "  triggers:\n  - type: prometheus\n    metadata: {{serverAddress: '{address}', query: up, threshold: '1', authModes: '{mode}'}}\n    authenticationRef: {{name: creds}}"
        ),
        &format!(
            "apiVersion: keda.sh/v1alpha1\nkind: TriggerAuthentication\nmetadata: {{name: creds, namespace: ide}}\nspec: {spec}"
        ),
    );
    of_keda(&text)
}

#[test]
fn credentials_become_files_of_backends() {
    let secret = |parameters: &str| {
        let each = parameters.split(' ').map(|parameter| {
            format!("{{parameter: {parameter}, name: keda-prom-secret, key: {parameter}.txt}}")
        });
        format!("{{secretTargetRef: [{}]}}", each.collect::<Vec<_>>().join(", "))
    };
    let file = |name: &str| format!("/etc/loadline/keda-prom-secret/{name}.txt");
    let url = "https://host:9090";
    let cases = [
        (
            "bearer",
            secret("bearerToken ca"),
            json!({"caFile": file("ca"), "tokenFile": file("bearerToken")}),
        ),
        ("bearer", secret("token"), json!({"tokenFile": file("token")})),
        (
            "tls",
            secret("cert key"),
            json!({"clientTLSCertFile": file("cert"), "clientTLSKeyFile": file("key")}),
        ),
        ("", secret("ca"), json!({"caFile": file("ca")})),
    ];
    for (mode, spec, wanted) in cases {
        let migration = authenticated(mode, url, &spec);
        assert!(migration.is_whole(), "{:#?}", migration.notes());
        passes_but_for(&migration, &[]);
        let mut backend = rules_file(&migration)["backends"][0].clone();
        backend.as_object_mut().unwrap().retain(|key, _| !matches!(&**key, "name" | "url"));
        assert_eq!(backend, wanted, "{mode}");
    }
    // Over http they are sent only where flags of the server allow it.
    let migration = authenticated("bearer", "http://host:9090", &secret("bearerToken"));
    assert!(
        migration
            .notes()
            .iter()
            .any(|it| it.text.contains("--plaintext-credentials-hosts=host:9090"))
    );
    passes_but_for(&migration, &["credentials-refused"]);
    let bound =
        "{boundServiceAccountToken: [{parameter: bearerToken, serviceAccountName: reader}]}";
    let migration = authenticated("bearer", url, bound);
    assert_eq!(rules_file(&migration)["backends"][0]["authInCluster"], true);
    passes_but_for(&migration, &["credentials-refused"]);
}

#[test]
fn credentials_that_cannot_move_are_listed() {
    let all = "{secretTargetRef: [{parameter: username, name: s, key: u}, {parameter: password, name: s, key: p}, {parameter: customAuthHeader, name: s, key: h}, {parameter: customAuthValue, name: s, key: v}]}";
    let cases = [
        ("basic", all, "spec.triggers[0].metadata.authModes"),
        ("custom", all, "spec.triggers[0].metadata.authModes"),
        ("oauth", all, "spec.triggers[0].metadata.authModes"),
        ("", "{podIdentity: {provider: aws}}", "spec.podIdentity"),
        ("bearer", "{env: [{parameter: bearerToken, name: TOKEN}]}", "spec.env"),
        ("bearer", "{hashiCorpVault: {address: a}}", "spec.hashiCorpVault"),
        ("bearer", "{unknown: 1}", "spec.unknown"),
    ];
    for (mode, spec, path) in cases {
        let migration = authenticated(mode, "https://host", spec);
        let said = said(&migration);
        assert!(said.contains(&(Level::Cannot, path.to_owned())), "{mode} {spec}: {said:?}");
        passes_but_for(&migration, &[]);
    }
    let missing =
        trigger("", "", "authenticationRef: {name: other, kind: ClusterTriggerAuthentication}");
    let path = "spec.triggers[0].authenticationRef".to_owned();
    assert!(said(&of_keda(&missing)).contains(&(Level::Cannot, path)));
}

#[test]
fn cpu_and_memory_are_read_by_the_autoscaler() {
    let spec = "  minReplicaCount: 2
  triggers:
  - {type: cpu, metricType: Utilization, metadata: {value: '60'}}
  - {type: memory, metricType: AverageValue, metadata: {value: 500Mi, containerName: web}}";
    let migration = of_keda(&object(spec, ""));
    assert!(migration.is_whole());
    assert_eq!(
        autoscaler(&migration)["spec"]["metrics"],
        json!([
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
            {"type": "ContainerResource", "containerResource": {"name": "memory", "container": "web", "target": {"type": "AverageValue", "averageValue": "500Mi"}}},
        ])
    );
    assert_eq!(migration.rules_yaml(), "");
}

#[test]
fn limits() {
    let kafka = "\n  - {type: kafka, metadata: {topic: t}}";
    let cpu = "\n  - {type: cpu, metricType: Utilization, metadata: {value: '60'}}";
    let cases = [
        // The spec, a trigger beside, minReplicas, maxReplicas, what cannot move.
        ("", "", 0, 100, &[][..]),
        ("minReplicaCount: 3", "", 3, 100, &[]),
        ("minReplicaCount: 3\n  maxReplicaCount: 7", "", 3, 7, &[]),
        ("minReplicaCount: 3\n  idleReplicaCount: 0", "", 3, 100, &["spec.idleReplicaCount"]),
        ("", kafka, 1, 100, &["spec.minReplicaCount", "spec.triggers[1].type"]),
        ("minReplicaCount: 1", kafka, 1, 100, &["spec.triggers[1].type"]),
        ("", cpu, 1, 100, &["spec.minReplicaCount"]),
        ("minReplicaCount: 1\n  initialCooldownPeriod: 60", "", 1, 100, &[]),
        ("initialCooldownPeriod: 60", "", 0, 100, &["spec.initialCooldownPeriod"]),
    ];
    for (spec, beside, least, most, cannot) in cases {
        let text = trigger(spec, "", "").replace("\n    \n", &format!("{beside}\n"));
        let migration = of_keda(&text);
        let hpa = autoscaler(&migration);
        assert_eq!(hpa["spec"]["minReplicas"], least, "{spec} {beside}");
        assert_eq!(hpa["spec"]["maxReplicas"], most, "{spec} {beside}");
        let mut said = said(&migration);
        said.retain(|(level, _)| *level == Level::Cannot);
        let mut said: Vec<_> = said.into_iter().map(|(_, path)| path).collect();
        said.sort_unstable();
        assert_eq!(said, cannot, "{spec} {beside}");
    }
}

#[test]
fn cooldown_is_a_window_where_that_is_not_shorter() {
    let window = |spec: &str| {
        let migration = of_keda(&trigger(spec, "", ""));
        let spec = autoscaler(&migration)["spec"].clone();
        let window = spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"].as_i64();
        (window, migration.is_whole())
    };
    let with_window = "advanced: {horizontalPodAutoscalerConfig: {behavior: {scaleDown: {stabilizationWindowSeconds: 60}}}}";
    let cases = [
        ("cooldownPeriod: 300", (None, true)),
        ("cooldownPeriod: 30", (None, true)),
        ("cooldownPeriod: 600", (Some(600), true)),
        ("cooldownPeriod: 7200", (Some(3600), false)),
        (with_window, (Some(60), true)),
    ];
    for (spec, wanted) in cases {
        assert_eq!(window(spec), wanted, "{spec}");
    }
    assert_eq!(window(&format!("{with_window}\n  cooldownPeriod: 90")), (Some(60), false));
    assert_eq!(window(&format!("{with_window}\n  cooldownPeriod: 60")), (Some(60), true));
    assert_eq!(window("cooldownPeriod: 600\n  minReplicaCount: 1"), (None, true));
}

#[test]
fn pauses() {
    let paused = |annotation: &str| {
        let text = trigger("minReplicaCount: 2", "", "").replace(
            "namespace: ide}",
            &format!("namespace: ide, annotations: {{autoscaling.keda.sh/{annotation}}}}}"),
        );
        let spec = autoscaler(&of_keda(&text))["spec"].clone();
        let policy = |direction: &str| spec["behavior"][direction]["selectPolicy"] == "Disabled";
        (
            policy("scaleUp"),
            policy("scaleDown"),
            spec["minReplicas"].clone(),
            spec["maxReplicas"].clone(),
        )
    };
    let cases = [
        ("paused: 'true'", (true, true, 2, 100)),
        ("paused: 'false'", (false, false, 2, 100)),
        ("paused: odd", (true, true, 2, 100)),
        ("paused-scale-in: 'true'", (false, true, 2, 100)),
        ("paused-scale-out: 'true'", (true, false, 2, 100)),
        ("paused-replicas: '5'", (false, false, 5, 5)),
        ("paused-replicas: '0'", (true, true, 2, 100)),
    ];
    for (annotation, (up, down, least, most)) in cases {
        assert_eq!(paused(annotation), (up, down, json!(least), json!(most)), "{annotation}");
    }
}

#[test]
fn the_autoscaler_has_the_name_the_labels_and_the_behavior() {
    let text = "
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: worker
  namespace: ide
  uid: 12
  labels: {team: a, secret: b, scaledobject.keda.sh/name: worker}
  annotations:
    scaledobject.keda.sh/hpa-excluded-labels: secret,other
    scaledobject.keda.sh/transfer-hpa-ownership: 'true'
    kubectl.kubernetes.io/last-applied-configuration: '{}'
    mine: here
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: worker}
  minReplicaCount: 1
  advanced:
    horizontalPodAutoscalerConfig:
      name: worker-hpa
      behavior:
        scaleUp: {policies: [{type: Pods, value: 4, periodSeconds: 15}], tolerance: 0.05}
        scaleDown: {stabilizationWindowSeconds: 60, selectPolicy: Min}
  triggers:
  - type: prometheus
    metadata: {serverAddress: 'http://p:9090', query: up, threshold: '1'}
status: {hpaName: keda-hpa-worker}
";
    let migration = of_keda(text);
    let hpa = autoscaler(&migration);
    assert_eq!(
        hpa["metadata"],
        json!({"name": "worker-hpa", "namespace": "ide", "labels": {"team": "a"}, "annotations": {"mine": "here"}})
    );
    assert_eq!(
        hpa["spec"]["behavior"],
        json!({
            "scaleUp": {"tolerance": "0.05", "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]},
            "scaleDown": {"stabilizationWindowSeconds": 60, "selectPolicy": "Min"},
        })
    );
    assert!(migration.is_whole(), "{:#?}", migration.notes());
    passes_but_for(&migration, &[]);
}

/// KEDA's fallback is a number of replicas; that of a rule is the value that asks for as many.
#[test]
fn a_fallback_moves_as_the_value_that_asks_for_its_replicas() {
    let fallback = |spec: &str, more: &str| {
        let migration = of_keda(&trigger(spec, "", more));
        passes_but_for(&migration, &[]);
        rules_file(&migration)["externalRules"][0].get("fallback").cloned()
    };
    let six = "fallback: {failureThreshold: 3, replicas: 6}";
    let polled = |seconds: u32| format!("{six}\n  pollingInterval: {seconds}");
    let after = |after: &str| Some(json!({"after": after, "value": "603"}));
    assert_eq!(fallback(six, ""), after("90s"));
    assert_eq!(fallback(&polled(60), ""), after("180s"));
    assert_eq!(fallback(&polled(1), ""), after("30s"));
    assert_eq!(fallback("", ""), None);
    assert_eq!(
        fallback("fallback: {failureThreshold: 3, replicas: 6, behavior: currentReplicas}", ""),
        None
    );
    let value = of_keda(&trigger(six, "", "metricType: Value"));
    assert!(said(&value).contains(&(Level::Cannot, "spec.fallback".to_owned())));
    assert_eq!(rules_file(&value)["externalRules"][0].get("fallback"), None);
}

#[test]
fn what_cannot_move_is_listed() {
    let fallback =
        |behavior: &str| format!("fallback: {{failureThreshold: 3, replicas: 6{behavior}}}");
    let cases = [
        (fallback(""), None),
        (fallback(", behavior: static"), None),
        ("fallback: {failureThreshold: 3}".to_owned(), Some("spec.fallback")),
        (fallback(", behavior: currentReplicasIfHigher"), Some("spec.fallback")),
        (fallback(", behavior: currentReplicas"), None),
        (
            "advanced: {scalingModifiers: {formula: 'a + b', target: '2'}}".to_owned(),
            Some("spec.advanced.scalingModifiers"),
        ),
        (
            "advanced: {restoreToOriginalReplicaCount: true}".to_owned(),
            Some("spec.advanced.restoreToOriginalReplicaCount"),
        ),
        ("advanced: {restoreToOriginalReplicaCount: false}".to_owned(), None),
    ];
    for (spec, path) in cases {
        let migration = of_keda(&trigger(&spec, "", ""));
        let cannot = migration.notes().iter().filter(|note| note.level == Level::Cannot);
        let cannot: Vec<_> = cannot.map(|note| note.path.to_string()).collect();
        assert_eq!(cannot, path.into_iter().collect::<Vec<_>>(), "{spec}");
        let has_formula = spec.contains("formula");
        assert_eq!(migration.autoscalers().count(), usize::from(!has_formula), "{spec}");
        passes_but_for(&migration, &[]);
    }
    let metadata = [
        ("unsafeSsl: 'true'", "unsafeSsl"),
        ("awsRegion: eu-west-1", "awsRegion"),
        ("cortexOrgID: me", "cortexOrgID"),
        ("queryParameters: 'extra_label=a=b'", "queryParameters"),
        ("timeout: 1h", "timeout"),
    ];
    for (written, key) in metadata {
        let migration = of_keda(&trigger("", &format!(", {written}"), ""));
        let path = format!("spec.triggers[0].metadata.{key}");
        assert!(said(&migration).contains(&(Level::Cannot, path)), "{written}");
        passes_but_for(&migration, &[]);
    }
    let job = "apiVersion: keda.sh/v1alpha1\nkind: ScaledJob\nmetadata: {name: job}\nspec: {}\n";
    let migration = of_keda(job);
    assert_eq!(said(&migration), [(Level::Cannot, String::new())]);
    assert_eq!(migration.manifests_yaml().lines().count(), 1);
}

#[test]
fn no_text_of_a_manifest_gets_out_of_a_comment() {
    let text = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": {"name": "a\nkind: b", "x\n---\nkind: c": 1},
        "spec": {"scaleTargetRef": {"name": "a"}, "triggers": [
            {"type": "x\nkind: d", "metadata": {}},
            {"type": "prometheus", "metadata": {"serverAddress": "http://h", "query": "up", "threshold": "1"}},
        ]},
    });
    let migration = keda(vec![text], &Settings::default());
    let printed = documents(&migration.manifests_yaml());
    let kinds: Vec<_> = printed.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["HorizontalPodAutoscaler", "ConfigMap"]);
    assert!(migration.notes().iter().all(|note| !note.to_string().contains('\n')));
}
