//! `loadline demo` as a visitor runs it.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use serde_json::Value;

use crate::support::{
    process::{Ended, Process, loadline},
    until,
};

/// A line of the table.
#[derive(Debug)]
struct Reading {
    workload: String,
    metric: String,
    value: f64,
    pods: u32,
    desired: u32,
}

/// The table behind the header; everything in it has to be a reading.
fn table(output: &str) -> Vec<Reading> {
    let mut lines = output.lines().skip_while(|line| !line.trim_start().starts_with("time "));
    let head: Vec<_> = lines.next().expect("a head").split_whitespace().collect();
    assert_eq!(head, ["time", "workload", "metric", "value", "target", "pods", "desired"]);
    lines
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            // Time is a number and its unit.
            assert_eq!(words[1], "s", "{line}");
            Reading {
                workload: words[2].to_owned(),
                metric: words[3].to_owned(),
                value: words[4].parse().unwrap_or_else(|_| panic!("no value: {line}")),
                pods: words[6].parse().unwrap(),
                desired: words[7].parse().unwrap(),
            }
        })
        .collect()
}

fn check(ended: &Ended, at_least: usize) {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stderr, "");
    let readings = table(&ended.stdout);
    let mut counts = BTreeMap::<&str, usize>::new();
    for reading in &readings {
        *counts.entry(&reading.workload).or_default() += 1;
        let (metric, values, pods) = match reading.workload.as_str() {
            "lsp-server" => ("lsp_requests_per_second", 10.0..=80.0, 2..=10),
            "ai-inference" => ("ai_inference_memory_utilization", 0.3..=0.97, 1..=6),
            other => panic!("{other}"),
        };
        assert_eq!(reading.metric, metric);
        assert!(values.contains(&reading.value), "{reading:?}");
        assert!(pods.contains(&reading.pods) && pods.contains(&reading.desired), "{reading:?}");
    }
    assert!(counts.len() == 2 && counts.values().all(|count| *count >= at_least), "{readings:?}");
    let summary = ended.stdout.split("s of cloud IDE:\n").nth(1).expect("a summary");
    for line in summary.lines() {
        let workload = line.split_whitespace().next().expect("a workload");
        let counted = format!("{} readings, 0 failed", counts[workload]);
        assert!(line.contains(&counted), "{counted}: {line}");
    }
    assert_eq!(summary.lines().count(), 2);
}

/// The command that the header shows for a program.
fn command(output: &str, program: &str) -> Option<String> {
    let start = format!("  {program} ");
    output.lines().find(|line| line.starts_with(&start)).map(|line| line.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_runs_for_a_while() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = loadline(&["demo", "--for=5s", "--interval=500ms"]);
    command.env("TMPDIR", temporary.path());
    check(&Process::start(command, "cargo builds it").end().await, 2);
    assert_eq!(temporary.path().read_dir().unwrap().count(), 0, "its folder is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_prints_works_until_it_is_interrupted() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = loadline(&["demo", "--interval=500ms"]);
    demo.env("TMPDIR", temporary.path());
    let mut demo = Process::start(demo, "cargo builds it");
    let output = until("two readings of each workload", async || {
        assert!(demo.runs(), "{}", demo.stderr());
        let output = demo.stdout();
        (output.matches("lsp-server ").count() > 3).then_some(output)
    })
    .await;

    let (curl, kubectl) = (command(&output, "curl").unwrap(), command(&output, "kubectl").unwrap());
    for (line, metric) in
        [(&curl, "lsp_requests_per_second"), (&kubectl, "ai_inference_memory_utilization")]
    {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).env("HOME", temporary.path());
        let ended = Process::start(shell, "apt-get install dash").end().await;
        assert_ne!(ended.code, Some(127), "apt-get install curl kubernetes-client: {ended:?}");
        assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
        let list: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(list["items"][0]["metric"]["name"], metric, "{line}: {list}");
    }
    let word = kubectl.split_whitespace().find_map(|word| word.strip_prefix("--kubeconfig="));
    let kubeconfig = PathBuf::from(word.expect("a kubeconfig"));
    assert!(kubeconfig.starts_with(temporary.path()));
    let folder = kubeconfig.parent().unwrap().to_owned();
    assert!(folder.exists());

    demo.signal("INT");
    check(&demo.end().await, 1);
    assert!(!folder.exists(), "its folder is gone");
}
