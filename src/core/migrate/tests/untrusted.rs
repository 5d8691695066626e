//! Manifests are texts of others: they inject nothing, and their secrets are not repeated.

use serde_json::json;

use super::*;
use crate::core::key_path::KeyPath;

#[test]
fn a_comment_is_one_line_for_every_parser() {
    for end in ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}', '\u{feff}'] {
        let note = Note {
            level: Level::Note,
            object: "Kind name".to_owned(),
            path: KeyPath::default(),
            text: format!("a{end}kind: b"),
        };
        let migration = Migration { notes: vec![note], ..Migration::default() };
        let printed = migration.autoscalers_yaml();
        assert_eq!(printed, "# note: Kind name: a kind: b\n", "{end:?}");
    }
}

/// A trigger with the token of a Secret.
fn with_token(namespace: &str, name: &str, key: &str) -> Migration {
    let metadata = |name: &str| json!({"name": name, "namespace": namespace});
    let object = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata("worker"),
        "spec": {"scaleTargetRef": {"name": "worker"}, "triggers": [{
            "type": "prometheus",
            "metadata": {
                "serverAddress": "https://host", "query": "up", "threshold": "1", "authModes": "bearer",
            },
            "authenticationRef": {"name": "creds"},
        }]},
    });
    let authentication = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "TriggerAuthentication",
        "metadata": metadata("creds"),
        "spec": {"secretTargetRef": [{"parameter": "bearerToken", "name": name, "key": key}]},
    });
    keda(vec![object, authentication], &Settings::default())
}

#[test]
fn what_is_no_name_of_a_secret_is_part_of_no_path() {
    let long = "a".repeat(254);
    let long = long.as_str();
    let names =
        ["../a", "a/b", "A", "-a", "a.", "a b", "a\nkind: b", "a\u{2028}b", "a\u{85}b", long];
    let keys = [".", "..", "../a", "..data", "a/b", "a b", "a\nkind: b", "a\u{2029}b", long];
    let names = names.map(|name| ("ide", name, "token", "spec.secretTargetRef[0].name"));
    let keys = keys.map(|key| ("ide", "creds", key, "spec.secretTargetRef[0].key"));
    let namespaces = ["a/../b", "a\u{2028}b"];
    let namespaces = namespaces.map(|it| (it, "creds", "token", "spec.secretTargetRef"));
    for (namespace, name, key, path) in names.into_iter().chain(keys).chain(namespaces) {
        let migration = with_token(namespace, name, key);
        let said = said(&migration);
        assert!(said.contains(&(Level::Cannot, path.to_owned())), "{name:?} {key:?}: {said:?}");
        assert_eq!(
            rules_file(&migration)["backends"][0].get("tokenFile"),
            None,
            "{name:?} {key:?}"
        );
        for note in migration.notes() {
            let note = note.to_string();
            assert!(!note.contains(['\n', '\u{85}', '\u{2028}', '\u{2029}']), "{note:?}");
        }
    }
    for (name, key) in [("a", ".dockerconfigjson"), ("a.b-c.9", "Token_1.txt-x")] {
        let migration = with_token("ide", name, key);
        assert!(migration.is_whole(), "{:#?}", migration.notes());
        let file = format!("/etc/loadline/{name}/{key}");
        assert_eq!(rules_file(&migration)["backends"][0]["tokenFile"], file);
    }
}

#[test]
fn a_password_in_a_url_is_not_printed() {
    let triggers = ["user:hunter2", "user:hunter3", ":hunter4"].map(|user| {
        let address = format!("https://{user}@host:9090/prometheus");
        let metadata = json!({"serverAddress": address, "query": "up", "threshold": "1"});
        json!({"type": "prometheus", "metadata": metadata})
    });
    let object = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "worker"},
        "spec": {"scaleTargetRef": {"name": "worker"}, "triggers": triggers},
    });
    let annotation = "metric-config.external.events.prometheus/prometheus-server";
    let annotated = format!("metadata.annotations.{annotation}");
    let of_adapter = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "annotations": {
            "metric-config.external.events.prometheus/query": "up",
            annotation: "https://user:hunter2@host:9090/prometheus",
        }},
        "spec": {"maxReplicas": 2, "metrics": [{"type": "External", "external": {
            "metric": {"name": "events"}, "target": {"type": "Value", "value": "1"},
        }}]},
    });
    let main = Some(Url::parse("https://user:hunter2@host:9090/prometheus").unwrap());
    let main = Settings { prometheus: main, ..Settings::default() };
    let others = Settings::default();
    // Servers with other passwords stay apart, and that of the flags is no backend.
    let cases = [
        (keda(vec![object.clone()], &others), 3, "spec.triggers[0].metadata.serverAddress"),
        (keda(vec![object], &main), 2, "spec.triggers[1].metadata.serverAddress"),
        (kube_metrics_adapter(vec![of_adapter.clone()], &others), 1, annotated.as_str()),
    ];
    for (migration, count, path) in cases {
        let said = said(&migration);
        let cannot = said.iter().filter(|(level, _)| *level == Level::Cannot);
        assert_eq!(cannot.count(), count, "{said:?}");
        assert!(said.contains(&(Level::Cannot, path.to_owned())), "{said:?}");
        let file = rules_file(&migration);
        let backends = file["backends"].as_array().unwrap();
        assert_eq!(backends.len(), count);
        for backend in backends {
            assert_eq!(backend["url"], "https://host:9090/prometheus");
        }
        assert!(!migration.manifests_yaml().contains("hunter"));
        assert!(migration.notes().iter().all(|note| !note.text.contains("hunter")));
    }
    assert!(kube_metrics_adapter(vec![of_adapter], &main).is_whole());
}
