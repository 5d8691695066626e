//! Credentials that cannot be fetched.

use super::*;
use crate::support::{
    backend::Backend,
    token_endpoint::{SECRETS, oauth2, refusing},
};

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
        assert!(stdout.contains("no credentials for Prometheus could be fetched"), "{stdout}");
        for text in [stdout, stderr] {
            assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
        }
    }
    assert!(!endpoint.take().is_empty(), "it was asked");
}
