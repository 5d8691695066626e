//! Tokens, passwords and Secrets are not in the log, however much is logged and whatever goes wrong.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::to_bytes,
    extract::Request,
    response::{Html, IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    app::custom,
    backend::{Answer, Asked, Backend, knows, pods},
    install_tls_provider,
    process::{Process, loadline},
    serve, until,
};

/// How much is logged. A directive for a longer target, or for a span, counts for more than others.
const LEVELS: [&str; 3] = [
    "trace",
    "trace,kube_client::client=trace,hyper_util::client=trace,hyper::proto=trace,h2::codec=trace",
    "info,[request]=trace,[discovery]=trace,[credentials]=trace",
];

const CALLER: &str = "token-of-the-caller";
const OWN: &str = "token-of-loadline";
const KEY: &str = "private-key-of-the-certificate";
const PASSWORD: &str = "password-of-the-url";
const HEADER: &str = "value-of-a-header";
const PARAMETER: &str = "value-of-a-parameter";
const FILE: &str = "token-of-a-file";

#[track_caller]
fn assert_silent(log: &str, secrets: &[&str]) {
    for secret in secrets {
        for form in [(*secret).to_owned(), STANDARD.encode(secret)] {
            let line = log.lines().find(|line| line.contains(&form));
            assert_eq!(line, None, "{form}");
        }
    }
}

/// Ways of an API server to answer so that nobody can use it. All repeat what was sent.
const CLUSTER_FAULTS: usize = 6;

fn cluster_fault(number: usize, object: &str) -> Response {
    match number {
        0 => (StatusCode::OK, object.trim_end_matches('}').to_owned()).into_response(),
        1 => (StatusCode::CREATED, format!("[{object}]")).into_response(),
        2 => (StatusCode::INTERNAL_SERVER_ERROR, object.to_owned()).into_response(),
        3 => (StatusCode::BAD_GATEWAY, Html(format!("<pre>{object}</pre>"))).into_response(),
        4 => (StatusCode::OK, Html(format!("<pre>{object}</pre>"))).into_response(),
        _ => (StatusCode::OK, object.replace("\"spec\":{", "\"spec\":[{")).into_response(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_is_sent_and_sends_is_not_logged() {
    install_tls_provider();
    for number in 0..CLUSTER_FAULTS {
        let asked: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let noted = Arc::clone(&asked);
        let router = Router::new().fallback(async move |request: Request| {
            let path = request.uri().path().to_owned();
            let what = path.rsplit('/').next().unwrap_or_default().to_owned();
            noted.lock().unwrap().insert(what);
            let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "loadline-serving"},
                "data": {"tls.crt": STANDARD.encode(KEY), "tls.key": STANDARD.encode(KEY)},
            });
            let sent = String::from_utf8(body.to_vec()).unwrap();
            cluster_fault(number, &if sent.is_empty() { secret.to_string() } else { sent })
        });
        let (url, _server) = serve(router).await;
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "c", "user": {"token": OWN}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        });
        fs::write(&kubeconfig, config.to_string()).unwrap();
        let rules = folder.path().join("rules.yaml");
        fs::write(&rules, "rules: []\n").unwrap();
        let mut command = loadline(&[
            "serve",
            "--secure-port=0",
            "--shutdown-delay=0s",
            "--bind-address=127.0.0.1",
            "--prometheus-url=http://127.0.0.1:9",
            "--service-name=loadline",
            "--service-namespace=monitoring",
            "--tls-secret-name=loadline-serving",
            &format!("--config={}", rules.display()),
            &format!("--lister-kubeconfig={}", kubeconfig.display()),
        ]);
        command.env("RUST_LOG", LEVELS[number % LEVELS.len()]);
        let mut process = Process::start(command, "cargo builds it");
        let port = process.port().await;
        let http =
            reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
        for path in ["/apis/custom.metrics.k8s.io/v1beta2", &custom("namespaces/n/pods/*/m")] {
            let url = format!("https://127.0.0.1:{port}{path}");
            for request in [http.get(&url), http.get(&url).bearer_auth(CALLER)] {
                let answer = request.send().await.unwrap();
                assert!(!answer.status().is_success(), "{number}: {answer:?}");
            }
        }
        for what in ["tokenreviews", "subjectaccessreviews", "loadline-serving", "configmaps"] {
            let is_asked = async || asked.lock().unwrap().contains(what).then_some(());
            until(what, is_asked).await;
        }
        process.signal("TERM");
        let log = process.end().await.stderr;
        assert!(log.contains("WARN"), "{number}: {log}");
        assert_silent(&log, &[CALLER, OWN, KEY]);
    }
}

/// What the backend says that repeats all that it was sent.
fn repeats(asked: &Asked) -> String {
    let mut text = String::new();
    for (name, value) in &asked.headers {
        text += &format!("{name}: {}, ", value.to_str().unwrap_or_default());
    }
    for (_, value) in &asked.parameters {
        text += &format!("{value}, ");
    }
    // Whoever is shown it as basic auth can tell what it is.
    if asked.header("authorization").starts_with("Basic ") { text + PASSWORD } else { text }
}

/// Ways of a backend to answer so that nobody can use it.
const BACKEND_FAULTS: usize = 8;

fn backend_fault(number: usize, said: &str) -> Answer {
    let error = |status: u16| {
        let body = json!({"status": "error", "errorType": said, "error": said});
        Answer::Raw(status, "application/json", body.to_string())
    };
    let page = |status: u16| Answer::Raw(status, "text/html", format!("<pre>{said}</pre>"));
    let value = |value: Value| {
        let row = json!({"metric": {"pod": "p"}, "value": value});
        Answer::Data(json!({"resultType": "vector", "result": [row]}))
    };
    match number {
        0 => error(400),
        1 => error(500),
        2 => error(200),
        3 => page(502),
        4 => page(200),
        5 => Answer::Raw(401, "text/plain", said.to_owned()),
        6 => value(json!([said, "1"])),
        _ => value(json!([1, said])),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_backend_is_shown_is_not_logged() {
    let backend = Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("p", "1")])))).await;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("token"), FILE).unwrap();
    let rule = |more: &str| {
        format!(
            "- {{seriesQuery: 'm{{}}', resources: {{overrides: {{ns: {{resource: namespace}}, pod: {{resource: pod}}}}}}, metricsQuery: '<<.Series>>{{<<.LabelMatchers>>}}'{more}}}\n"
        )
    };
    let text = format!(
        "backends:\n- {{name: other, url: '{}', tokenFile: '{}'}}\nrules:\n{}{}",
        backend.url,
        at("token").display(),
        rule(""),
        rule(", name: {as: other}, prometheus: other")
    );
    fs::write(at("rules.yaml"), text).unwrap();
    install_tls_provider();
    for level in LEVELS {
        backend.play(knows(&["m"], |_| Answer::Data(pods(&[("p", "1")]))));
        let mut command = loadline(&[
            "serve",
            "--standalone",
            "--secure-port=0",
            "--shutdown-delay=0s",
            "--cache-ttl=0",
            "--max-stale=0",
            "--metrics-relist-interval=1s",
            "--metrics-max-age=1m",
            &format!("--config={}", at("rules.yaml").display()),
            &format!(
                "--prometheus-url={}/?key={PARAMETER}",
                backend.url.replace("://", &format!("://user:{PASSWORD}@"))
            ),
            &format!("--prometheus-header=X-Key={HEADER}"),
            &format!("--backend-credentials-dir={}", folder.path().display()),
        ]);
        command.env("RUST_LOG", level);
        let mut process = Process::start(command, "cargo builds it");
        let port = process.port().await;
        let http =
            reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
        let read = async |metric: &str| {
            let path = custom(&format!("namespaces/n/pods/*/{metric}"));
            let url = format!("https://127.0.0.1:{port}{path}");
            let response = http.get(url).send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        };
        until("both metrics are known", async || {
            (read("m").await.0 == 200 && read("other").await.0 == 200).then_some(())
        })
        .await;
        for number in 0..BACKEND_FAULTS {
            // Queries at first, and then discovery as well.
            backend.play(knows(&["m"], move |asked| backend_fault(number, &repeats(asked))));
            for metric in ["m", "other"] {
                let (status, body) = read(metric).await;
                assert_eq!(status, 500, "{body}");
                assert_silent(&body, &[PASSWORD, HEADER, PARAMETER, FILE]);
            }
            backend.play(move |asked| backend_fault(number, &repeats(asked)));
            backend.take();
            until("a discovery", async || {
                (backend.count(|asked| !asked.is_query()) >= 2).then_some(())
            })
            .await;
        }
        process.signal("TERM");
        let log = process.end().await.stderr;
        assert!(log.contains("DEBUG") && log.contains("[withheld]"), "{log}");
        assert_silent(&log, &[PASSWORD, HEADER, PARAMETER, FILE]);
        let basic = STANDARD.encode(format!("user:{PASSWORD}"));
        assert!(!log.contains(&basic), "the password as it is sent");
    }
}

/// The endpoint repeats what it is sent, and then has a credential; the backend repeats that.
#[tokio::test(flavor = "multi_thread")]
async fn what_token_endpoints_are_sent_and_send_is_not_logged() {
    const CLIENT_SECRET: &str = "secret-of-the-client";
    const ACCESS_TOKEN: &str = "token-of-the-endpoint";
    const SECRET_KEY: &str = "secret-access-key";
    const FIRST_SESSION: &str = "session-token-of-the-environment";
    const SESSION: &str = "session-token-of-the-role";
    let secrets = [CLIENT_SECRET, ACCESS_TOKEN, SECRET_KEY, FIRST_SESSION, SESSION];
    install_tls_provider();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("secret"), CLIENT_SECRET).unwrap();
    let rules = "rules:\n- {seriesQuery: 'm{}', resources: {overrides: {ns: {resource: namespace}, pod: {resource: pod}}}, metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'}\n";
    fs::write(at("rules.yaml"), rules).unwrap();
    let refuses = |asked: &Asked| {
        let said = repeats(asked);
        if asked.path == "/token" {
            let body = json!({"error": "invalid_client", "error_description": said});
            return Answer::Raw(401, "application/json", body.to_string());
        }
        let body = format!(
            "<ErrorResponse><Error><Code>AccessDenied</Code><Message>{said}</Message></Error></ErrorResponse>"
        );
        Answer::Raw(403, "text/xml", body)
    };
    let grants = |asked: &Asked| {
        if asked.path == "/token" {
            let body = json!({"access_token": ACCESS_TOKEN, "expires_in": 3600});
            return Answer::Raw(200, "application/json", body.to_string());
        }
        let body = format!(
            "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>{SECRET_KEY}</SecretAccessKey><SessionToken>{SESSION}</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
        );
        Answer::Raw(200, "text/xml", body)
    };
    let endpoint = Backend::start(refuses).await;
    let backend = Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("p", "1")])))).await;
    let oauth2 = |more: &str| {
        format!(
            "{{oauth2: {{tokenURL: '{}/token', clientID: c, clientSecretFile: '{}'{more}}}}}",
            endpoint.url,
            at("secret").display()
        )
    };
    let settings = [
        oauth2(""),
        oauth2(", clientAuth: post"),
        "{sigv4: {region: us-east-1, roleARN: 'arn:aws:iam::1:role/r'}}".to_owned(),
    ];
    for (settings, level) in settings.iter().zip(LEVELS) {
        endpoint.play(refuses);
        backend.play(knows(&["m"], |_| Answer::Data(pods(&[("p", "1")]))));
        let mut command = loadline(&[
            "serve",
            "--standalone",
            "--secure-port=0",
            "--shutdown-delay=0s",
            "--cache-ttl=0",
            "--max-stale=0",
            "--metrics-relist-interval=1s",
            "--metrics-max-age=1m",
            &format!("--config={}", at("rules.yaml").display()),
            &format!("--prometheus-url={}", backend.url),
            &format!("--prometheus-auth={settings}"),
        ]);
        command.env("RUST_LOG", level).envs([
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_SESSION_TOKEN", FIRST_SESSION),
            ("AWS_ENDPOINT_URL_STS", endpoint.url.as_str()),
        ]);
        let mut process = Process::start(command, "cargo builds it");
        let port = process.port().await;
        let http =
            reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
        let get = async |path: &str| {
            let url = format!("https://127.0.0.1:{port}{path}");
            let response = http.get(url).send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        };
        let path = custom("namespaces/n/pods/*/m");
        let (status, body) = get(&path).await;
        assert!(status == 500 || status == 404, "{body}");
        assert_silent(&body, &secrets);
        endpoint.play(grants);
        until("values", async || (get(&path).await.0 == 200).then_some(())).await;
        endpoint.play(refuses);
        for number in 0..BACKEND_FAULTS {
            backend.play(knows(&["m"], move |asked| backend_fault(number, &repeats(asked))));
            let (status, body) = get(&path).await;
            assert_eq!(status, 500, "{body}");
            assert_silent(&body, &secrets);
        }
        assert_silent(&get("/metrics").await.1, &secrets);
        process.signal("TERM");
        let log = process.end().await.stderr;
        assert!(log.contains("cannot get credentials") && log.contains("[withheld]"), "{log}");
        assert_silent(&log, &secrets);
        assert!(!log.contains(&STANDARD.encode(format!("c:{CLIENT_SECRET}"))), "as it is sent");
    }
}
