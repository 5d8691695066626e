//! Amazon: the chain of credentials, and requests that are signed with them.

use jiff::SignedDuration;
use loadline::core::cloud::sigv4::{self, Keys, Scope};

use super::*;

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
