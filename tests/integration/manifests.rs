//! The files that install loadline: every document is what Kubernetes knows, and what they say of each other is true.
//!
//! `kubectl` has to be on the `PATH`; the chart is tested where `helm` is, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use loadline::{core::rules, wire::discovery};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

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
extraVolumeMounts: [{name: mark-volume, mountPath: /mark-mount}]
startupProbe: {httpGet: {path: /mark-startup, port: https, scheme: HTTPS}}
podDisruptionBudget: {enabled: true, minAvailable: 2, unhealthyPodEvictionPolicy: AlwaysAllow}
networkPolicy: {enabled: true, extraEgress: [{ports: [{port: 8080, protocol: TCP}]}]}
rbac:
  extraRules: [{apiGroups: [apps], resources: [mark-kind], verbs: [list]}]
  customMetrics: {resources: [mark-custom-resource]}
extraManifests:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: 'mark-{{ .Release.Name }}'}
"#;

#[test]
fn the_base_and_every_overlay_are_sound() {
    let mut folders = vec![file("deploy/base")];
    let overlays = fs::read_dir(file("deploy/overlays")).expect("the folder of overlays");
    folders.extend(overlays.map(|entry| entry.expect("an entry").path()));
    assert!(folders.len() > 3, "{folders:?}");
    for folder in folders {
        kustomize(&folder).check();
    }
}

#[test]
fn components_can_be_combined() {
    let text = "\
        resources: [../base]\n\
        components: [../components/more-kinds, ../components/external-metrics, \
        ../components/resource-metrics, ../components/self-managed-certificates]\n";
    let copy = tempfile::tempdir().expect("a temporary folder");
    let status = Command::new("cp").arg("-r").arg(file("deploy")).arg(copy.path()).status();
    assert!(status.expect("cp").success());
    let folder = copy.path().join("deploy/all");
    fs::create_dir(&folder).expect("a new folder");
    fs::write(folder.join("kustomization.yaml"), text).expect("a new file");
    let documents = kustomize(&folder);
    documents.check();
    assert_eq!(documents.of("APIService").count(), 5);
}

#[test]
fn registered_is_what_is_served() {
    let versions = |group: discovery::Group| {
        group.versions.iter().map(move |version| format!("{version}.{}", group.name))
    };
    let expected: BTreeSet<_> =
        [discovery::CUSTOM, discovery::EXTERNAL].into_iter().flat_map(versions).collect();
    let read = |path: &str| {
        let text = fs::read_to_string(file(path)).expect("the file");
        Documents::parse(path, &text)
    };
    let top = read("apiservice.yaml");
    let names: BTreeSet<_> = top.list.iter().map(|document| name(document).to_owned()).collect();
    assert_eq!(names, expected);
    let (custom, external) = (
        read("deploy/base/apiservice.yaml").list,
        read("deploy/components/external-metrics/apiservice.yaml").list,
    );
    assert_eq!(top.list, [&custom[..], &external[..]].concat());
    let base = kustomize(&file("deploy/base"));
    assert!(base.of("APIService").eq(custom.iter()), "the labels of all objects are these, too");
    // metrics.k8s.io is that of metrics-server, until somebody decides otherwise.
    let resource = read("deploy/components/resource-metrics/apiservice.yaml").list;
    let names: BTreeSet<_> = resource.iter().map(|document| name(document).to_owned()).collect();
    assert_eq!(names, versions(discovery::RESOURCE).collect());
    // The version that discovery prefers is the one that kube-apiserver prefers.
    for (group, documents) in [(discovery::CUSTOM, &custom), (discovery::RESOURCE, &resource)] {
        let preferred =
            documents.iter().max_by_key(|document| document["spec"]["versionPriority"].as_i64());
        let preferred = preferred.map(|document| &document["spec"]["version"]);
        assert_eq!(preferred, group.versions.first().map(|first| json!(first)).as_ref());
    }
}

#[test]
fn the_arguments_of_the_prometheus_adapter_chart_are_taken() {
    assert_arguments_are_taken(&[
        "/adapter",
        "--secure-port=6443",
        "--tls-cert-file=/var/run/serving-cert/tls.crt",
        "--tls-private-key-file=/var/run/serving-cert/tls.key",
        "--cert-dir=/tmp/cert",
        "--prometheus-url=http://prometheus.default.svc:9090",
        "--metrics-relist-interval=1m",
        "--v=4",
        "--config=/etc/adapter/config.yaml",
    ]);
}

#[test]
fn versions_agree() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = yaml("deploy/helm/loadline/Chart.yaml");
    assert_eq!(chart["appVersion"], version);
    let base = yaml("deploy/base/kustomization.yaml");
    assert_eq!(base["images"][0]["newTag"], version);
    let read = |path| fs::read_to_string(file(path)).expect("the file");
    let (dockerfile, toolchain) = (read("deploy/Dockerfile"), read("rust-toolchain.toml"));
    let rust = dockerfile.lines().find_map(|line| line.strip_prefix("ARG RUST_VERSION="));
    let rust = rust.expect("the version of Rust");
    assert!(toolchain.contains(&format!("channel = \"{rust}\"")), "{rust}");
}

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
        ("rules: {custom: [{query: x}]}", "seriesQuery"),
        ("metricsRelistInterval: soon", "metricsRelistInterval"),
        ("tls: {enable: true}", "tls.enable needs tls."),
        ("tls: {selfManaged: true}\ncertManager: {enabled: true}", "one place"),
        (
            "image: {repository: registry.k8s.io/prometheus-adapter/prometheus-adapter}",
            "image.repository",
        ),
    ];
    for (values, message) in cases {
        let Some((is_success, output)) = run_helm("loadline", values) else {
            return;
        };
        assert!(!is_success && output.contains(message), "{values}: {output}");
    }
}

/// The documents of an install.
struct Documents {
    from: String,
    text: String,
    list: Vec<Value>,
}

impl Documents {
    fn parse(from: &str, text: &str) -> Self {
        let list =
            serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{from}: {error}"));
        Self { from: from.to_owned(), text: text.to_owned(), list }
    }

    fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.list.iter().filter(move |document| document["kind"] == *kind)
    }

    /// Whether there is an object.
    fn has(&self, kind: &str, namespace: &Value, name: &Value) -> bool {
        self.of(kind).any(|document| {
            let metadata = &document["metadata"];
            metadata["namespace"] == *namespace && metadata["name"] == *name
        })
    }

    /// Everything that can be said without a cluster.
    fn check(&self) {
        let mut seen = BTreeSet::new();
        for document in &self.list {
            assert_known(&self.from, document);
            let metadata = &document["metadata"];
            let identity =
                json!([document["kind"], metadata["namespace"], metadata["name"]]).to_string();
            assert!(seen.insert(identity.clone()), "{}: {identity} twice", self.from);
        }
        let deployment = self.of("Deployment").next().expect("a Deployment");
        self.check_pods(deployment);
        self.check_selectors(deployment);
        self.check_access();
        self.check_registrations(deployment);
        for map in self.of("ConfigMap").filter(|map| map["data"].get("config.yaml").is_some()) {
            let rules = rules::load(text(&map["data"]["config.yaml"]));
            let rules = rules.unwrap_or_else(|problems| panic!("{}: {problems:?}", self.from));
            assert_eq!(rules.broken, [], "{}", self.from);
        }
    }

    fn check_pods(&self, deployment: &Value) {
        let from = &self.from;
        let namespace = &deployment["metadata"]["namespace"];
        let pods = &deployment["spec"]["template"]["spec"];
        let container = &pods["containers"][0];
        assert!(pods["terminationGracePeriodSeconds"].as_i64() > Some(5 + 30), "{from}");

        let account = &pods["serviceAccountName"];
        assert!(
            account == "mine" || self.has("ServiceAccount", namespace, account),
            "{from}: {account}"
        );

        let volumes: BTreeSet<_> =
            list(&pods["volumes"]).map(|volume| text(&volume["name"])).collect();
        for mount in list(&container["volumeMounts"]) {
            assert!(volumes.contains(text(&mount["name"])), "{from}: {mount}");
        }
        for volume in list(&pods["volumes"]) {
            if let Some(map) = volume.pointer("/configMap/name") {
                assert!(
                    map == "my-rules" || self.has("ConfigMap", namespace, map),
                    "{from}: {map}"
                );
            }
            if let Some(secret) = volume.pointer("/secret/secretName") {
                let is_issued =
                    self.of("Certificate").any(|made| made["spec"]["secretName"] == *secret);
                assert!(is_issued || self.has("Secret", namespace, secret), "{from}: {secret}");
            }
        }

        let arguments: Vec<_> = list(&container["args"]).map(text).collect();
        assert_arguments_are_taken(&arguments);
        let port = &container["ports"][0];
        assert!(
            arguments.contains(&format!("--secure-port={}", port["containerPort"]).as_str()),
            "{from}"
        );
        for probe in ["livenessProbe", "readinessProbe"] {
            let get = &container[probe]["httpGet"];
            assert_eq!((&get["port"], &get["scheme"]), (&port["name"], &json!("HTTPS")), "{from}");
        }

        // The restricted pod security standard, and a root that nothing writes to.
        let secured = |key: &str| {
            let own = container["securityContext"].get(key);
            own.or_else(|| pods["securityContext"].get(key)).cloned().unwrap_or_default()
        };
        assert_eq!(secured("runAsNonRoot"), true, "{from}");
        assert_eq!(secured("readOnlyRootFilesystem"), true, "{from}");
        assert_eq!(secured("allowPrivilegeEscalation"), false, "{from}");
        assert_eq!(secured("capabilities"), json!({"drop": ["ALL"]}), "{from}");
        assert_eq!(secured("seccompProfile"), json!({"type": "RuntimeDefault"}), "{from}");
        assert!(container["resources"]["requests"]["memory"].is_string(), "{from}");
    }

    /// Everything that selects pods selects ours.
    fn check_selectors(&self, deployment: &Value) {
        let pods = &deployment["spec"]["template"];
        let labels = &pods["metadata"]["labels"];
        let mut selectors = vec![&deployment["spec"]["selector"]["matchLabels"]];
        selectors.extend(self.of("Service").map(|service| &service["spec"]["selector"]));
        selectors.extend(
            self.of("PodDisruptionBudget").map(|budget| &budget["spec"]["selector"]["matchLabels"]),
        );
        selectors.extend(
            self.of("NetworkPolicy").map(|policy| &policy["spec"]["podSelector"]["matchLabels"]),
        );
        let spread = list(&pods["spec"]["topologySpreadConstraints"]);
        selectors.extend(spread.filter_map(|spread| spread.pointer("/labelSelector/matchLabels")));
        for selector in selectors {
            let is_ours = selector.as_object().is_some_and(|selector| !selector.is_empty());
            assert!(is_ours && is_within(selector, labels), "{}: {selector}", self.from);
        }
        let port = &pods["spec"]["containers"][0]["ports"][0];
        for service in self.of("Service") {
            let target = &service["spec"]["ports"][0]["targetPort"];
            assert!(
                [&port["name"], &port["containerPort"]].contains(&target),
                "{}: {target}",
                self.from
            );
        }
        for policy in self.of("NetworkPolicy") {
            let open = &policy["spec"]["ingress"][0]["ports"][0]["port"];
            assert_eq!(open, &port["containerPort"], "{}", self.from);
        }
    }

    /// Every binding is of a role that there is, to somebody who is there.
    fn check_access(&self) {
        for binding in ["ClusterRoleBinding", "RoleBinding"].iter().flat_map(|kind| self.of(kind)) {
            let from = format!("{}: {}", self.from, name(binding));
            let role = &binding["roleRef"];
            let namespace = match text(&role["kind"]) {
                "ClusterRole" => &Value::Null,
                _ => &binding["metadata"]["namespace"],
            };
            let is_builtin = match text(&role["name"]) {
                "system:auth-delegator" => true,
                "extension-apiserver-authentication-reader" => {
                    role["kind"] == "ClusterRole" || *namespace == "kube-system"
                }
                _ => false,
            };
            assert!(
                is_builtin || self.has(text(&role["kind"]), namespace, &role["name"]),
                "{from}"
            );
            for subject in list(&binding["subjects"]) {
                let (namespace, name) = (&subject["namespace"], &subject["name"]);
                let is_autoscaler =
                    namespace == "kube-system" && name == "horizontal-pod-autoscaler";
                assert!(
                    is_autoscaler || self.has("ServiceAccount", namespace, name),
                    "{from}: {subject}"
                );
            }
        }
    }

    /// Every APIService leads to our Service, and is told once whom to trust.
    fn check_registrations(&self, deployment: &Value) {
        let service = self.of("Service").next().expect("a Service");
        let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
        let is_managed = list(arguments).any(|argument| argument == "--manage-apiservice");
        for registration in self.of("APIService") {
            let from = format!("{}: {}", self.from, name(registration));
            let spec = &registration["spec"];
            assert_eq!(
                name(registration),
                format!("{}.{}", text(&spec["version"]), text(&spec["group"])),
                "{from}"
            );
            if spec["group"] == discovery::CUSTOM.name {
                let version = text(&spec["version"]);
                assert!(discovery::CUSTOM.versions.contains(&version), "{from}");
            }
            let expected = json!({
                "namespace": service["metadata"]["namespace"],
                "name": service["metadata"]["name"],
                "port": service["spec"]["ports"][0]["port"],
            });
            assert_eq!(spec["service"], expected, "{from}");

            let injected =
                registration.pointer("/metadata/annotations/cert-manager.io~1inject-ca-from");
            if let Some(source) = injected {
                let (namespace, name) = text(source).split_once('/').expect("namespace/name");
                assert!(
                    self.has("Certificate", &json!(namespace), &json!(name)),
                    "{from}: {source}"
                );
            }
            let ways = [
                spec.get("insecureSkipTLSVerify").is_some(),
                spec.get("caBundle").is_some(),
                injected.is_some(),
                is_managed,
            ];
            assert_eq!(ways.iter().filter(|is_taken| **is_taken).count(), 1, "{from}: {ways:?}");
        }
        for certificate in
            self.of("Certificate").filter(|made| made["spec"].get("dnsNames").is_some())
        {
            let host = format!("{}.{}.svc", name(service), text(&service["metadata"]["namespace"]));
            assert!(
                list(&certificate["spec"]["dnsNames"]).any(|name| *name == host),
                "{}: {host}",
                self.from
            );
        }
    }
}

/// Refuses a document of an unknown kind, and one with a field that its kind does not have.
fn assert_known(from: &str, document: &Value) {
    let read = match (text(&document["apiVersion"]), text(&document["kind"])) {
        ("v1", "ConfigMap") => reread::<ConfigMap>(document),
        ("v1", "Secret") => reread::<Secret>(document),
        ("v1", "Service") => reread::<Service>(document),
        ("v1", "ServiceAccount") => reread::<ServiceAccount>(document),
        ("apps/v1", "Deployment") => reread::<Deployment>(document),
        ("policy/v1", "PodDisruptionBudget") => reread::<PodDisruptionBudget>(document),
        ("networking.k8s.io/v1", "NetworkPolicy") => reread::<NetworkPolicy>(document),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => reread::<ClusterRole>(document),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => {
            reread::<ClusterRoleBinding>(document)
        }
        ("rbac.authorization.k8s.io/v1", "Role") => reread::<Role>(document),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => reread::<RoleBinding>(document),
        ("apiregistration.k8s.io/v1", "APIService") => reread::<APIService>(document),
        // k8s-openapi does not know them.
        ("cert-manager.io/v1", "Issuer") => Ok(only(document, &["ca", "selfSigned"])),
        ("cert-manager.io/v1", "Certificate") => Ok(only(
            document,
            &[
                "commonName",
                "dnsNames",
                "duration",
                "isCA",
                "issuerRef",
                "privateKey",
                "revisionHistoryLimit",
                "secretName",
                "usages",
            ],
        )),
        other => panic!("{from}: {other:?} is not expected"),
    };
    match read {
        Ok(read) => assert!(
            is_within(document, &read),
            "{from}: unknown fields\nwritten: {document}\nknown:   {read}"
        ),
        Err(error) => panic!("{from}: {error}: {document}"),
    }
}

fn reread<T: DeserializeOwned + Serialize>(document: &Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(T::deserialize(document)?)
}

/// A document with nothing in its `spec` but these keys.
fn only(document: &Value, keys: &[&str]) -> Value {
    let spec = document["spec"].as_object().into_iter().flatten();
    let known: serde_json::Map<_, _> = spec
        .filter(|(key, _)| keys.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut document = document.clone();
    document["spec"] = known.into();
    document
}

/// Whether all that is written is also in what was read.
fn is_within(written: &Value, read: &Value) -> bool {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => written
            .iter()
            .all(|(key, value)| read.get(key).is_some_and(|read| is_within(value, read))),
        (Value::Array(written), Value::Array(read)) => {
            written.len() == read.len()
                && written.iter().zip(read).all(|(written, read)| is_within(written, read))
        }
        (written, read) => written == read,
    }
}

/// Runs our binary with arguments and a rules file that is not there: no usage error may be found before that.
fn assert_arguments_are_taken(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_loadline"))
        .args(arguments)
        .arg("--config=/nonexistent/rules.yaml")
        .output()
        .expect("our own binary");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1) && message.contains("/nonexistent/rules.yaml"),
        "{arguments:?}: {:?}: {message}",
        output.status
    );
}

fn kustomize(folder: &Path) -> Documents {
    let from = folder.display().to_string();
    let output = Command::new("kubectl").arg("kustomize").arg(folder).output();
    let output = output.unwrap_or_else(|error| match error.kind() {
        ErrorKind::NotFound => panic!("`kubectl` is missing on the PATH"),
        _ => panic!("`kubectl` does not start: {error}"),
    });
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && message.is_empty(), "{from}: {message}");
    Documents::parse(&from, &String::from_utf8(output.stdout).expect("text"))
}

/// What the chart renders of values; nothing where helm is missing.
fn helm(release: &str, values: &str) -> Option<Documents> {
    let (is_success, output) = run_helm(release, values)?;
    assert!(is_success, "{values}: {output}");
    Some(Documents::parse(&format!("helm with {values:?}"), &output))
}

fn run_helm(release: &str, values: &str) -> Option<(bool, String)> {
    let mut values_file = tempfile::NamedTempFile::new().expect("a temporary file");
    values_file.write_all(values.as_bytes()).expect("a written file");
    let output = Command::new("helm")
        .args(["template", release, "--namespace=metrics"])
        .arg(file("deploy/helm/loadline"))
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

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(file(path)).expect("the file");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn name(document: &Value) -> &str {
    text(&document["metadata"]["name"])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
