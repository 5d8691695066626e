//! Credentials that are fetched: what is sent to whom, when it is renewed, and what its failures cost.
//!
//! One scripted server is the backend, and another one is all endpoints of the clouds.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use loadline::{
    core::{
        cloud::sigv4::{self, Keys, Scope},
        rules::auth,
    },
    metrics::Metrics,
    prometheus::{AuthSettings, BackendHandle, Method, Replicas, Variables},
};
use serde_json::json;

use crate::support::{
    app::{App, Launch, custom},
    backend::{Answer, Asked, Backend, knows, pods},
    until,
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

/// The documents of the endpoints of AWS. The keys of each are told by their access key IDs.
fn aws(asked: &Asked, clock: Timestamp) -> Answer {
    let end = clock + SignedDuration::from_secs(3600);
    let keys = |id: &str| {
        let body = json!({"Code": "Success", "AccessKeyId": id, "SecretAccessKey": "secret-key", "Token": "session-token", "Expiration": end.to_string()});
        Answer::Raw(200, "application/json", body.to_string())
    };
    let text = |text: &str| Answer::Raw(200, "text/plain", text.to_owned());
    match asked.path.as_str() {
        "/latest/api/token" if asked.method == "PUT" => text("imds-session"),
        _ if asked.path.starts_with("/latest/")
            && asked.header("x-aws-ec2-metadata-token") != "imds-session" =>
        {
            Answer::Raw(401, "text/plain", String::new())
        }
        "/latest/meta-data/iam/security-credentials/" => text("node role\n"),
        "/latest/meta-data/iam/security-credentials/node%20role" => keys("INSTANCE"),
        "/v1/credentials" if asked.header("authorization") == "federated-token" => {
            keys("CONTAINER")
        }
        "/" => {
            let action = asked.parameter("Action");
            let id = match action {
                "AssumeRole" if is_genuine(asked, "us-east-1", "sts", clock) => "ROLE",
                "AssumeRoleWithWebIdentity"
                    if asked.parameter("WebIdentityToken") == "federated-token" => "WEB",
                _ => return Answer::Raw(403, "text/xml", "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>session-token</Message></Error></ErrorResponse>".to_owned()),
            };
            // STS has replies of two types, as it is asked for.
            if asked.headers.get_all("accept").iter().any(|accept| accept == "application/json") {
                let credentials = json!({"AccessKeyId": id, "SecretAccessKey": "secret-key", "SessionToken": "session-token", "Expiration": end.as_second()});
                let result = json!({format!("{action}Result"): {"Credentials": credentials}});
                let body = json!({format!("{action}Response"): result});
                return Answer::Raw(200, "application/json", body.to_string());
            }
            let body = format!(
                "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>secret-key</SecretAccessKey><SessionToken>session-token</SessionToken><Expiration>{end}</Expiration></Credentials></{action}Result></{action}Response>"
            );
            Answer::Raw(200, "text/xml", body)
        }
        _ => Answer::Raw(404, "text/plain", String::new()),
    }
}

/// Whether the signature of a request is good at a service whose clock says so.
fn is_genuine(asked: &Asked, region: &str, service: &str, clock: Timestamp) -> bool {
    let authorization = asked.header("authorization");
    let Some((_, rest)) = authorization.split_once("Credential=") else { return false };
    let (id, rest) = rest.split_once('/').unwrap();
    let (_, signed) = rest.split_once("SignedHeaders=").unwrap();
    let (signed, _) = signed.split_once(", ").unwrap();
    let date = asked.header("x-amz-date");
    let Ok(at) = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", date).and_then(|at| at.to_datetime())
    else {
        return false;
    };
    let at = at.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    let own = ["x-amz-date", "x-amz-security-token"];
    let headers: Vec<_> = signed
        .split(';')
        .filter(|name| !own.contains(name))
        .map(|name| (name, asked.header(name)))
        .collect();
    assert!(headers.iter().any(|(name, _)| *name == "host"), "{signed}");
    let session = asked.headers.get("x-amz-security-token");
    let keys = Keys {
        id: id.to_owned(),
        secret: "secret-key".to_owned().into(),
        session: session.map(|token| token.to_str().unwrap().to_owned().into()),
    };
    let request = sigv4::Request {
        method: asked.method.as_str(),
        path: &asked.path,
        query: &asked.query,
        headers: &headers,
        body: asked.body.as_bytes(),
    };
    let added = sigv4::sign(&request, &keys, Scope { region, service }, at);
    let is_sent_as_signed = sigv4::canonical_query(&asked.query) == asked.query;
    let is_now = clock.duration_since(at).abs() < SignedDuration::from_mins(5);
    is_now && is_sent_as_signed && added.last().unwrap().1 == authorization
}

/// A backend that takes requests with a good signature only, by its clock.
async fn amp(ahead: i64) -> Backend {
    let answer = knows(&["m"], |_| Answer::Data(pods(&[("p", "1")])));
    let backend = Backend::start(move |asked| {
        let clock = Timestamp::now() + SignedDuration::from_secs(ahead);
        if is_genuine(asked, "us-east-1", "aps", clock) {
            answer(asked)
        } else {
            let body = json!({"message": format!("Signature: {:?}", asked.headers)});
            Answer::Raw(403, "application/json", body.to_string())
        }
    })
    .await;
    backend.set_clock(ahead);
    backend
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_signed_with_the_first_credentials_of_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("federated"), "federated-token\n").unwrap();
    fs::write(at("credentials"), "[default]\naws_access_key_id = FILE\naws_secret_access_key = secret-key\n[other]\naws_access_key_id = OTHER\naws_secret_access_key = secret-key\n").unwrap();
    fs::write(
        at("config"),
        "[profile chained]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = other\n",
    )
    .unwrap();
    let endpoint = Backend::start(|asked| aws(asked, Timestamp::now())).await;
    let url = endpoint.url.as_str();
    let region = ("AWS_REGION", "us-east-1".to_owned());
    let instance = [region.clone(), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.to_owned())].to_vec();
    let sts = ("AWS_ENDPOINT_URL_STS", url.to_owned());
    let with =
        |variables: &[(&'static str, String)]| [&instance, &[sts.clone()][..], variables].concat();
    let container = with(&[
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{url}/v1/credentials")),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", at("federated")),
    ]);
    let files = [
        container.clone(),
        vec![("AWS_SHARED_CREDENTIALS_FILE", at("credentials")), ("AWS_CONFIG_FILE", at("config"))],
    ]
    .concat();
    let web = [
        files.clone(),
        vec![
            ("AWS_WEB_IDENTITY_TOKEN_FILE", at("federated")),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/w".to_owned()),
        ],
    ]
    .concat();
    let environment = [
        web.clone(),
        vec![
            ("AWS_ACCESS_KEY_ID", "ENVIRONMENT".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret-key".to_owned()),
        ],
    ]
    .concat();
    let role = "sigv4: {roleARN: 'arn:aws:iam::1:role/r', externalID: e}";
    for (settings, variables, wanted) in [
        ("sigv4: {}", &instance, "INSTANCE"),
        ("sigv4: {}", &container, "CONTAINER"),
        ("sigv4: {}", &files, "FILE"),
        ("sigv4: {}", &web, "WEB"),
        ("sigv4: {}", &environment, "ENVIRONMENT"),
        ("sigv4: {profile: other}", &environment, "OTHER"),
        ("sigv4: {profile: chained}", &environment, "ROLE"),
        (role, &environment, "ROLE"),
        (role, &web, "ROLE"),
    ] {
        for method in [Method::Get, Method::Post] {
            let backend = amp(0).await;
            let variables: Vec<_> =
                variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let mut launch = launch(&backend, settings, &variables);
            launch.prometheus.method = method;
            let app = launch.start().await;
            let (status, body) = read(&app).await;
            assert_eq!(status, 200, "{settings} {wanted}: {body}");
            let asked = backend.take();
            let query = asked.iter().find(|asked| asked.is_query()).unwrap();
            assert!(
                query.header("authorization").contains(&format!("Credential={wanted}/")),
                "{query:?}"
            );
            let is_temporary = !["FILE", "OTHER", "ENVIRONMENT"].contains(&wanted);
            let session = if is_temporary { "session-token" } else { "" };
            assert_eq!(query.header("x-amz-security-token"), session);
            app.stop().await;
        }
    }
    let asked = endpoint.take();
    for asked in &asked {
        has_each_header_once(asked);
        if asked.path == "/" {
            assert_eq!(asked.header("accept"), "text/xml", "{asked:?}");
        }
    }
    let external = asked.iter().find(|asked| !asked.parameter("ExternalId").is_empty());
    assert_eq!(external.unwrap().parameter("ExternalId"), "e");
}

/// Signatures that are made by another clock than AWS's are refused, and the answer says what time it is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_costs_one_request() {
    for ahead in [1200, -1200] {
        let endpoint = Backend::start(move |asked| {
            aws(asked, Timestamp::now() + SignedDuration::from_secs(ahead))
        })
        .await;
        endpoint.set_clock(ahead);
        let variables = [
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "ENVIRONMENT"),
            ("AWS_SECRET_ACCESS_KEY", "secret-key"),
            ("AWS_ENDPOINT_URL_STS", endpoint.url.as_str()),
        ];
        for (settings, wanted) in
            [("sigv4: {}", "ENVIRONMENT"), ("sigv4: {roleARN: 'arn:aws:iam::1:role/r'}", "ROLE")]
        {
            let backend = amp(ahead).await;
            let app = launch(&backend, settings, &variables).start().await;
            for _ in 0..3 {
                let (status, body) = read(&app).await;
                assert_eq!(status, 200, "{ahead} {settings}: {body}");
            }
            let queries = backend.take();
            assert!(queries.iter().all(|asked| asked.header("authorization").contains(wanted)));
            assert!(queries.len() <= 4, "{ahead} {settings}: {}", queries.len());
            app.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_renewed_once() {
    let folder = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    let endpoint = Backend::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        token(&format!("access-token-{number}"), 3600)
    })
    .await;
    let settings = oauth2(folder.path(), &endpoint, "");
    let backend = taking("access-token-1").await;
    let app = launch(&backend, &settings, &[]).start().await;
    let reads = futures::future::join_all((0..20).map(|_| read(&app))).await;
    assert!(reads.iter().all(|(status, _)| *status == 200), "{reads:?}");
    assert_eq!(endpoint.take().len(), 2, "the first token, and one in its place");
    // Now every token is refused: it is not the token.
    backend.play(|_| Answer::Raw(401, "text/plain", String::new()));
    for _ in 0..5 {
        let (status, body) = read(&app).await;
        assert_eq!(status, 500, "{body}");
        assert!(body.contains("401"), "{body}");
    }
    assert!(endpoint.take().is_empty(), "not again within half a minute");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_without_tokens_costs_the_rules_of_the_backend() {
    let folder = tempfile::tempdir().unwrap();
    let said = |asked: &Asked| format!("{} {:?}", asked.parameter("client_secret"), asked.headers);
    let is_hanging = Arc::new(AtomicBool::new(false));
    for number in 0..6 {
        let hang = Arc::clone(&is_hanging);
        let endpoint = Backend::start(move |asked| match number {
            0 => {
                let body = json!({"error": "invalid_client", "error_description": said(asked)});
                Answer::Raw(401, "application/json", body.to_string())
            }
            1 => Answer::Raw(502, "text/html", format!("<html>{}", said(asked))),
            2 => Answer::Raw(200, "application/json", json!({"token": said(asked)}).to_string()),
            3 => Answer::Endless(8 << 20),
            4 => Answer::Redirect(302, "/elsewhere".to_owned()),
            _ => {
                hang.store(true, Ordering::SeqCst);
                Answer::Hang
            }
        })
        .await;
        let backend = taking("access-token").await;
        let more = ", clientAuth: post";
        let settings = oauth2(folder.path(), &endpoint, more);
        let app = launch(&backend, &settings, &[]).start().await;
        endpoint.take();
        let reads = futures::future::join_all((0..20).map(|_| read(&app))).await;
        for (status, body) in &reads {
            assert_eq!(*status, 500, "{number}: {body}");
            assert!(body.contains("no credentials for Prometheus could be fetched"), "{body}");
            assert!(!body.contains("127.0.0.1"), "{body}");
        }
        assert!(endpoint.take().len() <= 1, "one attempt for all");
        assert_eq!(backend.count(|_| true), 0, "nothing is sent without credentials");
        let health = app.get("/readyz?verbose").await.body;
        assert!(health.contains("no credentials for Prometheus could be fetched"), "{health}");
        let metrics = app.get("/metrics").await.body;
        assert!(metrics.contains("outcome=\"credentials\""), "{metrics}");
        for text in reads.iter().map(|(_, body)| body).chain([&health, &metrics]) {
            assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
        }
        // It recovers with the endpoint.
        endpoint.play(|_| token("access-token", 3600));
        until("values again", async || (read(&app).await.0 == 200).then_some(())).await;
        let health = app.get("/readyz?verbose").await.body;
        assert!(!health.contains("no credentials"), "{health}");
        app.stop().await;
    }
    assert!(is_hanging.load(Ordering::SeqCst));
}

/// Tokens of half a minute: one is renewed before it ends, so that no read waits, and one whose endpoint is away is used to its end. It
/// takes that long.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_renewed_before_its_end_and_good_until_then() {
    let folder = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    let renewing = Backend::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        token(&format!("access-token-{number}"), 30)
    })
    .await;
    let failing = Backend::start(|_| token("access-token", 30)).await;
    let backends = (backend().await, backend().await);
    let apps = (
        launch(&backends.0, &oauth2(folder.path(), &renewing, ""), &[]).start().await,
        launch(&backends.1, &oauth2(folder.path(), &failing, ""), &[]).start().await,
    );
    assert_eq!((read(&apps.0).await.0, read(&apps.1).await.0), (200, 200));
    let started = std::time::Instant::now();
    failing.play(|_| Answer::Raw(500, "text/plain", String::new()));
    backends.0.take();
    until("a new token is sent", async || {
        let (status, body) = read(&apps.0).await;
        assert_eq!(status, 200, "{body}");
        let asked = backends.0.take();
        asked
            .iter()
            .any(|asked| asked.header("authorization") == "Bearer access-token-1")
            .then_some(())
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(24), "nobody has waited for its end");
    until("the end of the token", async || {
        let (status, body) = read(&apps.1).await;
        let is_over = started.elapsed() > Duration::from_secs(23);
        assert!(status == 200 || is_over, "{:?}: {body}", started.elapsed());
        (status == 500).then_some(())
    })
    .await;
    assert!(failing.count(|_| true) > 1, "it has been tried before");
    apps.0.stop().await;
    apps.1.stop().await;
}

/// It takes as long as one attempt may.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_hangs_is_told_and_nobody_waits_twice_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = Backend::start(|_| Answer::Hang).await;
    let backend = taking("access-token").await;
    let found = "- {seriesQuery: 'd{}', resources: {overrides: {ns: {resource: namespace}, pod: {resource: pod}}}, metricsQuery: '<<.Series>>{<<.LabelMatchers>>}'}\n";
    let rules = format!("{RULE}{found}");
    let settings = oauth2(folder.path(), &endpoint, "");
    let mut launch = launch_with(&rules, &backend, &settings, &[]);
    launch.prometheus.discovery_timeout = Duration::from_millis(500);
    let app = launch.start().await;
    let cause = "no credentials for Prometheus could be fetched";
    let discovery = async || {
        let health = app.get("/readyz?verbose").await.body;
        assert!(!health.contains("no answer"), "{health}");
        health.contains(cause).then_some(())
    };
    until("discovery knows why it has failed", discovery).await;
    assert_eq!(endpoint.count(|_| true), 1);
    let (status, body) = read(&app).await;
    assert!(status == 500 && body.contains(cause), "{status} {body}");
    assert_eq!(backend.count(|_| true), 0, "the backend is not in doubt");

    let reads = until("no read ends otherwise", async || {
        let (status, body) = read(&app).await;
        assert!(status == 500 && body.contains(cause), "{status} {body}");
        None::<()>
    });
    let second = async {
        until("another attempt", async || (endpoint.count(|_| true) == 2).then_some(())).await;
        let other = custom("namespaces/n/pods/q/m");
        let reply = tokio::time::timeout(Duration::from_secs(5), app.get(&other)).await;
        let reply = reply.expect("it does not wait for the attempt");
        assert!(reply.status == 500 && reply.body.contains(cause), "{}", reply.body);
        let health = app.get("/readyz?verbose").await.body;
        assert!(health.contains(&format!("--prometheus-url: {cause}")), "{health}");
        assert_eq!(endpoint.count(|_| true), 2, "it is still under way");
    };
    tokio::select! {
        () = reads => {}
        () = second => {}
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_that_has_credentials_is_asked_while_those_of_the_first_are_awaited() {
    let folder = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    let endpoint = Backend::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::Hang,
        _ => token("access-token", 3600),
    })
    .await;
    let (first, second) = (taking("access-token").await, taking("access-token").await);
    let mut launch = launch(&first, &oauth2(folder.path(), &endpoint, ""), &[]);
    launch.prometheus.query_timeout = Duration::from_secs(4);
    launch.prometheus.others = vec![("second".to_owned(), second.url.parse().unwrap(), None)];
    let app = launch.start().await;
    let reply = tokio::time::timeout(Duration::from_secs(4), read(&app)).await;
    let (status, body) = reply.expect("it is in time");
    assert_eq!(status, 200, "{body}");
    assert_eq!(first.count(|_| true), 0, "it has no credentials");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_backend_is_is_asked_again_with_a_token_in_place_of_a_refused_one() {
    let folder = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    let endpoint = Backend::start(move |_| {
        token(&format!("access-token-{}", count.fetch_add(1, Ordering::SeqCst)), 3600)
    })
    .await;
    let backend = Backend::start(|asked| {
        if asked.header("authorization") == "Bearer access-token-1" {
            Answer::Data(json!({"version": "3.1.0"}))
        } else {
            Answer::Raw(401, "text/plain", String::new())
        }
    })
    .await;
    let config = launch(&backend, &oauth2(folder.path(), &endpoint, ""), &[]).prometheus;
    let replicas = Replicas::new(config, &Arc::new(Metrics::default())).unwrap();
    let handle = BackendHandle::new(Arc::new(replicas), Vec::new(), None);
    handle.build_info().await.unwrap();
    assert_eq!(backend.count(|_| true), 2);
}
