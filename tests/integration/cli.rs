//! The binary: what it says to a command line that it cannot take, and how it ends.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::Stdio,
};

use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::support::{
    backend::{Answer, Asked, Backend, knows},
    install_tls_provider,
    process::{Ended, Process, loadline},
    until,
};

const RULE: &str = "- seriesQuery: m\n  resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}\n  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)\n";

async fn run(arguments: &[&str]) -> Ended {
    Process::loadline(arguments).end().await
}

fn rules_file(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    fs::write(&path, text).unwrap();
    let flag = format!("--config={}", path.display());
    (folder, flag)
}

/// Fails with a code, writes nothing to standard output, and no more than some lines to standard error, each of these
/// texts among them.
#[track_caller]
fn refused(ended: &Ended, code: i32, texts: &[&str], lines: usize) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stdout, "");
    for text in texts {
        assert!(ended.stderr.contains(text), "`{text}` in {ended:?}");
    }
    let told = ended.stderr.lines().filter(|line| !line.trim().is_empty()).count();
    assert!((1..=lines).contains(&told), "{told} lines: {ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_line_that_cannot_be_meant() {
    let (folder, config) = rules_file(&format!("rules:\n{RULE}"));
    let config = config.as_str();
    let cases: &[(&[&str], &[&str])] = &[
        (&["serve", "--prometheus-uri=http://x"], &["--prometheus-uri", "--prometheus-url"]),
        (&["/adapter", "--metrics-relist-intervall=1m"], &["--metrics-relist-interval"]),
        (&["--standalon"], &["--standalone"]),
        (&["serv"], &["serve"]),
        (&["serve", "--standalone=perhaps"], &["--standalone", "perhaps"]),
        (&["serve", "--secure-port=70000"], &["--secure-port", "70000"]),
        (&["serve", "--cache-ttl=5"], &["--cache-ttl", "5"]),
        (&["serve", "--prometheus-verb=PUT"], &["--prometheus-verb", "GET or POST"]),
        (&["serve", "--log-format=xml"], &["--log-format", "json"]),
        (&["serve", "--config"], &["--config"]),
        (&[], &["--config is required"]),
        (&["serve", "--standalone"], &["--config is required"]),
        (
            &[config, "--standalone", "--lister-kubeconfig=x"],
            &["--standalone and --lister-kubeconfig"],
        ),
        (&[config, "--objects=x"], &["--objects needs --standalone"]),
        (&[config, "--standalone", "--tls-cert-file=x"], &["--tls-private-key-file"]),
        (&[config, "--standalone", "--prometheus-url=prometheus:9090"], &["--prometheus-url"]),
        (&[config, "--standalone", "--prometheus-header=x"], &["--prometheus-header"]),
        (
            &[config, "--standalone", "--prometheus-auth-incluster", "--prometheus-auth-config=x"],
            &["--prometheus-auth-incluster and --prometheus-auth-config"],
        ),
        (
            &[config, "--standalone", "--metrics-relist-interval=2m", "--metrics-max-age=1m"],
            &["--metrics-max-age", "--metrics-relist-interval"],
        ),
        (&[config, "--standalone", "--metrics-relist-interval=0s"], &["--metrics-relist-interval"]),
        (&["'--standalone'", config], &["--standalone", "quotes"]),
        (&[" --standalone", config], &["--standalone", "blank"]),
        (&["–standalone", config], &["--standalone", "word processor"]),
        (&[config, "--enable-external-metrics"], &["no such flag", "externalRules"]),
        (&[config, "--prometheus-url=http://user:p/a#b@host"], &["--prometheus-url", "%2F"]),
        (&[config, "--prometheus-header=A: b="], &["--prometheus-header", "NAME=VALUE"]),
        (&["demo", "--interval=0s"], &["--interval"]),
        (&["demo", "--fore=5s"], &["--for"]),
    ];
    for (arguments, texts) in cases {
        let ended = run(arguments).await;
        println!("{arguments:?}");
        // clap adds a tip, the usage, and where to find help.
        refused(&ended, 2, texts, 5);
    }
    drop(folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_server_from_starting() {
    let (_folder, config) = rules_file(&format!("rules:\n{RULE}"));
    let serve = ["serve", "--standalone", "--secure-port=0"];
    let run = async |arguments: &[&str]| run(&[&serve[..], arguments].concat()).await;

    refused(&run(&["--config=/nowhere/rules.yaml"]).await, 1, &["/nowhere/rules.yaml"], 1);
    let empty = tempfile::tempdir().unwrap();
    let empty = format!("--config={}", empty.path().display());
    refused(&run(&[&empty]).await, 1, &["--config", "has no *.yaml"], 1);

    let (folder, bad) = rules_file("rules:\n- seriesQuery: up\n  metricQuery: x\n  name: 3\n");
    let place = |at: &str| format!("{}:{at}", folder.path().join("rules.yaml").display());
    let wanted = [place("3:3: "), place("4:9: "), "did you mean `metricsQuery`".to_owned()];
    let wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
    refused(&run(&[&bad]).await, 1, &wanted, 2);
    let (folder, bad) = rules_file("rules: [\n");
    let wanted = format!("{}:", folder.path().join("rules.yaml").display());
    refused(&run(&[&bad]).await, 1, &[&wanted], 1);
    let (folder, bad) = rules_file(&format!("rules:\n{}", RULE.replace(".Series", ".Serie")));
    let wanted = format!("{}:4:", folder.path().join("rules.yaml").display());
    refused(&run(&[&bad, "--strict"]).await, 1, &[&wanted, "rules[0].metricsQuery"], 1);

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let flag = format!("--secure-port={port}");
    refused(&run(&[&config, &flag]).await, 1, &[&format!("127.0.0.1:{port}"), "in use"], 1);
    refused(&run(&[&config, "--bind-address=0.0.0.0"]).await, 2, &["--bind-address=0.0.0.0"], 1);
    refused(&run(&[&config, "--objects=/nowhere"]).await, 1, &["/nowhere"], 1);
    refused(&run(&[&config, "--write-kubeconfig=/nowhere/k"]).await, 1, &["/nowhere/k"], 1);
    let ca = "--prometheus-ca-file";
    refused(&run(&[&config, &format!("{ca}=/nowhere/ca")]).await, 1, &[ca, "/nowhere/ca"], 1);
    let rules = config.trim_start_matches("--config=");
    let auth = "--prometheus-auth-config";
    let ended = run(&[&config, &format!("{auth}={rules}")]).await;
    refused(&ended, 1, &[auth, rules, "no kubeconfig", "--prometheus-token-file"], 1);
    let files = ["--tls-cert-file=/nowhere/c", "--tls-private-key-file=/nowhere/k"];
    refused(&run(&[&config, files[0], files[1]]).await, 1, &["/nowhere/c"], 1);
    let cluster = ["serve", "--secure-port=0", &config, "--lister-kubeconfig=/nowhere/config"];
    let wanted = ["--lister-kubeconfig", "/nowhere/config"];
    refused(&crate::cli::run(&cluster).await, 1, &wanted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn help_and_version() {
    let version = run(&["--version"]).await;
    assert_eq!(version.stdout, concat!("loadline ", env!("CARGO_PKG_VERSION"), "\n"));
    for arguments in [&["--help"][..], &["-h"], &["help"], &["serve", "--help"], &["demo", "-h"]] {
        let ended = run(arguments).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(ended.stdout.contains("Usage: loadline"), "{ended:?}");
    }
}

/// A standalone server as a process, once it says that it serves.
async fn server(backend: &Backend, folder: &TempDir, flags: &[&str]) -> (Process, String) {
    let rules = folder.path().join("rules.yaml");
    // The second rule does not compile.
    fs::write(&rules, format!("rules:\n{RULE}{}", RULE.replace(".Series", ".Serie"))).unwrap();
    let (config, url) =
        (format!("--config={}", rules.display()), format!("--prometheus-url={}", backend.url));
    let own = ["/adapter", "--standalone", "--secure-port=0", &config, &url];
    let mut process = Process::loadline(&[&own[..], flags].concat());
    let address = until("the server says where it serves", async || {
        assert!(process.runs(), "{}", process.stderr());
        let log = process.stderr();
        let line = log.lines().find(|line| line.contains("serving"))?;
        let port = line.split("127.0.0.1:").nth(1)?;
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        Some(format!("127.0.0.1:{port}"))
    })
    .await;
    (process, address)
}

/// A client that takes any certificate: which one it is shown is no matter here.
fn client() -> reqwest::Client {
    install_tls_provider();
    let builder = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true);
    builder.build().unwrap()
}

/// Somebody who reads, and waits for a query that has come to the backend.
async fn reading(backend: &Backend, address: &str) -> JoinHandle<reqwest::Result<()>> {
    let client = client();
    let url = format!("https://{address}/apis/custom.metrics.k8s.io/v1beta1/namespaces/n/pods/p/m");
    let request = tokio::spawn(async move { client.get(url).send().await.map(drop) });
    until("the query has come to the backend", async || {
        (backend.count(Asked::is_query) > 0).then_some(())
    })
    .await;
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_end_a_server() {
    let backend = Backend::start(knows(&["m"], |_| Answer::Hang)).await;
    let folder = tempfile::tempdir().unwrap();
    for signal in ["TERM", "INT"] {
        let (process, address) = server(&backend, &folder, &[]).await;
        // Connections without a request do not hold the end up: one that is not TLS yet, and an idle one.
        let _silent = TcpStream::connect(&address).unwrap();
        let client = client();
        client.get(format!("https://{address}/healthz")).send().await.unwrap();
        process.signal(signal);
        let ended = process.end().await;
        assert_eq!(ended.code, Some(0), "{signal}: {ended:?}");
        assert!(ended.stderr.contains("rules.yaml:7:17: rules[1].metricsQuery"), "{ended:?}");
        assert!(ended.stderr.contains("the rule is left out"), "{ended:?}");
        TcpStream::connect(&address).unwrap_err();
    }

    // An open request holds it up, until the second signal.
    let (mut process, address) = server(&backend, &folder, &["--cache-ttl=0s"]).await;
    let request = reading(&backend, &address).await;
    process.signal("TERM");
    until("nobody listens any more", async || TcpStream::connect(&address).is_err().then_some(()))
        .await;
    assert!(process.runs(), "{}", process.stderr());
    process.signal("TERM");
    let ended = process.end().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("ended by a second signal"), "{ended:?}");
    request.await.unwrap().unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_kubeconfig_one_sentence_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["explain", "pods", "m"][..],
        &["check", "--live"],
        &["compare", "--with=https://127.0.0.1:1"],
        &["migrate", "keda"],
    ] {
        let mut command = loadline(arguments);
        command.env("HOME", folder.path()).env_remove("KUBECONFIG");
        command.env_remove("KUBERNETES_SERVICE_HOST");
        let ended = Process::start(command, "cargo builds it").end().await;
        refused(
            &ended,
            2,
            &["there is no kubeconfig", "--kubeconfig or the variable KUBECONFIG"],
            1,
        );
        assert!(!ended.stderr.contains("infer"), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_of_a_404_asks_the_standalone_server() {
    let backend = Backend::start(knows(&["m"], |_| {
        Answer::Data(serde_json::json!({"resultType": "vector", "result": []}))
    }))
    .await;
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig").display().to_string();
    let flag = format!("--write-kubeconfig={kubeconfig}");
    let (_process, address) = server(&backend, &folder, &[&flag]).await;
    let path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/n/pods/web-0/absent";
    let client = client();
    let said = until("the rules are discovered", async || {
        let text = client.get(format!("https://{address}{path}")).bearer_auth(token(&kubeconfig));
        let text = text.send().await.ok()?.text().await.ok()?;
        text.contains("run: ").then_some(text)
    })
    .await;
    let wanted = format!("loadline explain --kubeconfig={kubeconfig} -n n pods/web-0 absent");
    assert!(said.contains(&wanted), "{said}");
    let words: Vec<_> = wanted.split(' ').skip(1).chain(["-o=json"]).collect();
    let ended = run(&words).await;
    assert!(ended.stdout.contains("\"cause\": \"unknown-metric\""), "{ended:?}");
}

/// The token of a kubeconfig that the server has written.
fn token(kubeconfig: &str) -> String {
    let text = fs::read_to_string(kubeconfig).unwrap();
    let config: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    config["users"][0]["user"]["token"].as_str().unwrap().to_owned()
}

/// Users in hundreds of groups come with as many headers, which HTTP/1.1 counts.
#[tokio::test(flavor = "multi_thread")]
async fn many_headers_without_http2() {
    let backend = Backend::start(knows(&["m"], |_| Answer::Hang)).await;
    let folder = tempfile::tempdir().unwrap();
    let (_process, address) = server(&backend, &folder, &["--disable-http2"]).await;
    let request = client().get(format!("https://{address}/healthz"));
    let groups = (0..500).map(|number| format!("{number:036}"));
    let request = groups.fold(request, |request, group| request.header("x-remote-group", group));
    let response = request.send().await.unwrap();
    assert_eq!((response.version(), response.status().as_u16()), (http::Version::HTTP_11, 200));
}

/// What is fetched for a reader who has gone does not hold up the end.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_query_without_a_reader() {
    let backend = Backend::start(knows(&["m"], |_| Answer::Hang)).await;
    let folder = tempfile::tempdir().unwrap();
    // Longer than a test waits for anything.
    let (process, address) = server(&backend, &folder, &["--prometheus-query-timeout=50s"]).await;
    let request = reading(&backend, &address).await;
    request.abort();
    process.signal("TERM");
    let ended = process.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log() {
    let backend = Backend::start(knows(&["m"], |_| Answer::Hang)).await;
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--log-format=json", "-v=4", "--profiling=false", "--logtostderr=true", "stray"];
    let flags = [&flags[..], &["--prometheus-header=X-A=\"secret\""]].concat();
    let (process, _) = server(&backend, &folder, &flags).await;
    process.signal("TERM");
    let ended = process.end().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    for line in ended.stderr.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("{line}"));
    }
    assert!(ended.stderr.contains("--logtostderr --profiling"), "{}", ended.stderr);
    assert!(ended.stderr.contains("begins with a quote") && !ended.stderr.contains("secret"));
    let ignored = ended.stderr.lines().find(|line| line.contains("stray")).unwrap();
    assert!(ignored.contains("WARN") && !ignored.contains("/adapter"), "{ignored}");
}

/// Nobody reads what is written: neither a panic nor an end by SIGPIPE comes of it.
#[tokio::test(flavor = "multi_thread")]
async fn closed_outputs() {
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(OwnedFd::from(writer))
    };
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["--version"], 0),
        (&["--nonsense"], 2),
        (&["serve"], 2),
        (&["serve", "--config=/nowhere"], 1),
        // It cannot print what it is for.
        (&["demo", "--for=1m"], 1),
    ] {
        let mut child = loadline(arguments)
            .stdin(Stdio::null())
            .stdout(closed())
            .stderr(closed())
            .spawn()
            .unwrap();
        let what = format!("{arguments:?} ends");
        let status = until(&what, async || child.try_wait().unwrap()).await;
        assert_eq!(status.code(), Some(code), "{arguments:?}: {status}");
    }
}
