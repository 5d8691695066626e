//! Credentials that are fetched: what is sent to whom, when it is renewed, and what its failures cost.
//!
//! One scripted server is the backend, and another one is all endpoints of the clouds.

mod aws;
mod renewals;

use std::{fs, path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use loadline::{
    core::rules::auth,
    prometheus::{AuthSettings, Method, Variables},
};
use serde_json::json;

use crate::support::{
    app::{App, Launch, custom},
    backend::{Answer, Asked, Backend, knows, pods},
};

const RULE: &str = "rules:\n- {seriesQuery: 'm{}', resources: {overrides: {ns: {resource: namespace}, pod: {resource: pod}}}, metricsQuery: '<<.Series>>{<<.LabelMatchers>>}', static: true, name: {as: m}}\n";

const PATH: &str = "namespaces/n/pods/p/m";

/// The secrets that these tests send, and the tokens that they get.
const SECRETS: [&str; 5] =
    ["client-secret", "federated-token", "secret-key", "session-token", "access-token"];

fn launch(backend: &Backend, auth: &str, variables: &[(&str, &str)]) -> Launch {
    launch_with(RULE, backend, auth, variables)
}

fn launch_with(rules: &str, backend: &Backend, auth: &str, variables: &[(&str, &str)]) -> Launch {
    let mut launch = Launch::new(rules, &backend.url);
    launch.prometheus.add_auth(AuthSettings::of_flags(auth::load(auth).unwrap()));
    launch.prometheus.variables = Arc::new(Variables::read(|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    }));
    launch
}

async fn backend() -> Backend {
    Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("p", "1")])))).await
}

/// A backend that takes one token only, and refuses every other with 401.
async fn taking(token: &'static str) -> Backend {
    let good = format!("Bearer {token}");
    let answer = knows(&["m"], |_| Answer::Data(pods(&[("p", "1")])));
    Backend::start(move |asked| {
        if asked.header("authorization") == good {
            answer(asked)
        } else {
            Answer::Raw(401, "text/plain", format!("no: {}", asked.header("authorization")))
        }
    })
    .await
}

fn token(token: &str, seconds: u64) -> Answer {
    let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": seconds});
    Answer::Raw(200, "application/json", body.to_string())
}

async fn read(app: &App) -> (u16, String) {
    let reply = app.get(&custom(PATH)).await;
    (reply.status.as_u16(), reply.body)
}

fn oauth2(folder: &Path, endpoint: &Backend, more: &str) -> String {
    fs::write(folder.join("secret"), "client-secret\n").unwrap();
    let secret = folder.join("secret");
    let (url, secret) = (&endpoint.url, secret.display());
    format!(
        "oauth2: {{tokenURL: '{url}/token?a=b', clientID: 'the client', clientSecretFile: '{secret}'{more}}}"
    )
}

/// Reads with these settings. All readers cause one request to the endpoint, which is returned.
async fn asked(endpoint: &Backend, settings: &str, variables: &[(&str, &str)]) -> Asked {
    let backend = taking("access-token").await;
    let app = launch(&backend, settings, variables).start().await;
    let reads = futures::future::join_all((0..20).map(|_| read(&app))).await;
    assert!(reads.iter().all(|(status, _)| *status == 200), "{settings}: {reads:?}");
    app.stop().await;
    let mut asked = endpoint.take();
    assert_eq!(asked.len(), 1, "{settings}: {asked:#?}");
    let asked = asked.remove(0);
    let accept = if asked.method == http::Method::POST { "application/json" } else { "*/*" };
    assert_eq!(asked.header("accept"), accept, "{settings}");
    has_each_header_once(&asked);
    asked
}

#[track_caller]
fn has_each_header_once(asked: &Asked) {
    for name in asked.headers.keys() {
        let count = asked.headers.get_all(name).iter().count();
        assert_eq!(count, 1, "{} {name}: {asked:?}", asked.path);
    }
}

#[track_caller]
fn is_asked(asked: &Asked, wanted: &str, parameters: &[(&str, &str)]) {
    assert_eq!(format!("{} {}", asked.method, asked.path), wanted);
    for (name, value) in parameters {
        assert_eq!(asked.parameter(name), *value, "{wanted}: {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_known_by_their_secret() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = Backend::start(|_| token("access-token", 3600)).await;
    let sent = asked(&endpoint, &oauth2(folder.path(), &endpoint, ""), &[]).await;
    let grant = ("grant_type", "client_credentials");
    is_asked(&sent, "POST /token", &[grant, ("a", "b"), ("client_secret", ""), ("scope", "")]);
    // RFC 6749 encodes both before they are joined.
    assert_eq!(sent.header("authorization"), "Basic dGhlK2NsaWVudDpjbGllbnQtc2VjcmV0");

    let more = ", clientAuth: post, scopes: [x, y], endpointParams: {audience: me}";
    let sent = asked(&endpoint, &oauth2(folder.path(), &endpoint, more), &[]).await;
    let client = [("client_id", "the client"), ("client_secret", "client-secret")];
    is_asked(
        &sent,
        "POST /token",
        &[&[grant, ("scope", "x y"), ("audience", "me")], &client[..]].concat(),
    );
    assert_eq!(sent.header("authorization"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn entra_is_asked_by_what_the_process_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("federated"), "federated-token\n").unwrap();
    fs::write(at("secret"), "client-secret\n").unwrap();
    let endpoint = Backend::start(|_| token("access-token", 3600)).await;
    let (file, authority) = (at("federated"), format!("{}/", endpoint.url));
    let variables = [
        ("AZURE_FEDERATED_TOKEN_FILE", file.as_str()),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_AUTHORITY_HOST", authority.as_str()),
    ];
    let sent = asked(&endpoint, "entra: {}", &variables).await;
    let assertion = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    is_asked(
        &sent,
        "POST /tenant/oauth2/v2.0/token",
        &[
            ("grant_type", "client_credentials"),
            ("client_id", "app"),
            ("client_assertion", "federated-token"),
            ("client_assertion_type", assertion),
            ("scope", "https://prometheus.monitor.azure.com/.default"),
        ],
    );

    let settings = format!(
        "entra: {{tenantID: t.example, clientID: c, clientSecretFile: '{}', scope: s}}",
        at("secret")
    );
    let sent = asked(&endpoint, &settings, &variables).await;
    is_asked(
        &sent,
        "POST /t.example/oauth2/v2.0/token",
        &[("client_id", "c"), ("client_secret", "client-secret"), ("scope", "s")],
    );

    let metadata = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", endpoint.url.as_str())];
    let sent = asked(&endpoint, "entra: {clientID: c, cloud: government}", &metadata).await;
    is_asked(
        &sent,
        "GET /metadata/identity/oauth2/token",
        &[
            ("api-version", "2018-02-01"),
            ("client_id", "c"),
            ("resource", "https://prometheus.monitor.azure.us"),
        ],
    );
    assert_eq!(sent.header("metadata"), "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn google_is_asked_by_the_metadata_server_or_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = Backend::start(|_| token("access-token", 3600)).await;
    let host = endpoint.url.trim_start_matches("http://");
    let sent = asked(&endpoint, "google: {}", &[("GCE_METADATA_HOST", host)]).await;
    let path = "GET /computeMetadata/v1/instance/service-accounts/default/token";
    is_asked(&sent, path, &[("scopes", "https://www.googleapis.com/auth/monitoring.read")]);
    assert_eq!(sent.header("metadata-flavor"), "Google");

    let key = json!({
        "type": "service_account", "client_email": "a@p.iam.gserviceaccount.com",
        "private_key_id": "k1", "token_uri": format!("{}/google", endpoint.url),
        "private_key": include_str!("../vectors/rfc7515-rsa.pem"),
    });
    let file = folder.path().join("key.json").display().to_string();
    fs::write(&file, key.to_string()).unwrap();
    let variables = [("GOOGLE_APPLICATION_CREDENTIALS", file.as_str())];
    let named = format!("google: {{credentialsFile: '{file}', scopes: [a, b]}}");
    for (settings, variables) in [(named.as_str(), &[][..]), ("google: {}", &variables)] {
        let sent = asked(&endpoint, settings, variables).await;
        let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        is_asked(&sent, "POST /google", &[("grant_type", grant)]);
        is_signed(sent.parameter("assertion"), &endpoint.url);
    }
}

/// Whether an assertion is what a service account says, signed with its key.
fn is_signed(assertion: &str, url: &str) {
    let parts: Vec<_> =
        assertion.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    let claims: serde_json::Value = serde_json::from_slice(&parts[1]).unwrap();
    assert_eq!(claims["iss"], "a@p.iam.gserviceaccount.com");
    assert_eq!(claims["aud"], format!("{url}/google"));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    assert!((Timestamp::now().as_second() - claims["iat"].as_i64().unwrap()).abs() < 60);
    assert_eq!(parts[2].len(), 256);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_tokens_of_files_are_sent_as_in_the_older_form() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "in file\n").unwrap();
    let path = path.display();
    for (auth, wanted) in [
        (
            format!("basic: {{username: us er, passwordFile: '{path}'}}"),
            "Basic dXMgZXI6aW4gZmlsZQ==",
        ),
        (format!("bearer: {{tokenFile: '{path}'}}"), "Bearer in file"),
    ] {
        let backend = backend().await;
        let app = launch(&backend, &auth, &[]).start().await;
        assert_eq!(read(&app).await.0, 200);
        let asked = backend.take();
        assert!(!asked.is_empty());
        assert!(asked.iter().all(|asked| asked.header("authorization") == wanted), "{asked:#?}");
        app.stop().await;
    }
}
