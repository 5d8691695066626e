//! The files that install loadline: every document is what Kubernetes knows, and what they say of each other is true.
//!
//! `kubectl` and `promtool` have to be on the `PATH`; the chart is tested where `helm` is, too.

mod documents;
mod helm;
mod kustomize;
pub(crate) mod monitoring;
mod release;
mod rights;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use documents::Documents;
use kustomize::kustomize;
use loadline::wire::discovery;
use serde_json::{Value, json};

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

/// One that is left behind at a server that does not serve it hurts the whole cluster.
#[test]
fn the_ways_back_name_every_registration() {
    let groups = [discovery::CUSTOM, discovery::EXTERNAL, discovery::RESOURCE];
    for (page, heading) in [
        ("deploy/README.md", "### Back"),
        ("docs/from-prometheus-adapter.md", "## Back"),
        ("docs/install.md", "## Uninstall"),
    ] {
        let text = fs::read_to_string(file(page)).expect("the page");
        let section = text.split_once(&format!("\n{heading}\n")).expect(heading).1;
        let section = section.split("\n## ").next().unwrap_or_default();
        for group in groups {
            for version in group.versions {
                let name = format!("`{version}.{}`", group.name);
                assert!(section.contains(&name), "{page}: {name}");
            }
        }
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
    let plugin = yaml("deploy/krew/loadline.yaml");
    assert_eq!(plugin["spec"]["version"], format!("v{version}"));
    for platform in list(&plugin["spec"]["platforms"]) {
        let address = text(&platform["uri"]);
        assert!(address.contains(&format!("/v{version}/")), "{address}");
    }
    let read = |path| fs::read_to_string(file(path)).expect("the file");
    let (dockerfile, toolchain) = (read("deploy/Dockerfile"), read("rust-toolchain.toml"));
    let rust = dockerfile.lines().find_map(|line| line.strip_prefix("ARG RUST_VERSION="));
    let rust = rust.expect("the version of Rust");
    assert!(toolchain.contains(&format!("channel = \"{rust}\"")), "{rust}");
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

/// The same for the arguments of a server that a check gets.
fn assert_check_takes(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_loadline"))
        .args(["check", "--live", "--"])
        .args(arguments)
        .arg("--config=/nonexistent/rules.yaml")
        .output()
        .expect("our own binary");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2) && message.contains("cannot read /nonexistent/rules.yaml"),
        "{arguments:?}: {:?}: {message}",
        output.status
    );
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
