//! What can be said of an install without a cluster.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        batch::v1::Job,
        core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use loadline::{core::rules, wire::discovery};
use serde_json::{Value, json};

use super::{assert_arguments_are_taken, assert_check_takes, list, name, text};
use crate::support::schema::{is_within, reread};

/// The documents of an install.
pub(super) struct Documents {
    pub(super) from: String,
    pub(super) text: String,
    pub(super) list: Vec<Value>,
}

impl Documents {
    pub(super) fn parse(from: &str, text: &str) -> Self {
        let list =
            serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{from}: {error}"));
        Self { from: from.to_owned(), text: text.to_owned(), list }
    }

    pub(super) fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.list.iter().filter(move |document| document["kind"] == *kind)
    }

    /// Whether there is an object.
    pub(super) fn has(&self, kind: &str, namespace: &Value, name: &Value) -> bool {
        self.of(kind).any(|document| {
            let metadata = &document["metadata"];
            metadata["namespace"] == *namespace && metadata["name"] == *name
        })
    }

    /// Everything that can be said without a cluster.
    pub(super) fn check(&self) {
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
        self.check_checks(deployment);
        self.check_access();
        self.check_registrations(deployment);
        self.check_monitors();
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
                let is_there = is_issued || self.has("Secret", namespace, secret);
                assert!(secret == "mark.credentials" || is_there, "{from}: {secret}");
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

        assert_restricted(from, pods);
    }

    /// A pod that checks the installation has what the server has, and is not taken for it.
    fn check_checks(&self, deployment: &Value) {
        let server = &deployment["spec"]["template"]["spec"];
        let pods = self.of("Pod").chain(self.of("Job").map(|job| &job["spec"]["template"]));
        for pod in pods {
            let (from, spec) = (&self.from, &pod["spec"]);
            let (container, of_server) = (&spec["containers"][0], &server["containers"][0]);
            for key in ["image", "volumeMounts"] {
                assert_eq!(container[key], of_server[key], "{from}: {key}");
            }
            for key in ["volumes", "serviceAccountName"] {
                assert_eq!(spec[key], server[key], "{from}: {key}");
            }
            let words = list(&container["command"]).chain(list(&container["args"]));
            let words: Vec<_> = words.map(text).filter(|word| *word != "/loadline").collect();
            let (check, arguments) = words.split_at(3);
            assert_eq!(check, ["check", "--live", "--"], "{from}");
            assert!(list(&of_server["args"]).map(text).eq(arguments.iter().copied()), "{from}");
            assert_check_takes(arguments);
            assert_eq!(spec["restartPolicy"], "Never", "{from}");
            assert_restricted(from, spec);

            let labels = &pod["metadata"]["labels"];
            let selectors = self.of("Service").map(|service| &service["spec"]["selector"]);
            let budgets = self.of("PodDisruptionBudget").map(|budget| &budget["spec"]["selector"]);
            let budgets = budgets.map(|selector| &selector["matchLabels"]);
            let own = &deployment["spec"]["selector"]["matchLabels"];
            for selector in selectors.chain(budgets).chain([own]) {
                assert!(!is_within(selector, labels), "{from}: {selector} selects the check");
            }
        }
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
        // Metrics can only be read, and not watched.
        for role in self.of("ClusterRole") {
            let of_metrics = |rule: &&Value| {
                list(&rule["apiGroups"]).any(|group| text(group).ends_with("metrics.k8s.io"))
            };
            for rule in list(&role["rules"]).filter(of_metrics) {
                let is_reading = list(&rule["verbs"]).all(|verb| *verb == "get" || *verb == "list");
                assert!(is_reading, "{}: {}: {rule}", self.from, name(role));
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

/// The restricted pod security standard, and a root that nothing writes to.
fn assert_restricted(from: &str, pod: &Value) {
    let container = &pod["containers"][0];
    let secured = |key: &str| {
        let own = container["securityContext"].get(key);
        own.or_else(|| pod["securityContext"].get(key)).cloned().unwrap_or_default()
    };
    assert_eq!(secured("runAsNonRoot"), true, "{from}");
    assert_eq!(secured("readOnlyRootFilesystem"), true, "{from}");
    assert_eq!(secured("allowPrivilegeEscalation"), false, "{from}");
    assert_eq!(secured("capabilities"), json!({"drop": ["ALL"]}), "{from}");
    assert_eq!(secured("seccompProfile"), json!({"type": "RuntimeDefault"}), "{from}");
    assert!(container["resources"]["requests"]["memory"].is_string(), "{from}");
}

/// Refuses a document of an unknown kind, and one with a field that its kind does not have.
fn assert_known(from: &str, document: &Value) {
    let read = match (text(&document["apiVersion"]), text(&document["kind"])) {
        ("v1", "ConfigMap") => reread::<ConfigMap>(document),
        ("v1", "Secret") => reread::<Secret>(document),
        ("v1", "Service") => reread::<Service>(document),
        ("v1", "ServiceAccount") => reread::<ServiceAccount>(document),
        ("v1", "Pod") => reread::<Pod>(document),
        ("apps/v1", "Deployment") => reread::<Deployment>(document),
        ("batch/v1", "Job") => reread::<Job>(document),
        ("policy/v1", "PodDisruptionBudget") => reread::<PodDisruptionBudget>(document),
        ("networking.k8s.io/v1", "NetworkPolicy") => reread::<NetworkPolicy>(document),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => reread::<ClusterRole>(document),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => {
            reread::<ClusterRoleBinding>(document)
        }
        ("rbac.authorization.k8s.io/v1", "Role") => reread::<Role>(document),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => reread::<RoleBinding>(document),
        ("apiregistration.k8s.io/v1", "APIService") => reread::<APIService>(document),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => {
            reread::<CustomResourceDefinition>(document)
        }
        // k8s-openapi does not know these.
        ("monitoring.coreos.com/v1", "ServiceMonitor") => {
            Ok(only(document, &["endpoints", "selector"]))
        }
        ("monitoring.coreos.com/v1", "PrometheusRule") => Ok(only(document, &["groups"])),
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
