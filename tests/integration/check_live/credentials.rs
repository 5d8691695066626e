//! Credentials that cannot be fetched.

use super::*;
use crate::support::token_endpoint::{SECRETS, oauth2, refusing};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_endpoint_that_refuses_is_found() {
    let stage = Stage::new(rules("")).await;
    let endpoint = Backend::start(refusing).await;
    for client_auth in ["post", "basic"] {
        let mut server = stage.server(&stage.rules);
        server.push(oauth2(stage.folder.path(), &endpoint, client_auth));
        let (code, stdout, stderr) = stage.run(&["-o=json"], &server).await;
        let records = serde_json::from_str(&stdout);
        let found =
            Found { code, records: records.unwrap_or_else(|error| panic!("{error}: {stderr}")) };
        found.is(
            1,
            &[
                ["backend/--prometheus-url", "error", "backend-unauthorized"],
                ["rules[0]", "warning", "not-checked"],
                ["externalRules[0]", "warning", "not-checked"],
            ],
        );
        let message = found.message("backend/--prometheus-url");
        assert!(message.contains("no credentials for Prometheus could be fetched"), "{message}");
        for text in [stdout, stderr] {
            assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
        }
    }
    assert!(!endpoint.take().is_empty(), "it was asked");
}
