use std::{
    future::IntoFuture as _,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{Json, Router};
use http::HeaderValue;
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::core::rules::auth;

/// A token endpoint that replies when it is told to.
struct Gated {
    replies: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
    authenticator: Authenticator,
    _secret: tempfile::NamedTempFile,
    _server: AbortOnDropHandle<()>,
}

impl Gated {
    async fn start() -> Self {
        rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
        let (replies, asked) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (gate, count) = (Arc::clone(&replies), Arc::clone(&asked));
        let router = Router::new().fallback(async move || {
            count.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            Json(json!({"access_token": "token", "expires_in": 3600}))
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = axum::serve(listener, router).into_future();
        let server = AbortOnDropHandle::new(tokio::spawn(async move { drop(server.await) }));
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "secret").unwrap();
        let settings = format!(
            "oauth2: {{tokenURL: '{url}', clientID: c, clientSecretFile: '{}'}}",
            secret.path().display()
        );
        let settings = AuthSettings::of_flags(auth::load(&settings).unwrap());
        let variables = Arc::default();
        let url = url.parse().unwrap();
        let authenticator = Authenticator::new("b", &url, &settings, &variables).unwrap().unwrap();
        Self { replies, asked, authenticator, _secret: secret, _server: server }
    }

    fn reply(&self) {
        self.replies.add_permits(1);
    }

    async fn is_asked(&self, times: usize) {
        while self.asked.load(Ordering::SeqCst) < times {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_request_that_goes_away_leaves_the_attempt_to_others() {
    let endpoint = Gated::start().await;
    let auth = &endpoint.authenticator;
    let first = auth.ready();
    tokio::select! {
        biased;
        number = first => panic!("{number:?}"),
        () = endpoint.is_asked(1) => {}
    }
    endpoint.reply();
    assert_eq!(auth.ready().await.unwrap(), 1);

    // The same when its token has been refused.
    tokio::select! {
        biased;
        _ = auth.renewed(1) => panic!("nothing is replied"),
        () = endpoint.is_asked(2) => {}
    }
    let others = futures::future::join(auth.renewed(1), auth.renewed(1));
    endpoint.reply();
    assert_eq!(others.await, (true, true));
    assert_eq!(endpoint.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_attempt_ends_with_its_backend() {
    let endpoint = Gated::start().await;
    let fetcher = Arc::downgrade(&endpoint.authenticator.fetcher);
    tokio::select! {
        biased;
        number = endpoint.authenticator.ready() => panic!("{number:?}"),
        () = endpoint.is_asked(1) => {}
    }
    drop(endpoint.authenticator);
    while fetcher.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_waits_in_vain_for_a_first_credential_knows_that_there_is_none() {
    let endpoint = Gated::start().await;
    let auth = &endpoint.authenticator;
    let waited = Duration::from_millis(10);
    assert!(auth.obstacle(waited).is_none(), "nobody has asked for one");
    tokio::time::timeout(waited, auth.ready()).await.unwrap_err();
    assert!(matches!(auth.obstacle(waited), Some(TokenError::Slow(told)) if told == waited));
    endpoint.reply();
    auth.ready().await.unwrap();
    assert!(auth.obstacle(waited).is_none());
}

#[test]
fn a_clock_that_is_another_is_followed() {
    let skew = Skew::default();
    let ahead = |seconds: i64| Timestamp::now() + SignedDuration::from_secs(seconds);
    let seen = |skew: &Skew| skew.now().as_second() - Timestamp::now().as_second();
    assert!(!skew.read(ahead(30)), "that is a difference of chance");
    assert_eq!(seen(&skew), 0);
    assert!(skew.read(ahead(1200)));
    assert!((1195..=1205).contains(&seen(&skew)), "{}", seen(&skew));
    assert!(!skew.read(ahead(1201)), "it is known");
    assert!(skew.read(ahead(-1200)));
    assert!(skew.read(ahead(0)));
    assert_eq!(seen(&skew), 0);
    assert!(skew.read(Timestamp::MAX));
    skew.now();
}

#[test]
fn variables_are_not_shown() {
    let variables = Variables::read(|name| match name {
        "AWS_SECRET_ACCESS_KEY" => Some("hidden".to_owned()),
        "AWS_REGION" => Some(String::new()),
        _ => None,
    });
    assert_eq!(variables.get("AWS_REGION"), None, "empty is absent");
    let shown = format!("{variables:?}");
    assert!(shown.contains("AWS_SECRET_ACCESS_KEY") && !shown.contains("hidden"), "{shown}");
}

#[test]
fn what_is_sent_is_what_is_signed() {
    let query = "sum(rate(a{b=~\"c|d\"}[5m])) by (e) > 1+1";
    let url = "https://aps-workspaces.eu-west-1.amazonaws.com/workspaces/w/api/v1/query";
    let keys = Keys { id: "AKID".to_owned(), secret: "s".to_owned().into(), session: None };
    let scope = sigv4::Scope { region: "eu-west-1", service: "aps" };
    let parameters = Url::parse_with_params(url, [("query", query), ("b", "")]).unwrap();
    let mut get = Request::new(http::Method::GET, parameters);
    sign(&mut get, &keys, scope, Timestamp::UNIX_EPOCH);
    assert_eq!(
        get.url().query().unwrap(),
        "b=&query=sum%28rate%28a%7Bb%3D~%22c%7Cd%22%7D%5B5m%5D%29%29%20by%20%28e%29%20%3E%201%2B1"
    );
    let authorization = &get.headers()["authorization"];
    assert!(authorization.is_sensitive());
    let authorization = authorization.to_str().unwrap();
    assert!(authorization.contains("SignedHeaders=host;x-amz-date, "), "{authorization}");
    assert!(authorization.contains("AKID/19700101/eu-west-1/aps/aws4_request"), "{authorization}");
    let mut post = Request::new(http::Method::POST, url.parse().unwrap());
    post.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("a/b"));
    *post.body_mut() = Some("query=up".into());
    sign(&mut post, &keys, scope, Timestamp::UNIX_EPOCH);
    let authorization = post.headers()["authorization"].to_str().unwrap();
    assert!(
        authorization.contains("SignedHeaders=content-type;host;x-amz-date, "),
        "{authorization}"
    );
}
