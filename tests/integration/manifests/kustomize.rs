//! The base, its components and the overlays.

use std::{fs, io::ErrorKind, path::Path, process::Command};

use serde_json::Value;

use super::{documents::Documents, file};

#[test]
fn the_base_and_every_overlay_are_sound() {
    let mut folders = vec![file("deploy/base")];
    let overlays = fs::read_dir(file("deploy/overlays")).expect("the folder of overlays");
    folders.extend(overlays.map(|entry| entry.expect("an entry").path()));
    assert!(folders.len() > 2, "{folders:?}");
    for folder in folders {
        let documents = kustomize(&folder);
        documents.check();
        let is_unverified =
            |registration: &Value| registration["spec"].get("insecureSkipTLSVerify").is_some();
        assert!(!documents.of("APIService").any(is_unverified), "{}", folder.display());
    }
}

/// What the last of these kustomizations makes, each in a folder beside the base by its name.
fn made(kustomizations: &[(&str, &str)]) -> Documents {
    let copy = tempfile::tempdir().expect("a temporary folder");
    let status = Command::new("cp").arg("-r").arg(file("deploy")).arg(copy.path()).status();
    assert!(status.expect("cp").success());
    let mut last = copy.path().join("deploy/base");
    for (name, text) in kustomizations {
        last = copy.path().join("deploy").join(name);
        fs::create_dir(&last).expect("a new folder");
        fs::write(last.join("kustomization.yaml"), text).expect("a new file");
    }
    let documents = kustomize(&last);
    documents.check();
    documents
}

#[test]
fn an_installation_is_checked_as_it_was_changed() {
    let changed = "resources: [../base]
components: [../components/cert-manager]
images: [{name: loadline, newName: registry.example.com/loadline}]
patches:
- target: {kind: Deployment, name: loadline}
  patch: |
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: --prometheus-url=http://mine}
";
    let check = "resources: [../changed]\ncomponents: [../components/check]\n";
    let documents = made(&[("changed", changed), ("check", check)]);
    let job = documents.of("Job").next().expect("a Job");
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    let last = container["args"].as_array().and_then(|arguments| arguments.last());
    assert_eq!(last.and_then(Value::as_str), Some("--prometheus-url=http://mine"));
    let image = concat!("registry.example.com/loadline:", env!("CARGO_PKG_VERSION"));
    assert_eq!(container["image"], image);
}

#[test]
fn components_can_be_combined() {
    let combined = |name: &str, components: &str| {
        let text = format!("resources: [../base]\ncomponents: [{components}]\n");
        made(&[(name, &text)])
    };
    let all = combined(
        "all",
        "../components/more-kinds, ../components/external-metrics, ../components/resource-metrics, ../monitoring, \
        ../components/network-policy",
    );
    assert_eq!(all.of("APIService").count(), 5);
    let teams = combined("teams", "../components/team-rules, ../components/external-metrics");
    assert_eq!(teams.of("CustomResourceDefinition").count(), 2);
    let deployment = teams.of("Deployment").next().expect("a Deployment");
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    assert!(arguments.as_array().expect("arguments").iter().any(|it| it == "--team-rules"));
    let in_config_maps = combined("config-maps", "../components/rules-in-configmaps");
    let deployment = in_config_maps.of("Deployment").next().expect("a Deployment");
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    assert!(arguments.to_string().contains("--config-selector=loadline.dev/rules=true"));
    for components in ["../monitoring", "../monitoring, ../components/cert-manager"] {
        let monitored = combined("monitored", components);
        for kind in ["ServiceMonitor", "PrometheusRule"] {
            assert_eq!(monitored.of(kind).count(), 1, "{components}: {kind}");
        }
        let labels = monitored.of("ConfigMap").map(|map| &map["metadata"]["labels"]);
        assert_eq!(labels.filter(|labels| labels["grafana_dashboard"] == "1").count(), 1);
    }
}

pub(super) fn kustomize(folder: &Path) -> Documents {
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
