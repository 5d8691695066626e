//! The chart.

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Write as _},
    path::Path,
    process::Command,
};

use serde_json::{Value, json};

use super::{documents::Documents, file, name, text, yaml};

const CHART: &str = "deploy/helm/loadline";

/// The values of the prometheus-adapter chart 5.3.0.
const PEER_VALUES: &str = "
    affinity automountServiceAccountToken certManager.caCertDuration certManager.caCertRevisionHistoryLimit
    certManager.certDuration certManager.certRevisionHistoryLimit certManager.enabled customAnnotations customLabels
    deploymentAnnotations dnsConfig dnsPolicy env extraArguments extraContainers extraManifests extraVolumeMounts
    extraVolumes fullnameOverride hostNetwork.enabled image.pullPolicy image.pullSecrets image.repository image.tag
    listenPort livenessProbe logLevel metricsRelistInterval nameOverride namespaceOverride nodeSelector podAnnotations
    podDisruptionBudget.enabled podDisruptionBudget.maxUnavailable podDisruptionBudget.minAvailable
    podDisruptionBudget.unhealthyPodEvictionPolicy podLabels podSecurityContext priorityClassName prometheus.path
    prometheus.port prometheus.url rbac.create rbac.customMetrics.resources rbac.externalMetrics.resources
    rbac.useAuthReaderClusterRole readinessProbe replicas resources revisionHistoryLimit rules.custom rules.default
    rules.existing rules.external rules.resource securityContext service.annotations service.clusterIP
    service.ipDualStack.enabled service.ipDualStack.ipFamilies service.ipDualStack.ipFamilyPolicy service.port
    service.type serviceAccount.annotations serviceAccount.automountServiceAccountToken serviceAccount.create
    serviceAccount.name startupProbe strategy tls.ca tls.certificate tls.enable tls.key tolerations
    topologySpreadConstraints";

/// A values file as it may come from prometheus-adapter. What begins with `mark-` has to be in what is rendered.
const TYPICAL_VALUES: &str = r#"
prometheus: {url: 'http://mark-{{ .Release.Namespace }}.svc', port: 8481, path: /mark-select/0/prometheus}
image: {repository: mark-registry/loadline, tag: mark-tag, pullPolicy: Always, pullSecrets: [mark-pull]}
replicas: 3
logLevel: 6
metricsRelistInterval: 30s
listenPort: 6444
extraArguments: [--prometheus-header=X-Scope-OrgID=mark-tenant, --metrics-max-age=5m, --v=4]
rules:
  default: false
  custom:
  - seriesQuery: '{__name__=~"^mark-custom$",namespace!="",pod!=""}'
    resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
    name: {matches: "^(.*)_total$", as: "${1}_per_second"}
    metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'
service: {annotations: {mark-service: "1"}, clusterIP: 10.96.9.9}
serviceAccount: {name: mark-account, annotations: {mark-annotation: arn}}
customLabels: {mark-label: "yes", app.kubernetes.io/component: mark-component}
customAnnotations: {mark-custom-annotation: "yes"}
podLabels: {mark-pod-label: "yes"}
podAnnotations: {mark-pod-annotation: "yes"}
deploymentAnnotations: {mark-deployment-annotation: "yes"}
priorityClassName: mark-priority
nodeSelector: {mark-node: "yes"}
tolerations: [{key: mark-taint, operator: Exists}]
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: mark-affinity, operator: Exists}]}]}}}
topologySpreadConstraints: [{maxSkew: 2, topologyKey: mark-topology, whenUnsatisfiable: DoNotSchedule}]
dnsPolicy: ClusterFirstWithHostNet
dnsConfig: {searches: [mark-search]}
hostNetwork: {enabled: true}
env: [{name: SSL_CERT_DIR, value: mark-env}]
extraContainers: [{name: mark-sidecar, image: sidecar}]
extraVolumes: [{name: mark-volume, emptyDir: {}}]
backendCredentials: [mark.credentials]
extraVolumeMounts: [{name: mark-volume, mountPath: /mark-mount}]
startupProbe: {httpGet: {path: /mark-startup, port: https, scheme: HTTPS}}
podDisruptionBudget: {enabled: true, minAvailable: 2, unhealthyPodEvictionPolicy: AlwaysAllow}
metrics:
  serviceMonitor:
    enabled: true
    labels: {mark-release: monitor}
    interval: 7s
    scrapeTimeout: 6s
    bearerTokenFile: /mark-token
    tlsConfig: {caFile: /mark-ca}
    relabelings: [{action: labeldrop, regex: mark-relabel}]
    metricRelabelings: [{action: labeldrop, regex: mark-metric-relabel}]
  prometheusRule: {enabled: true, labels: {mark-rule: "yes"}, annotations: {mark-rule-annotation: "yes"}}
  dashboards: {enabled: true, namespace: mark-grafana, labels: {mark-dashboard: "yes"}, annotations: {mark-folder: loadline}}
networkPolicy:
  enabled: true
  apiServerCIDRs: [10.0.0.10/32, 'fd00::10/128']
  prometheusPeers: [{podSelector: {matchLabels: {mark-prometheus: "yes"}}}]
  extraIngress: [{ports: [{port: 6444, protocol: TCP}], from: [{podSelector: {matchLabels: {mark-in: "yes"}}}]}]
  extraEgress: [{ports: [{port: 8080, protocol: TCP}]}]
rbac:
  extraRules: [{apiGroups: [apps], resources: [mark-kind], verbs: [list]}]
  customMetrics: {resources: [mark-custom-resource]}
extraManifests:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: 'mark-{{ .Release.Name }}'}
"#;

#[test]
fn every_value_of_the_prometheus_adapter_chart_is_known() {
    let text =
        fs::read_to_string(file("deploy/helm/loadline/values.schema.json")).expect("the schema");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    let values = yaml("deploy/helm/loadline/values.yaml");
    for path in PEER_VALUES.split_whitespace() {
        let mut known = Some(&schema);
        for key in path.split('.') {
            known = known.and_then(|schema| schema["properties"].get(key));
        }
        assert!(known.is_some(), "{path} is not in the schema");
        let in_values = values.pointer(&format!("/{}", path.replace('.', "/")));
        let is_example = matches!(path, "dnsPolicy" | "service.clusterIP");
        assert!(in_values.is_some() || is_example, "{path} is not in values.yaml");
    }
    for key in values.as_object().expect("values").keys() {
        assert!(schema["properties"].get(key).is_some(), "{key} is not in the schema");
    }
}

#[test]
fn the_chart_renders_sound_documents() {
    let certificate = "tls: {enable: true, ca: authority, certificate: pair, key: secret}";
    let cases = [
        ("", 2),
        (TYPICAL_VALUES, 2),
        (certificate, 2),
        ("tls: {selfManaged: true}", 2),
        ("certManager: {enabled: true, certRevisionHistoryLimit: 3}", 2),
        ("rules: {default: false}", 0),
        ("rules: {default: false}\nteamRules: {enabled: true}", 3),
        ("teamRules: {enabled: true, external: false, crds: false}", 2),
        ("rules: {default: false}\nrulesFromConfigMaps: {selector: a=b, external: false}", 2),
        (
            "rules: {default: false, external: [{seriesQuery: mark-series, metricsQuery: up, resources: {namespaced: false}}]}\nrbac: {externalMetrics: {resources: [mark-metric]}}",
            1,
        ),
        (
            "rules: {default: false, resource: {window: 3m, cpu: {containerQuery: mark-cpu, containerLabel: c, resources: {overrides: {p: {resource: pod}, n: {resource: namespace}}}}}}",
            2,
        ),
        (
            "rules: {existing: my-rules}\nserviceAccount: {create: false, name: mine}\nrbac: {create: false}",
            2,
        ),
        ("replicas: 1\nlogLevel: '4'\nprometheus: {port: ''}\nnetworkPolicy: {enabled: true}", 2),
        ("prometheus: {auth: {sigv4: {region: mark-region}}}", 2),
        (
            "prometheus: {fallbackUrls: ['http://mark-one:9091/path', 'http://mark-{{ .Release.Namespace }}.svc:9090']}",
            2,
        ),
        (
            "rbac: {useAuthReaderClusterRole: true}\nservice: {port: 8443, ipDualStack: {enabled: true}}",
            2,
        ),
    ];
    for (values, registered) in cases {
        let Some(rendered) = helm("loadline", values) else {
            return;
        };
        rendered.check();
        assert_eq!(rendered.of("APIService").count(), registered, "{values}");
        for mark in values.match_indices("mark-").map(|(at, _)| at) {
            let word = values.get(at_most(mark, values)).expect("within the text");
            assert!(rendered.text.contains(word), "{word} is nowhere in what is rendered");
        }
    }
}

/// Off by default, and then nothing of it is there.
#[test]
fn rules_of_teams_bring_what_they_need() {
    let Some(rendered) = helm("loadline", "teamRules: {enabled: true}") else {
        return;
    };
    for original in ["metricrules", "clustermetricrules"] {
        let original = yaml(&format!("deploy/crds/{original}.loadline.dev.yaml"));
        let mut found = rendered.of("CustomResourceDefinition");
        let found = found.find(|it| name(it) == name(&original)).expect("the definition");
        assert_eq!(found["spec"], original["spec"]);
        assert_eq!(found["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    }
    let rights = yaml_documents("deploy/components/team-rules/rbac.yaml");
    for role in rights.of("ClusterRole") {
        let mut found = rendered.of("ClusterRole");
        let found = found.find(|it| name(it) == name(role)).expect("the role");
        assert_eq!(found["rules"], role["rules"], "{}", name(role));
        for (label, value) in role["metadata"]["labels"].as_object().into_iter().flatten() {
            assert_eq!(found["metadata"]["labels"][label], *value, "{}", name(role));
        }
    }
    let without = helm("loadline", "").expect("helm is there");
    assert!(!without.text.contains("loadline.dev") && !without.text.contains("--team-rules"));
}

/// A Role in each namespace, and none for the cluster.
#[test]
fn rules_in_config_maps_bring_a_role_for_each_namespace() {
    let values = "rulesFromConfigMaps: {selector: 'a in (b,c)', namespaces: [shop, bank]}";
    let Some(rendered) = helm("loadline", values) else {
        return;
    };
    rendered.check();
    assert!(rendered.text.contains("\"--config-selector=a in (b,c)\""), "{}", rendered.text);
    assert!(rendered.text.contains("--config-namespaces=shop,bank"));
    assert_eq!(rendered.of("APIService").count(), 3);
    let component = yaml_documents("deploy/components/rules-in-configmaps/rbac.yaml");
    let rules = &component.of("Role").next().expect("the role")["rules"];
    for namespace in ["shop", "bank"] {
        for kind in ["Role", "RoleBinding"] {
            let is_it = |it: &&Value| {
                name(it) == "loadline-rules" && it["metadata"]["namespace"] == namespace
            };
            let found = rendered.of(kind).find(is_it);
            let found = found.unwrap_or_else(|| panic!("no {kind} in {namespace}"));
            assert!(kind != "Role" || found["rules"] == *rules, "{found}");
        }
    }
    let is_of_config_maps = |role: &Value| role["rules"].to_string().contains("configmaps");
    assert!(!rendered.of("ClusterRole").any(is_of_config_maps));
    let without = helm("loadline", "").expect("helm is there");
    assert!(
        !without.text.contains("--config-selector") && !without.text.contains("loadline-rules")
    );
}

fn yaml_documents(path: &str) -> Documents {
    Documents::parse(path, &fs::read_to_string(file(path)).expect("a file"))
}

/// What `helm test` creates is no part of the release, and its rights go with it.
#[test]
fn an_installation_is_tested_by_hooks() {
    let hooks = |values: &str| {
        let rendered = helm("loadline", values)?;
        let annotation = |document: &Value, key: &str| {
            document["metadata"]["annotations"][format!("helm.sh/{key}")]
                .as_str()
                .map(str::to_owned)
        };
        let hooks = rendered.list.iter().filter(|it| annotation(it, "hook").is_some());
        let hooks = hooks.map(|document| {
            assert_eq!(annotation(document, "hook").as_deref(), Some("test"));
            let weight = annotation(document, "hook-weight").and_then(|it| it.parse::<i32>().ok());
            let policy = annotation(document, "hook-delete-policy").unwrap_or_default();
            assert!(policy.starts_with("before-hook-creation"), "{policy}");
            let is_deleted = policy.contains("hook-succeeded");
            (text(&document["kind"]).to_owned(), weight.expect("a weight"), is_deleted)
        });
        let mut hooks: Vec<_> = hooks.collect();
        hooks.sort();
        Some(hooks)
    };
    let Some(all) = hooks("") else {
        return;
    };
    let hook = |kind: &str, weight, is_deleted| (kind.to_owned(), weight, is_deleted);
    // The pod is kept for its log.
    let pod = hook("Pod", 1, false);
    let rights = ["ClusterRole", "ClusterRoleBinding"].map(|kind| hook(kind, 0, true));
    assert_eq!(all, [&rights[..], std::slice::from_ref(&pod)].concat());
    assert_eq!(hooks("rbac: {create: false}"), Some(vec![pod]));
}

/// Values of prometheus-adapter's chart may ask for more memory than we would allow.
#[test]
fn memory_is_limited_unless_the_values_say_how_much_they_want() {
    let default = json!({"cpu": "50m", "memory": "64Mi"});
    for (values, wanted) in [
        ("", json!({"requests": default, "limits": {"memory": "512Mi"}})),
        (
            "resources: {requests: {cpu: 50m, memory: 1Gi}}",
            json!({"requests": {"cpu": "50m", "memory": "1Gi"}}),
        ),
        ("resources: {limits: {cpu: 1}}", json!({"requests": default, "limits": {"cpu": 1}})),
        (
            "resources: {limits: {memory: 256Mi}}",
            json!({"requests": default, "limits": {"memory": "256Mi"}}),
        ),
        ("resources: null", Value::Null),
    ] {
        let Some(rendered) = helm("loadline", values) else {
            return;
        };
        let deployment = rendered.of("Deployment").next().expect("a Deployment");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["resources"], wanted, "{values}");
    }
}

#[test]
fn the_chart_is_monitored_whatever_the_certificate() {
    let monitored = "metrics: {serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}, dashboards: {enabled: true}}";
    for tls in [
        "",
        "tls: {enable: true, ca: authority, certificate: pair, key: secret}",
        "tls: {selfManaged: true}",
        "certManager: {enabled: true}",
        "rbac: {create: false}",
    ] {
        let Some(rendered) = helm("a-release", &format!("{monitored}\n{tls}")) else {
            return;
        };
        rendered.check();
        let rules = rendered.of("PrometheusRule").next().expect("the alerts");
        let original = yaml("deploy/monitoring/prometheus-rule.yaml");
        assert_eq!(rules["spec"], original["spec"]);
        let dashboard = rendered.of("ConfigMap").find_map(|map| map["data"].get("loadline.json"));
        let original = fs::read_to_string(file("deploy/monitoring/loadline.json")).expect("a file");
        assert_eq!(dashboard.map(|shown| text(shown).trim()), Some(original.trim()));
        assert_eq!(rendered.of("ServiceMonitor").count(), 1, "{tls}");
    }
}

#[test]
fn a_release_of_the_prometheus_adapter_chart_is_upgraded_in_place() {
    let values = "nameOverride: prometheus-adapter";
    let Some(rendered) = helm("prometheus-adapter", values) else {
        return;
    };
    rendered.check();
    // What cannot be changed in an object has to be what that chart says.
    let deployment = rendered.of("Deployment").next().expect("a Deployment");
    assert_eq!(name(deployment), "prometheus-adapter");
    let labels = json!({
        "app.kubernetes.io/name": "prometheus-adapter", "app.kubernetes.io/instance": "prometheus-adapter",
    });
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], labels);
    let referred: BTreeMap<_, _> = ["ClusterRoleBinding", "RoleBinding"]
        .iter()
        .flat_map(|kind| rendered.of(kind))
        .map(|binding| (name(binding), text(&binding["roleRef"]["name"])))
        .collect();
    let expected = BTreeMap::from([
        ("prometheus-adapter-auth-reader", "extension-apiserver-authentication-reader"),
        ("prometheus-adapter-check", "prometheus-adapter-check"),
        ("prometheus-adapter-hpa-controller", "prometheus-adapter-server-resources"),
        ("prometheus-adapter-resource-reader", "prometheus-adapter-resource-reader"),
        ("prometheus-adapter-system-auth-delegator", "system:auth-delegator"),
    ]);
    assert_eq!(referred, expected);
}

#[test]
fn the_chart_refuses_what_cannot_be_meant() {
    let cases = [
        ("prometheus: {uri: x}", "uri"),
        ("prometheus: {auth: {sigv4: {}, google: {}}}", "auth"),
        ("rules: {custom: [{query: x}]}", "seriesQuery"),
        ("metricsRelistInterval: soon", "metricsRelistInterval"),
        ("tls: {enable: true}", "tls.enable needs tls."),
        ("tls: {selfManaged: true}\ncertManager: {enabled: true}", "one source"),
        (
            "image: {repository: registry.k8s.io/prometheus-adapter/prometheus-adapter}",
            "image.repository",
        ),
    ];
    for (values, message) in cases {
        let Some((is_success, output)) = run_helm(&file(CHART), "loadline", values) else {
            return;
        };
        assert!(!is_success && output.contains(message), "{values}: {output}");
    }
}

/// What the chart renders of values; nothing where helm is missing.
fn helm(release: &str, values: &str) -> Option<Documents> {
    let (is_success, output) = run_helm(&file(CHART), release, values)?;
    assert!(is_success, "{values}: {output}");
    Some(Documents::parse(&format!("helm with {values:?}"), &output))
}

/// Whether a chart is rendered with values, and the documents or the error; nothing where helm is missing.
pub(super) fn run_helm(chart: &Path, release: &str, values: &str) -> Option<(bool, String)> {
    let mut values_file = tempfile::NamedTempFile::new().expect("a temporary file");
    values_file.write_all(values.as_bytes()).expect("a written file");
    let output = Command::new("helm")
        .args(["template", release, "--namespace=metrics"])
        .arg(chart)
        .arg("--values")
        .arg(values_file.path())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            Some((true, String::from_utf8(output.stdout).expect("text")))
        }
        Ok(output) => Some((false, String::from_utf8_lossy(&output.stderr).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: `helm` is not on the PATH");
            None
        }
        Err(error) => panic!("`helm` does not start: {error}"),
    }
}

/// The word of letters, digits and dashes that begins at a position.
fn at_most(start: usize, text: &str) -> std::ops::Range<usize> {
    let rest = text.get(start..).unwrap_or_default();
    let length = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
    start..start + length.unwrap_or(rest.len())
}
