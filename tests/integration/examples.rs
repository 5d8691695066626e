//! The folders of `examples/`, as their READMEs say they are used: each runs by `examples/try` with a real Prometheus.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    DEADLINE,
    autoscaler::{Answers, decide, questions},
    console::{run, steps, timeless},
    example::Example,
    kubectl::kubectl,
    process::{Process, loadline},
    until,
};

/// An example that runs.
struct Running {
    process: Process,
    kubeconfig: PathBuf,
    _folder: TempDir,
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
    async fn start(example: &Example, situation: &Situation<'_>) -> Self {
        let changed = tempfile::tempdir().unwrap();
        let mut folder = example.folder.clone();
        if situation.is_nan_dropped {
            folder = changed.path().join(&example.name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("objects.yaml"), example.text("objects.yaml")).unwrap();
            let mut rules = example.documents("rules.yaml").remove(0);
            for rule in rules["rules"].as_array_mut().unwrap() {
                rule["nan"] = "drop".into();
            }
            fs::write(folder.join("rules.yaml"), rules.to_string()).unwrap();
        }
        let mut command = Command::new(example.folder.with_file_name("try"));
        let binaries = Path::new(env!("CARGO_BIN_EXE_loadline")).parent().unwrap();
        let path = env::var_os("PATH").unwrap_or_default();
        let paths = [binaries.to_owned()].into_iter().chain(env::split_paths(&path));
        command.arg(folder).arg("--metrics").arg(example.folder.join(situation.metrics));
        command.env("PATH", env::join_paths(paths).unwrap());
        let mut process = Process::start(command, "it is in examples/ and needs python3");
        let kubeconfig = until("the example runs", async || {
            assert!(process.runs(), "{}", process.stderr());
            let written = process.stdout();
            let line = written.lines().find_map(|line| line.strip_prefix("export KUBECONFIG="))?;
            Some(PathBuf::from(line))
        })
        .await;
        Self { process, kubeconfig, _folder: changed }
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

/// What a part of a README speaks of.
#[derive(Debug)]
struct Situation<'a> {
    /// The file with the description of metrics.
    metrics: &'a str,
    /// Whether every rule has `nan: drop`.
    is_nan_dropped: bool,
}

/// The README in parts: about metrics.prom, and from a line `<!-- metrics FILE -->` or `<!-- metrics FILE, nan: drop -->` on
/// about that.
fn parts(readme: &str) -> Vec<(Situation<'_>, &str)> {
    let mut texts = readme.split("<!-- metrics ");
    let first = ("metrics.prom", texts.next().unwrap());
    let others = texts.map(|text| text.split_once(" -->").expect("the end of a comment"));
    let parts = [first].into_iter().chain(others).map(|(named, text)| {
        let without = named.strip_suffix(", nan: drop");
        (Situation { metrics: without.unwrap_or(named), is_nan_dropped: without.is_some() }, text)
    });
    parts.collect()
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
    for (number, (situation, text)) in parts(&readme).into_iter().enumerate() {
        let running = Running::start(&example, &situation).await;
        let decided = block(text, "<!-- decisions -->");
        let mut decisions = Vec::new();
        for hpa in example.autoscalers() {
            // All of them first; of another situation those that it is about.
            let begins = format!("{}: ", hpa.metadata.name.as_deref().unwrap());
            if number > 0 && !decided.lines().any(|line| line.starts_with(&begins)) {
                continue;
            }
            let target = example.target(&hpa);
            let mut answers = Answers::new();
            for question in questions(&hpa, &target) {
                answers.push(running.ask(&question).await);
            }
            decisions.push(decide(&hpa, &target, &answers).0);
        }
        assert!(!decided.is_empty(), "{name}: {situation:?}");
        assert_eq!(decided, decisions.concat(), "{name}: {situation:?}");

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
async fn glsp() {
    holds("glsp").await;
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

#[tokio::test(flavor = "multi_thread")]
async fn llm_serving() {
    holds("llm-serving").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_to_zero() {
    holds("scale-to-zero").await;
}

/// Every folder has a test above.
#[test]
fn every_example_is_run() {
    let tests = include_str!("examples.rs");
    for Example { name, .. } in Example::all() {
        assert!(tests.contains(&format!("holds(\"{name}\").await;")), "{name}");
    }
}
