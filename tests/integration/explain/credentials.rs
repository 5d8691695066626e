//! Credentials that cannot be fetched.

use super::*;
use crate::support::{
    backend::Backend,
    token_endpoint::{SECRETS, auth, oauth2, refusing, tells_of_refusal},
};

/// What the step says that has failed.
fn seen(answer: &Value) -> &str {
    let mut steps = answer["steps"].as_array().unwrap().iter();
    steps.find(|step| step["ok"] == false).unwrap()["seen"].as_str().unwrap()
}

#[tokio::test]
async fn a_token_endpoint_that_refuses_is_named() {
    let folder = folder();
    let (url, _task) = backend(StatusCode::OK, "").await;
    let endpoint = Backend::start(refusing).await;
    for client_auth in ["post", "basic"] {
        let flag = oauth2(folder.path(), &endpoint, client_auth);
        let arguments = ["pods/web-0", "ok", "-n=n", flag.as_str()];
        let mut command = asking(folder.path(), &url, &arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let [stdout, stderr] =
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        let answer = serde_json::from_str(&stdout);
        let answer: Value = answer.unwrap_or_else(|error| panic!("{error}: {stderr}"));
        is_named(&arguments, &answer, "backend-unauthorized");
        assert_eq!(output.status.code(), Some(1));
        let told = seen(&answer);
        assert!(tells_of_refusal(told) && told.contains("--prometheus-url: "), "{told}");
        for text in [stdout, stderr] {
            assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
        }
    }
    assert!(!endpoint.take().is_empty(), "it was asked");
}

/// Whether the metric is not discovered, or needs no discovery.
#[tokio::test]
async fn a_backend_whose_token_endpoint_refuses_is_named() {
    let folder = folder();
    let (url, _task) = backend(StatusCode::OK, "").await;
    let endpoint = Backend::start(refusing).await;
    let auth = auth(folder.path(), &endpoint, "basic");
    for more in ["", ", static: true, name: {as: ok}"] {
        let rules = format!(
            "backends: [{{name: pair, urls: ['{url}', 'http://127.0.0.1:1'], auth: {auth}}}]\nrules:\n- {{seriesQuery: ok, prometheus: pair, resources: {{overrides: {{namespace: {{resource: namespace}}, pod: {{resource: pod}}}}}}, metricsQuery: '<<.Series>>{{<<.LabelMatchers>>}}'{more}}}\n"
        );
        fs::write(folder.path().join("rules.yaml"), rules).unwrap();
        let allowed = format!("--backend-credentials-dir={}", folder.path().display());
        let arguments = ["pods/web-0", "ok", "-n=n", allowed.as_str()];
        let (answer, code) = explain(folder.path(), &url, &arguments).await;
        is_named(&arguments, &answer, "backend-unauthorized");
        assert_eq!(code, Some(1));
        let told = seen(&answer);
        assert!(tells_of_refusal(told) && told.contains("pair: "), "{more}: {told}");
        assert!(SECRETS.iter().all(|secret| !answer.to_string().contains(secret)), "{answer:#}");
    }
}
