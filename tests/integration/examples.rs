//! The folders of `examples/`, as their READMEs say they are used: each runs by `examples/try` with a real Prometheus.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::Value;

use crate::support::{
    DEADLINE,
    autoscaler::{Answers, Target, decide, questions},
    console::{run, steps, timeless},
    kubectl::kubectl,
    process::{Process, loadline},
    until,
};

use loadline::core::quantity::parse_milli;

/// An example's folder.
struct Example {
    name: &'static str,
    folder: PathBuf,
}

impl Example {
    fn new(name: &'static str) -> Self {
        Self { name, folder: Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name) }
    }

    fn text(&self, file: &str) -> String {
        let path = self.folder.join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn documents(&self, file: &str) -> Vec<Value> {
        serde_saphyr::from_multiple(&self.text(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// The autoscalers. What the API does not know would be a mistake.
    fn autoscalers(&self) -> Vec<HorizontalPodAutoscaler> {
        let documents = self.documents("hpa.yaml");
        let read = |document: Value| {
            let hpa: HorizontalPodAutoscaler = serde_json::from_value(document.clone()).unwrap();
            assert_eq!(serde_json::to_value(&hpa).unwrap(), document);
            hpa
        };
        documents.into_iter().map(read).collect()
    }

    /// What an autoscaler scales: the Deployment, and those of the pods that it selects.
    fn target(&self, hpa: &HorizontalPodAutoscaler) -> Target {
        let wanted = &hpa.spec.scale_target_ref;
        let namespace = hpa.metadata.namespace.as_deref().unwrap();
        let is_wanted = |object: &Value| {
            object["kind"] == *wanted.kind
                && object["metadata"]["name"] == *wanted.name
                && object["metadata"]["namespace"] == *namespace
        };
        let workload = self.documents("workload.yaml").into_iter().find(is_wanted);
        let spec =
            workload.unwrap_or_else(|| panic!("workload.yaml: no {}", wanted.name))["spec"].take();
        let labels = spec["selector"]["matchLabels"].as_object().unwrap();
        let has = |pod: &Value, labels: &serde_json::Map<String, Value>| {
            labels.iter().all(|(name, value)| pod["metadata"]["labels"][name] == *value)
        };
        assert!(has(&spec["template"], labels), "{}: its pods are not its own", wanted.name);
        let objects = self.documents("objects.yaml");
        let pods = objects.iter().filter(|object| {
            object["kind"] == "Pod"
                && object["metadata"]["namespace"] == *namespace
                && has(object, labels)
        });
        let selector: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap()))
            .collect();
        let containers = spec["template"]["spec"]["containers"].as_array().unwrap().iter();
        Target {
            pods: pods.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect(),
            selector: selector.join(","),
            requests: containers
                .map(|container| {
                    let requests = container["resources"]["requests"].as_object();
                    let requests = requests.into_iter().flatten().map(|(name, value)| {
                        (name.clone(), parse_milli(value.as_str().unwrap()).unwrap())
                    });
                    (container["name"].as_str().unwrap().to_owned(), requests.collect())
                })
                .collect(),
        }
    }
}

/// An example that runs.
struct Running {
    process: Process,
    kubeconfig: PathBuf,
}

impl Drop for Running {
    /// Asks it to end, with what it has started; a process that is killed leaves that behind.
    fn drop(&mut self) {
        self.process.signal("TERM");
        let deadline = Instant::now() + DEADLINE;
        while self.process.runs() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Running {
    /// With the description of metrics that is called so.
    async fn start(example: &Example, metrics: &str) -> Self {
        let mut command = Command::new(example.folder.with_file_name("try"));
        let binaries = Path::new(env!("CARGO_BIN_EXE_loadline")).parent().unwrap();
        let path = env::var_os("PATH").unwrap_or_default();
        let paths = [binaries.to_owned()].into_iter().chain(env::split_paths(&path));
        command.arg(example.name).arg("--metrics").arg(example.folder.join(metrics));
        command.env("PATH", env::join_paths(paths).unwrap());
        let mut process = Process::start(command, "it is in examples/ and needs python3");
        let kubeconfig = until("the example runs", async || {
            assert!(process.runs(), "{}", process.stderr());
            let written = process.stdout();
            let line = written.lines().find_map(|line| line.strip_prefix("export KUBECONFIG="))?;
            Some(PathBuf::from(line))
        })
        .await;
        Self { process, kubeconfig }
    }

    async fn ask(&self, path: &str) -> Result<Value, String> {
        let ended = kubectl(&self.kubeconfig, &["get", "--raw", path]).await;
        if ended.code == Some(0) {
            Ok(serde_json::from_str(&ended.stdout).unwrap())
        } else {
            Err(ended.stderr.trim_end().to_owned())
        }
    }
}

/// The README in parts, each with the description of metrics that it speaks of: metrics.prom, and from a line
/// `<!-- metrics FILE -->` on that one.
fn parts(readme: &str) -> Vec<(&str, &str)> {
    let mut texts = readme.split("<!-- metrics ");
    let first = ("metrics.prom", texts.next().unwrap());
    let others = texts.map(|text| text.split_once(" -->").expect("the end of a comment"));
    [first].into_iter().chain(others).collect()
}

/// The block of the README that follows a marker.
fn block<'a>(readme: &'a str, marker: &str) -> &'a str {
    let (_, rest) =
        readme.split_once(marker).unwrap_or_else(|| panic!("{marker} is not in the README"));
    let (_, rest) = rest.split_once("```text\n").expect("a block of text");
    rest.split_once("```").expect("its end").0
}

/// What holds for every example.
async fn holds(name: &'static str) {
    let example = Example::new(name);
    let rules = example.folder.join("rules.yaml");
    let check = loadline(&["check", "--strict", "-c", rules.to_str().unwrap()]);
    let ended = Process::start(check, "cargo builds it").end().await;
    assert_eq!((ended.code, &*ended.stdout), (Some(0), ""), "{name}");

    let readme = example.text("README.md");
    assert!(!steps(&readme).is_empty(), "{name}: nothing to try");
    for (metrics, text) in parts(&readme) {
        let running = Running::start(&example, metrics).await;
        let mut decisions = Vec::new();
        for hpa in example.autoscalers() {
            let target = example.target(&hpa);
            let mut answers = Answers::new();
            for question in questions(&hpa, &target) {
                answers.push(running.ask(&question).await);
            }
            decisions.push(decide(&hpa, &target, &answers).0);
        }
        assert_eq!(block(text, "<!-- decisions -->"), decisions.concat(), "{name}: {metrics}");

        let written = steps(text);
        let seen = run(&written, &example.folder, &running.kubeconfig).await;
        for (written, seen) in written.iter().zip(&seen) {
            assert_eq!(
                timeless(&seen.output),
                timeless(&written.output),
                "{name}: {}",
                written.command
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_ai_ide() {
    holds("rust-ai-ide").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ades() {
    holds("ades").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tide_scope() {
    holds("tide-scope").await;
}

/// Every folder has a test above.
#[test]
fn every_example_is_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let tests = include_str!("examples.rs");
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            let name = entry.file_name().into_string().unwrap();
            assert!(tests.contains(&format!("holds(\"{name}\").await;")), "{name}");
        }
    }
}
