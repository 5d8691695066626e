//! Several servers with credentials that are fetched, or behind TLS.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use loadline::core::rules::CredentialPolicy;

use super::*;
use crate::support::{
    tls::{Authority, behind_tls},
    token_endpoint::{SECRETS, auth, refusing, tells_of_refusal},
};

/// A server whose backend has this more, and may use the files of a folder.
fn launch_with(urls: &[&str], more: &str, folder: &Path) -> Launch {
    let rules = rules(urls).replace("timeout: 5s", &format!("timeout: 5s, {more}"));
    let mut launch = Launch::new(&rules, "http://127.0.0.1:1");
    let folders = [folder.to_owned()].into();
    launch.credentials = Arc::new(CredentialPolicy { folders, ..CredentialPolicy::default() });
    launch
}

/// Each token is another one.
async fn token_endpoint() -> Backend {
    let count = AtomicUsize::new(0);
    Backend::start(move |_| {
        let token = format!("token-{}", count.fetch_add(1, Ordering::SeqCst));
        let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600});
        Answer::Raw(200, "application/json", body.to_string())
    })
    .await
}

/// Any pod has this value for who has a token, but not this one.
fn says_to(value: &'static str, revoked: &str) -> impl Fn(&Asked) -> Answer + use<> {
    let (says, revoked) = (says(value), revoked.to_owned());
    move |asked| {
        let sent = asked.header("authorization");
        let is_known = sent.starts_with("Bearer token-") && sent != revoked;
        if is_known { says(asked) } else { raw(401, "") }
    }
}

/// None of them is ejected, and this one is in use.
async fn are_well(app: &App, urls: &[&str; 2], used: usize) {
    for url in urls {
        assert!(!is_ejected(app, url).await, "{url}");
    }
    assert_eq!(in_use(app, urls).await, Some(used));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_server_is_sent_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = token_endpoint().await;
    let (a, b) = (Backend::start(says_to("1", "")).await, Backend::start(says_to("2", "")).await);
    let urls = [a.url.as_str(), b.url.as_str()];
    let auth = format!("auth: {}", auth(folder.path(), &endpoint, "basic"));
    let app = launch_with(&urls, &auth, folder.path()).start().await;
    assert_eq!(value(&read(&app, "p").await), "1");
    until("the other one is probed", async || (b.count(Asked::is_probe) > 0).then_some(())).await;
    are_well(&app, &urls, 0).await;
    a.play(|_| raw(503, ""));
    assert_eq!(value(&read(&app, "p").await), "2");
    until("the other one is in use", async || (in_use(&app, &urls).await == Some(1)).then_some(()))
        .await;
    let asked = [a.take(), b.take()].concat();
    assert!(asked.iter().all(|asked| asked.header("authorization").starts_with("Bearer token-")));
    assert_eq!(endpoint.count(|_| true), 2, "once for each server");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_one_server_refuses_is_renewed_once_and_ejects_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = token_endpoint().await;
    let (a, b) = (Backend::start(says_to("1", "")).await, Backend::start(says_to("2", "")).await);
    let urls = [a.url.as_str(), b.url.as_str()];
    let auth = format!("auth: {}", auth(folder.path(), &endpoint, "post"));
    let app = launch_with(&urls, &auth, folder.path()).start().await;
    assert_eq!(value(&read(&app, "p").await), "1");
    until("the other one is probed", async || (b.count(Asked::is_probe) > 0).then_some(())).await;
    let sent = a.take().pop().expect("a query").header("authorization").to_owned();
    endpoint.take();
    b.take();
    a.play(says_to("1", &sent));
    let pods = ["p", "q", "r", "s", "t"];
    for reply in futures::future::join_all(pods.map(|pod| read(&app, pod))).await {
        assert_eq!(value(&reply), "1");
    }
    assert_eq!((endpoint.take().len(), b.count(is_read)), (1, 0));
    are_well(&app, &urls, 0).await;

    // Now it refuses every token, so that the token is not why.
    a.play(|_| raw(401, ""));
    for pod in pods {
        assert_eq!(value(&read(&app, pod).await), "2");
    }
    assert!(endpoint.take().is_empty(), "not again within half a minute");
    are_well(&app, &urls, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_no_server_is_asked_or_ejected() {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = Backend::start(refusing).await;
    let (a, b) = (Backend::start(says_to("1", "")).await, Backend::start(says_to("2", "")).await);
    let urls = [a.url.as_str(), b.url.as_str()];
    let auth = format!("auth: {}", auth(folder.path(), &endpoint, "post"));
    let mut launch = launch_with(&urls, &auth, folder.path());
    launch.relist_interval = Duration::from_millis(50);
    let app = launch.start().await;
    let reply = read(&app, "p").await;
    assert!(reply.status != 200 && tells_of_refusal(&reply.failure()), "{reply:?}");
    // It is not told while another attempt is under way.
    let ready = until("both servers are named", async || {
        let ready = app.get("/readyz?verbose").await.body;
        let is_named = |server: &str| {
            let mut lines = ready.lines().filter(|line| line.contains(server));
            lines.any(tells_of_refusal)
        };
        (is_named("pair urls[0]") && is_named("pair urls[1]")).then_some(ready)
    })
    .await;
    assert!(SECRETS.iter().all(|secret| !ready.contains(secret)), "{ready}");
    assert_eq!((a.count(|_| true), b.count(|_| true)), (0, 0));
    are_well(&app, &urls, 0).await;
    let tokens = json!({"access_token": "token-x", "token_type": "Bearer", "expires_in": 3600});
    endpoint.play(move |_| Answer::Raw(200, "application/json", tokens.to_string()));
    until("there are values", async || {
        let reply = read(&app, "p").await;
        (reply.status == 200 && value(&reply) == "1").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_certificate_is_not_trusted_is_left_and_its_cause_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, stranger) = (Authority::new(), Authority::new());
    let file = folder.path().join("ca.crt");
    fs::write(&file, ours.certificate.pem()).expect("a written file");
    let ca = format!("caFile: '{}'", file.display());
    let (a, b) = (Backend::start(says("1")).await, Backend::start(says("2")).await);
    let strange = || stranger.sign("127.0.0.1", |_| {});
    let (of_a, _a) = behind_tls(&a, strange(), None).await;
    let (of_b, _b) = behind_tls(&b, ours.sign("127.0.0.1", |_| {}), None).await;
    let (other, _other) = behind_tls(&a, strange(), None).await;
    let why = "unknown authority";

    let urls = [of_a.as_str(), of_b.as_str()];
    let app = launch_with(&urls, &ca, folder.path()).start().await;
    assert_eq!(value(&read(&app, "p").await), "2");
    assert_eq!(in_use(&app, &urls).await, Some(1));
    assert!(is_ejected(&app, &of_a).await);
    let ready = app.get("/readyz?verbose").await.body;
    let of_servers: Vec<_> = ready.lines().filter(|line| line.contains("pair urls[")).collect();
    let [told] = of_servers.as_slice() else { panic!("{ready}") };
    assert!(told.contains("pair urls[0]: no answer since ") && told.contains(why), "{told}");

    // A read of a pair of which none is trusted.
    let app = launch_with(&[&of_a, &other], &ca, folder.path()).start().await;
    let reply = read(&app, "p").await;
    assert!(reply.status != 200 && reply.failure().contains(why), "{reply:?}");
    assert_eq!(a.count(|_| true), 0, "nothing has come through");
}
