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

/// Whoever checks has no log of a server to look into.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_credentials_on_this_machine_is_told() {
    let stage = Stage::new(rules("")).await;
    let folder = stage.folder.path();
    let url = &stage.prometheus.url;
    let key = folder.join("key.json");
    fs::write(&key, "{\"private_key\": \"hidden\"").unwrap();
    let key = key.display().to_string();
    let absent = folder.join("absent").display().to_string();
    let two = folder.join("two").display().to_string();
    fs::write(&two, "hidden\nhidden\n").unwrap();
    for (auth, wanted) in [
        (format!("{{bearer: {{tokenFile: '{absent}'}}}}"), absent.as_str()),
        (format!("{{google: {{credentialsFile: '{key}'}}}}"), key.as_str()),
        (format!("{{bearer: {{tokenFile: '{two}'}}}}"), "line break"),
        ("{sigv4: {}}".to_owned(), "AWS_REGION"),
    ] {
        let file = rules(&format!("backends: [{{name: b, url: '{url}', auth: {auth}}}]\n"));
        let file = file.replace("seriesQuery: jobs\n", "seriesQuery: jobs\n  prometheus: b\n");
        let mut server = stage.server(&file);
        server.push(format!("--backend-credentials-dir={}", folder.display()));
        server.push("--cloud-auth-hosts=127.0.0.1".to_owned());
        let found = stage.found(&[], &server).await;
        let told = found.message("backend/b");
        assert!(told.contains(wanted), "{told}");
        assert!(!format!("{found:?}").contains("hidden"), "{found:?}");
    }
}
