//! What failing reads write into the log: few lines, short ones, and no line that a backend has made.

use serde_json::json;

use crate::support::{
    app::custom,
    backend::{Answer, Backend, knows},
    install_tls_provider,
    process::Process,
    until,
};

const RULES: &str = "rules:\n- {seriesQuery: 'm{}', resources: {overrides: {ns: {resource: namespace}, pod: {resource: pod}}}, metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'}\n";

/// Prometheus' error with this text.
fn error(text: &str) -> Answer {
    let body = json!({"status": "error", "errorType": "internal", "error": text});
    Answer::Raw(500, "application/json", body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_reads_are_few_and_short_lines() {
    let backend = Backend::start(knows(&["m"], |_| error("first"))).await;
    let folder = tempfile::tempdir().unwrap();
    let (rules, kubeconfig) = (folder.path().join("rules.yaml"), folder.path().join("kubeconfig"));
    std::fs::write(&rules, RULES).unwrap();
    let server = Process::loadline(&[
        "serve",
        "--standalone",
        "--secure-port=0",
        "--cache-ttl=0",
        "--max-stale=0",
        &format!("--config={}", rules.display()),
        &format!("--prometheus-url={}", backend.url),
        &format!("--write-kubeconfig={}", kubeconfig.display()),
    ]);
    until("the server", async || server.stderr().contains("serving").then_some(())).await;
    let text = std::fs::read_to_string(&kubeconfig).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let url = config["clusters"][0]["cluster"]["server"].as_str().unwrap().to_owned();
    install_tls_provider();
    let client = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .no_proxy()
        .build()
        .unwrap();
    let read = async |metric: &str| {
        let url = format!("{url}{}", custom(&format!("namespaces/n/pods/p/{metric}")));
        let response = client.get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let known = async || (read("m").await.0 == 500).then_some(());
    until("the metric is known, and its query fails", known).await;
    // The texts of the backend differ, and the cause is one.
    let endless = "a\nERROR forged \u{1b}[31m".repeat(100_000);
    for text in ["second", &endless, "third"] {
        let text = text.to_owned();
        backend.play(knows(&["m"], move |_| error(&text)));
        for _ in 0..20 {
            assert_eq!(read("m").await.0, 500);
        }
    }
    let log = server.stderr();
    let about = |cause: &str| log.lines().filter(|line| line.contains(cause)).count();
    assert_eq!(about("HTTP status 500 (it failed)"), 1, "{log}");

    // Another cause, whose text is long and has lines of its own.
    let (plain, forged) = (endless.clone(), endless.clone());
    backend.play(knows(&["m"], move |_| Answer::Raw(502, "text/plain", plain.clone())));
    assert_eq!(read("m").await.0, 500);
    let result = json!({"resultType": format!("x{forged}"), "result": []});
    backend.play(knows(&["m"], move |_| Answer::Data(result.clone())));
    let (status, body) = read("m").await;
    assert_eq!(status, 500);
    assert!(!body.contains("forged") && body.len() < 1_000, "{body}");
    let value = json!([{"metric": {"pod": "p"}, "value": [1, endless]}]);
    let result = json!({"resultType": "vector", "result": value});
    backend.play(knows(&["m"], move |_| Answer::Data(result.clone())));
    assert_eq!(read("m").await.0, 500);
    let log = server.stderr();
    assert!(log.contains("not a Prometheus API answer"), "{log}");
    for line in log.lines() {
        assert!(line.len() < 2_000, "{} bytes: {line:.300}", line.len());
        assert!(!line.starts_with("ERROR forged") && !line.contains("\u{1b}[31m"), "{line}");
    }
}
