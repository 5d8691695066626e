//! Credentials that cannot be fetched.

use super::*;
use crate::support::token_endpoint::{SECRETS, auth, oauth2, refusing, tells_of_refusal};

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
        let told = found.message("backend/--prometheus-url");
        assert!(tells_of_refusal(told), "{told}");
        for text in [stdout, stderr] {
            assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
        }
    }
    assert!(!endpoint.take().is_empty(), "it was asked");
}

/// Each server of a backend is named, and the other backends are checked.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_whose_token_endpoint_refuses_is_named() {
    let stage = Stage::new(rules("")).await;
    let endpoint = Backend::start(refusing).await;
    let servers = (Backend::start(knows(&[], |_| Answer::Hang)).await, &stage.prometheus);
    let auth = auth(stage.folder.path(), &endpoint, "post");
    let file = rules(&format!(
        "backends: [{{name: pair, urls: ['{}', '{}'], auth: {auth}}}]\n",
        servers.0.url, servers.1.url
    ));
    let file = file.replace("seriesQuery: jobs\n", "seriesQuery: jobs\n  prometheus: pair\n");
    let mut server = stage.server(&file);
    server.push(format!("--backend-credentials-dir={}", stage.folder.path().display()));
    let found = stage.found(&[], &server).await;
    found.is(
        1,
        &[
            ["backend/pair urls[0]", "error", "backend-unauthorized"],
            ["backend/pair urls[1]", "error", "backend-unauthorized"],
            ["externalRules[0]", "warning", "not-checked"],
        ],
    );
    for server in ["backend/pair urls[0]", "backend/pair urls[1]"] {
        assert!(tells_of_refusal(found.message(server)), "{found:?}");
    }
    assert!(found.message("backend/--prometheus-url").starts_with("answers"), "{found:?}");
    assert_eq!(servers.0.count(|_| true), 0, "nothing is sent without credentials");
}
