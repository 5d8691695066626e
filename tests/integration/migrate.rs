//! `loadline migrate`: the command, and that an autoscaler reads from a migrated rule what KEDA has made of the query.

use std::{
    fs,
    io::Write as _,
    process::{Output, Stdio},
};

use loadline::core::{
    migrate::{self, Settings},
    quantity::parse_milli,
};
use serde_json::{Value, json};

use crate::support::{
    app::{Launch, external},
    exporter::{Exporter, Page},
    process::loadline,
    store::Store,
};

/// A `ScaledObject` with triggers, each of which has further parameters.
fn scaled_object(server: &str, triggers: &[(&str, &str)]) -> String {
    let triggers: Vec<_> = triggers
        .iter()
        .map(|(query, ignores_null)| {
            json!({"type": "prometheus", "metadata": {
                "serverAddress": server, "query": query, "threshold": "10",
                "ignoreNullValues": ignores_null,
            }})
        })
        .collect();
    json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": {"name": "worker", "namespace": "ide"},
        "spec": {"scaleTargetRef": {"name": "worker"}, "minReplicaCount": 1, "triggers": triggers},
    })
    .to_string()
}

/// What KEDA's scaler makes of the vector of an answer, in thousandths; nothing where it fails.
fn by_keda(data: &Value, ignores_null: bool) -> Option<i64> {
    let null = ignores_null.then_some(0);
    match data["result"].as_array().unwrap().as_slice() {
        [] => null,
        [one] => {
            let value: f64 = one["value"][1].as_str().unwrap().parse().unwrap();
            if !value.is_finite() {
                return null;
            }
            // Negative ones are 0, and the others have three digits behind the point.
            Some(format!("{:.3}", value.max(0.0)).replace('.', "").parse().unwrap())
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_reads_what_keda_has_made_of_the_query() {
    let page = Page::new()
        .series("depth", "queue=\"jobs\"", "100")
        .series("depth", "queue=\"mail\"", "10.5")
        .series("nothing", "queue=\"jobs\"", "0");
    let exporter = Exporter::start(page).await;
    let store = Store::prometheus(&exporter).await;
    let queries = [
        "sum(depth)",
        "depth{queue=\"mail\"}",
        "avg(depth) / 3",
        "sum(depth{queue=\"other\"})",
        "sum(nothing) / sum(nothing)",
        "sum(nothing)",
        "-sum(depth)",
        "# a comment\nmax(depth) # and one at the end",
        "max(label_replace(depth, \"x\", \"<<.Series>>\", \"\", \"\"))",
    ];
    let triggers: Vec<_> =
        queries.iter().flat_map(|query| [(*query, "true"), (*query, "false")]).collect();
    let text = scaled_object(&store.url, &triggers);
    let document = serde_json::from_str(&text).unwrap();
    let migration = migrate::keda(vec![document], &Settings::default());
    let app = Launch::new(&migration.rules_yaml(), "http://127.0.0.1:1").start().await;
    let mut numbers = Vec::new();
    for (at, (query, ignores_null)) in triggers.iter().enumerate() {
        let data = store.ask("query", &[("query", query)]).await.unwrap();
        let wanted = by_keda(&data, *ignores_null == "true");
        let path = format!("namespaces/ide/ide.worker.s{at}-prometheus");
        let reply = app.get(&external(&path)).await;
        let items = reply.json()["items"].as_array().cloned().unwrap_or_default();
        let items: Vec<_> = items
            .iter()
            .map(|item| parse_milli(item["value"].as_str().unwrap()).unwrap())
            .collect();
        // A negative number asks for no more pods than 0 does.
        let read: Vec<_> = items.iter().map(|milli| *milli.max(&0)).collect();
        assert_eq!(read, wanted.into_iter().collect::<Vec<_>>(), "{query} {ignores_null}");
        numbers.extend(wanted);
    }
    assert!(numbers.contains(&110_500) && numbers.contains(&18_417), "{numbers:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_up_to_the_threshold_of_activation_are_0() {
    let page = Page::new().series("depth", "", "5");
    let exporter = Exporter::start(page).await;
    let store = Store::prometheus(&exporter).await;
    let trigger = |query: &str, activation: &str, ignores_null: &str| {
        json!({"type": "prometheus", "metadata": {
            "serverAddress": store.url, "query": query, "threshold": "10",
            "activationThreshold": activation, "ignoreNullValues": ignores_null,
        }})
    };
    let cases = [
        (trigger("depth", "4.5", "true"), vec!["5"]),
        (trigger("depth", "5", "true"), vec!["0"]),
        (trigger("absent_depth", "5", "true"), vec!["0"]),
        (trigger("depth", "4.5", "false"), vec!["5"]),
        (trigger("depth", "5", "false"), vec!["0"]),
        (trigger("absent_depth", "5", "false"), vec![]),
        (trigger("scalar(depth)", "5", "true"), vec!["0"]),
        (trigger("scalar(depth)", "4", "true"), vec!["5"]),
    ];
    let triggers: Vec<_> = cases.iter().map(|(trigger, _)| trigger.clone()).collect();
    let document = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "worker"},
        "spec": {"scaleTargetRef": {"name": "worker"}, "triggers": triggers},
    });
    let migration = migrate::keda(vec![document], &Settings::default());
    let app = Launch::new(&migration.rules_yaml(), "http://127.0.0.1:1").start().await;
    for (at, (trigger, wanted)) in cases.iter().enumerate() {
        let reply = app.get(&external(&format!("namespaces/ide/worker.s{at}-prometheus"))).await;
        let items = reply.json()["items"].as_array().cloned().unwrap_or_default();
        let read: Vec<_> = items.iter().map(|item| item["value"].as_str().unwrap()).collect();
        assert_eq!(read, *wanted, "{trigger}");
    }
    app.stop().await;
}

/// Runs it with this on its standard input, in a folder with these files.
fn migrate(arguments: &[&str], files: &[(&str, &str)], input: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut command = loadline(&[&["migrate"], arguments].concat());
    command.current_dir(folder.path()).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end without having read it.
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap_or_default();
    child.wait_with_output().unwrap()
}

#[test]
fn the_exit_code_says_whether_all_has_moved() {
    let whole = scaled_object("http://127.0.0.1:9090", &[("up", "true")]);
    let partial = whole.replace("prometheus\",\"metadata", "kafka\",\"metadata");
    let files = [
        ("whole.yaml", &*whole),
        ("all/a.yaml", &*whole),
        ("all/b.json", &*partial),
        ("no.yaml", "a: ["),
    ];
    let code = |arguments: &[&str], input: &str| migrate(arguments, &files, input).status.code();
    assert_eq!(code(&["keda", "-f", "whole.yaml"], ""), Some(0));
    assert_eq!(code(&["keda", "whole.yaml"], ""), Some(0));
    assert_eq!(code(&["keda", "-f", "-"], &whole), Some(0));
    assert_eq!(code(&["keda", "-f", "all"], ""), Some(1));
    assert_eq!(code(&["keda", "-f", "-"], &partial), Some(1));
    for usage in [
        &["keda", "-f", "no.yaml"][..],
        &["keda", "-f", "absent.yaml"],
        &["kube-metrics-adapter", "-f", "whole.yaml"],
        &["other", "-f", "whole.yaml"],
        &["keda", "-f", "-", "--prometheus-url=host"],
        &["keda", "--kubeconfig=absent"],
    ] {
        let output = migrate(usage, &files, "{}");
        assert_eq!(output.status.code(), Some(2), "{usage:?}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{output:?}");
    }
}

#[test]
fn what_is_printed_passes_check() {
    let text = scaled_object("http://127.0.0.1:9090", &[("sum(depth)", "true")]);
    let files = [("a.yaml", &*text)];
    for form in ["manifests", "rules"] {
        let output = migrate(&["keda", "-f", "a.yaml", "-o", form], &files, "");
        let rules = String::from_utf8(output.stdout).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("rules.yaml"), &rules).unwrap();
        let mut check = loadline(&["check", "--strict", "-c", "rules.yaml"]);
        let checked = check.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
        assert!(checked.status.success(), "{checked:?}\n{rules}");
    }
    let output = migrate(&["keda", "-f", "a.yaml", "-o", "hpa"], &files, "");
    let hpa = String::from_utf8(output.stdout).unwrap();
    assert!(hpa.contains("HorizontalPodAutoscaler") && !hpa.contains("ConfigMap"), "{hpa}");
}

#[test]
fn rules_of_a_team_pass_check() {
    let labels = "resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}";
    let query = "metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'";
    let whole = format!("rules:\n- seriesQuery: requests_total\n  {labels}\n  {query}\n");
    let partial = format!("{whole}- seriesQuery: '{{__name__=~\"^a\"}}'\n  {labels}\n  {query}\n");
    let nothing = format!("rules:\n- seriesQuery: '{{__name__=~\"^a\"}}'\n  {labels}\n  {query}\n");
    let files = [("whole.yaml", &*whole), ("partial.yaml", &*partial), ("nothing.yaml", &*nothing)];
    let team = |file, more: &[&str]| {
        let arguments = [&["rules", "-f", file, "--namespace=shop"], more].concat();
        migrate(&arguments, &files, "")
    };
    let output = team("whole.yaml", &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let rules = String::from_utf8(output.stdout).unwrap();
    assert!(rules.contains("kind: MetricRule") && rules.contains("namespace: shop"), "{rules}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), &rules).unwrap();
    let mut check = loadline(&["check", "--strict", "-c", "rules.yaml"]);
    let checked = check.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
    assert!(checked.status.success(), "{checked:?}\n{rules}");
    assert_eq!(team("partial.yaml", &[]).status.code(), Some(1));
    // Where nothing can move there are comments only, which nobody takes for rules.
    let output = team("nothing.yaml", &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    fs::write(folder.path().join("rules.yaml"), &output.stdout).unwrap();
    let mut check = loadline(&["check", "--strict", "rules.yaml"]);
    let checked = check.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stdout).contains("[no-rules]"), "{checked:?}");
    assert_eq!(team("whole.yaml", &["-o", "hpa"]).status.code(), Some(2));
    let nobody = migrate(&["rules", "-f", "whole.yaml"], &files, "");
    assert_eq!(nobody.status.code(), Some(2), "{nobody:?}");
}
