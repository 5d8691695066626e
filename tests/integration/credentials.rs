//! What backends of the rules file may use of the credentials that the process can read, and where they are sent.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc};

use loadline::{
    core::rules::{self, CredentialPolicy},
    metrics::Metrics,
    prometheus::{Config, Prometheus},
};

use crate::support::{
    app::{App, Launch, custom},
    backend::{Answer, Asked, Backend, knows, pods},
    install_tls_provider,
    process::Process,
    until,
};

/// Two rules: `m` of the backend of the flags, and one of the series `m` of another backend, that gives `stolen`.
fn file(backend: &str, more: &str) -> String {
    let rule = |more: &str| {
        format!(
            "- {{seriesQuery: 'm{{}}', resources: {{overrides: {{ns: {{resource: namespace}}, pod: {{resource: pod}}}}}}, metricsQuery: '<<.Series>>{{<<.LabelMatchers>>}}'{more}}}\n"
        )
    };
    let stolen = rule(&format!(", name: {{as: stolen}}, prometheus: thief{more}"));
    format!("backends:\n- {{name: thief, {backend}}}\nrules:\n{}{stolen}", rule(""))
}

async fn backend() -> Backend {
    Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("p", "1")])))).await
}

async fn read(app: &App, metric: &str) -> (u16, String) {
    let reply = app.get(&custom(&format!("namespaces/n/pods/p/{metric}"))).await;
    (reply.status.as_u16(), reply.body)
}

/// A policy that allows the files of a folder.
fn allows(folder: &Path) -> Arc<CredentialPolicy> {
    let folders = [folder.to_owned()].into();
    Arc::new(CredentialPolicy { folders, ..CredentialPolicy::default() })
}

/// Why the backend of a file cannot be used.
fn refusal(text: &str, policy: &CredentialPolicy) -> String {
    let rules = rules::load(text).unwrap();
    let flags = Config::new("https://host").unwrap();
    let config = Config::of_file(&rules.backends[0], &flags, policy);
    let connected =
        config.and_then(|config| Prometheus::new(config, &Arc::new(Metrics::default())));
    connected.map(drop).unwrap_err().to_string()
}

fn kubeconfig(user: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: k, user: u}}}}], clusters: [], users: [{{name: u, user: {{{user}}}}}]}}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_may_not_use_what_it_names_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("allowed")).unwrap();
    fs::write(at("secret"), "stolen").unwrap();
    symlink("../secret", at("allowed/link")).unwrap();
    let config = |user: &str| kubeconfig(user);
    fs::write(at("kubeconfig"), config("token: stolen")).unwrap();
    fs::write(at("allowed/names"), config("tokenFile: ../secret")).unwrap();
    let program = at("program-was-run");
    let exec = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: touch, args: ['{}']}}",
        program.display()
    );
    fs::write(at("allowed/runs"), config(&exec)).unwrap();
    let key = |key: &str, name: &str| format!("{key}: '{}'", at(name).display());
    let cases = [
        (key("tokenFile", "secret"), "--backend-credentials-dir"),
        (key("tokenFile", "allowed/../secret"), "--backend-credentials-dir"),
        (key("tokenFile", "allowed/link"), "--backend-credentials-dir"),
        (key("caFile", "allowed/link"), "--backend-credentials-dir"),
        (key("authConfig", "kubeconfig"), "--backend-credentials-dir"),
        (key("authConfig", "allowed/names"), "--backend-credentials-dir"),
        (key("authConfig", "allowed/runs"), "by a program"),
        ("authInCluster: true".to_owned(), "--in-cluster-auth-hosts"),
        (
            format!("auth: {{bearer: {{{}}}}}", key("tokenFile", "secret")),
            "--backend-credentials-dir",
        ),
        (
            format!("auth: {{basic: {{username: u, {}}}}}", key("passwordFile", "allowed/link")),
            "--backend-credentials-dir",
        ),
        ("auth: {sigv4: {region: eu-west-1}}".to_owned(), "--cloud-auth-hosts"),
        ("auth: {entra: {}}".to_owned(), "--cloud-auth-hosts"),
        ("auth: {google: {}}".to_owned(), "--cloud-auth-hosts"),
        (key("tokenFile", "allowed/none"), "No such file"),
    ];
    let (own, thief) = (backend().await, backend().await);
    for (key, wanted) in cases {
        for more in ["", ", static: true"] {
            let text = file(&format!("url: '{}', {key}", thief.url), more);
            let mut launch = Launch::new(&text, &own.url);
            launch.credentials = allows(&at("allowed"));
            let app = launch.start().await;
            assert_eq!(read(&app, "m").await.0, 200, "{key}");
            let (status, body) = read(&app, "stolen").await;
            assert_eq!(status, 500, "{key}: {body}");
            let explained = "namespaces/n/explanations/stolen?resource=pods&name=p";
            let explained = app.get(&custom(explained)).await.body;
            assert!(explained.contains("cannot be used"), "{key}: {explained}");
            let health = app.get("/readyz?verbose").await.body;
            for told in [body, explained, health] {
                assert!(!told.contains(folder.path().to_str().unwrap()), "{told}");
            }
            app.stop().await;
            let error = refusal(&text, &allows(&at("allowed")));
            assert!(error.contains(wanted) && !error.contains("stolen"), "{key}: {error}");
        }
    }
    assert_eq!(thief.count(|_| true), 0, "{:#?}", thief.take());
    assert!(!program.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // As Kubernetes mounts a Secret.
    fs::create_dir(at("..2026")).unwrap();
    symlink("..2026", at("..data")).unwrap();
    fs::write(at("..2026/token"), "good\n").unwrap();
    fs::write(at("..2026/kubeconfig"), kubeconfig("tokenFile: token")).unwrap();
    for name in ["token", "kubeconfig"] {
        symlink(Path::new("..data").join(name), at(name)).unwrap();
    }
    let (own, other) = (backend().await, backend().await);
    for (key, name) in [("tokenFile", "token"), ("authConfig", "kubeconfig")] {
        let text = file(&format!("url: '{}', {key}: '{}'", other.url, at(name).display()), "");
        let mut launch = Launch::new(&text, &own.url);
        launch.credentials = allows(folder.path());
        let app = launch.start().await;
        assert_eq!(read(&app, "stolen").await.0, 200, "{key}");
        let asked = other.take();
        assert!(asked.iter().any(Asked::is_query), "{asked:#?}");
        assert!(asked.iter().all(|asked| asked.header("authorization") == "Bearer good"));
        assert!(own.take().iter().all(|asked| asked.header("authorization").is_empty()));
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_do_not_follow_redirects_to_another_server() {
    let thief = backend().await;
    let own = backend().await;
    let mut launch = Launch::new(
        &file(&format!("url: '{}'", own.url), ", static: true, headers: {X-Scope-OrgID: secret}"),
        &own.url.replace("://", "://user:secret@"),
    );
    launch.prometheus.add_header("X-Secret=secret").unwrap();
    let app = launch.start().await;
    for status in [301, 302, 303, 307, 308] {
        let to = thief.url.clone();
        own.play(move |asked| Answer::Redirect(status, format!("{to}{}", asked.path)));
        for metric in ["m", "stolen"] {
            own.take();
            assert_eq!(read(&app, metric).await.0, 500, "{status} {metric}");
            assert_eq!(own.count(Asked::is_query), 1, "{status} {metric}");
        }
    }
    assert_eq!(thief.count(|_| true), 0, "{:#?}", thief.take());
    app.stop().await;
}

/// Only rules of the refused backend fail, whether it was there at the start or came by a change of the file; with `--strict`
/// there is no start.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_cannot_have_the_service_account_sent_away() {
    let (own, thief) = (backend().await, backend().await);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    let harmless = file(&format!("url: '{}'", thief.url), "");
    let hostile = file(&format!("url: '{}', authInCluster: true", thief.url), "");
    fs::write(&path, &harmless).unwrap();
    let arguments = [
        "serve".to_owned(),
        "--standalone".to_owned(),
        "--secure-port=0".to_owned(),
        format!("--config={}", path.display()),
        format!("--prometheus-url={}", own.url),
    ];
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let server = Process::loadline(&arguments);
    let has = async |text: &str| {
        until(text, async || server.stderr().contains(text).then_some(())).await;
    };
    has("serving").await;
    fs::write(&path, &hostile).unwrap();
    server.signal("HUP");
    has("--in-cluster-auth-hosts").await;
    has("has changed and is in use").await;
    let strict = Process::loadline(&[&arguments[..], &["--strict"]].concat()).end().await;
    assert_eq!(strict.code, Some(1), "{}", strict.stderr);
    assert!(strict.stderr.contains("--in-cluster-auth-hosts"), "{}", strict.stderr);
    let other = "--in-cluster-auth-hosts=https://host";
    let unusable = Process::loadline(&[&arguments[..], &[other]].concat()).end().await;
    assert_eq!(unusable.code, Some(2), "{}", unusable.stderr);
    assert!(unusable.stderr.contains("HOST:PORT"), "{}", unusable.stderr);
}

/// Each of these would be sent as something else than people see in the file, or as nothing.
#[test]
fn files_that_hold_no_credential_are_named() {
    install_tls_provider();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let policy = allows(folder.path());
    let line = |key: &str| {
        let url = "url: 'https://h.example'";
        match key.split('.').collect::<Vec<_>>().as_slice() {
            ["auth", "basic", key] => {
                format!("{url}, auth: {{basic: {{username: u, {key}: PATH}}}}")
            }
            ["auth", "oauth2", key] => format!(
                "{url}, auth: {{oauth2: {{tokenURL: 'https://h.example/t', clientID: c, {key}: PATH}}}}"
            ),
            ["auth", kind, key] => format!("{url}, auth: {{{kind}: {{{key}: PATH}}}}"),
            _ => format!("{url}, {key}: PATH"),
        }
    };
    for key in [
        "tokenFile",
        "auth.bearer.tokenFile",
        "auth.basic.passwordFile",
        "auth.oauth2.clientSecretFile",
        "auth.entra.clientSecretFile",
    ] {
        let path = path.display().to_string();
        let text = file(&line(key).replace("PATH", &format!("'{path}'")), "");
        let policy = CredentialPolicy {
            cloud_hosts: vec!["h.example".parse().unwrap()],
            ..(*policy).clone()
        };
        for (content, wanted) in [
            ("", "empty"),
            (" \n", "empty"),
            ("\u{feff}hidden", "byte order mark"),
            ("hidden\nhidden", "line break"),
        ] {
            fs::write(&path, content).unwrap();
            let refused = refusal(&text, &policy);
            let is_named = [key, path.as_str(), wanted].iter().all(|it| refused.contains(it));
            assert!(is_named && !refused.contains("hidden"), "{refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_place_of_its_path_is_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    fs::write(&rules, "rules: []\n").unwrap();
    let rules = format!("--config={}", rules.display());
    for flag in ["--prometheus-token-file=", "--prometheus-auth-config="] {
        let given = format!("{flag}eyINLINESECRET");
        let mut command = crate::support::process::loadline(&[
            "serve",
            "--standalone",
            "--secure-port=0",
            &rules,
            &given,
        ]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && !said.contains("SECRET"), "{said}");
        assert!(said.contains("looks like a token"), "{said}");
    }
}
