//! Backends that cannot be reached, and what is told of it: in words, without an address.

use std::{sync::Arc, time::Duration};

use loadline::prometheus::Source;
use rcgen::KeyPair;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::{
    app::{Launch, custom},
    backend::{Answer, Backend, knows, pods},
    tls::{Authority, behind_tls, server_config},
};

const RULE: &str = "rules:\n- {seriesQuery: m, static: true, resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}, metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'}\n";

/// A server that ends each connection after the handshake, without a word.
async fn closing_after_the_handshake((certificate, key): (String, KeyPair)) -> String {
    let tls = TlsAcceptor::from(Arc::new(server_config((certificate, key), None)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            drop(tls.accept(stream).await);
        }
    });
    url
}

/// The cause that the first read says, and what the readiness says then.
async fn said(launch: Launch) -> (String, String) {
    let address = launch.prometheus.url.host_str().unwrap().to_owned();
    let app = Box::pin(launch.start()).await;
    let failure = app.get(&custom("namespaces/n/pods/p/m")).await.failure();
    assert!(!failure.contains(&address), "{failure}");
    let (_, cause) = failure.split_once("rules[0]: ").expect("a cause");
    (cause.to_owned(), app.get("/readyz?verbose").await.body)
}

/// The cause that both say.
async fn told(launch: Launch) -> String {
    let (cause, ready) = said(launch).await;
    assert!(ready.contains(&cause), "the same is told there: {cause}\n{ready}");
    cause
}

fn inline(text: &str) -> Source {
    Source::Inline(text.as_bytes().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn obstacles_are_told_apart() {
    let backend = Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("p", "1")])))).await;
    let (ours, stranger) = (Authority::new(), Authority::new());
    let trusting = |url: &str, authority: &Authority| {
        let mut launch = Launch::new(RULE, url);
        launch.prometheus.ca = Some(inline(&authority.certificate.pem()));
        launch
    };
    let unreachable = |why: &str| format!("Prometheus cannot be reached ({why})");

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    assert_eq!(told(Launch::new(RULE, &closed)).await, unreachable("connection refused"));

    // A label of a name has 63 bytes at the most, so that no server is asked for it.
    let nowhere = format!("http://{}.example:9090", "x".repeat(64));
    assert_eq!(told(Launch::new(RULE, &nowhere)).await, unreachable("its host name is unknown"));

    let encrypted = backend.url.replace("http://", "https://");
    let why = unreachable("no TLS at this port: http:// instead of https://?");
    assert_eq!(told(trusting(&encrypted, &ours)).await, why);

    let good = ours.sign("127.0.0.1", |_| {});
    let (url, _guard) = behind_tls(&backend, good, None).await;
    let why = unreachable("only TLS at this port: https:// instead of http://?");
    assert_eq!(told(Launch::new(RULE, &url.replace("https://", "http://"))).await, why);
    let why = unreachable("its certificate is of an unknown authority");
    assert_eq!(told(trusting(&url, &stranger)).await, why);

    let (url, _guard) = behind_tls(&backend, ours.sign("prometheus.example", |_| {}), None).await;
    let why = unreachable("its certificate is for another name");
    assert_eq!(told(trusting(&url, &ours)).await, why);

    let old = ours.sign("127.0.0.1", |parameters| {
        parameters.not_before = rcgen::date_time_ymd(2000, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let (url, _guard) = behind_tls(&backend, old, None).await;
    let why = unreachable("its certificate has expired, or is not valid yet");
    assert_eq!(told(trusting(&url, &ours)).await, why);

    let with_client_certificate = |url: &str, authority: &Authority| {
        let mut launch = trusting(url, &ours);
        let (certificate, key) = authority.sign("loadline", |_| {});
        launch.prometheus.certificate = Some(inline(&certificate));
        launch.prometheus.key = Some(inline(&key.serialize_pem()));
        launch
    };
    let url = closing_after_the_handshake(ours.sign("127.0.0.1", |_| {})).await;
    let why = "the connection broke; is our client certificate missing or not accepted?";
    assert_eq!(told(trusting(&url, &ours)).await, unreachable(why));

    // Whether the server's alert is read before the connection breaks is chance.
    let (url, _guard) = behind_tls(&backend, ours.sign("127.0.0.1", |_| {}), Some(&ours)).await;
    for launch in [trusting(&url, &ours), with_client_certificate(&url, &stranger)] {
        let (cause, ready) = said(launch).await;
        assert!(cause.contains("our client certificate"), "{cause}");
        assert!(ready.contains("our client certificate"), "{ready}");
    }
    assert_eq!(backend.count(|_| true), 0, "nothing has come through");

    let mut launch = with_client_certificate(&url, &ours);
    launch.prometheus.token = Some(inline("token"));
    launch.start().await.get(&custom("namespaces/n/pods/p/m")).await.values();
    assert!(backend.take().iter().all(|asked| asked.header("authorization") == "Bearer token"));
}

/// Another server is not sent what may be credentials, and a page for people is no answer.
#[tokio::test(flavor = "multi_thread")]
async fn redirects_to_a_login() {
    let login = Backend::start(|_| Answer::Raw(200, "text/html", "<html>SECRET".to_owned())).await;
    let elsewhere = format!("{}/login", login.url);
    let backend = Backend::start(move |asked| match asked.path.as_str() {
        "/login" => Answer::Raw(200, "text/html", "\n<!doctype html>SECRET".to_owned()),
        "/here/api/v1/query" => Answer::Redirect(302, "/login".to_owned()),
        _ => Answer::Redirect(302, elsewhere.clone()),
    })
    .await;
    for (prefix, cause) in [
        (
            "/away",
            "Prometheus, or a proxy before it, answered with HTTP status 302 (it redirects to another server, as to https or to a login page)",
        ),
        ("/here", "the answer is not one of a Prometheus (HTML, as of a login page)"),
    ] {
        let mut launch = Launch::new(RULE, &format!("{}{prefix}", backend.url));
        launch.prometheus.token = Some(inline("token"));
        let app = launch.start().await;
        let failure = app.get(&custom("namespaces/n/pods/p/m")).await.failure();
        assert!(failure.ends_with(&format!(": {cause}")), "{failure}");
    }
    assert_eq!(login.count(|_| true), 0);
}

/// No connection comes about: what is sent to it is thrown away.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_whose_machine_is_gone() {
    // A queue for one connection, which nobody takes out of it.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await
    {
        queued.push(stream);
        assert!(queued.len() < 100, "the queue has no end");
    }
    let mut launch = Launch::new(RULE, &format!("http://{address}"));
    launch.prometheus.query_timeout = Duration::from_millis(300);
    let app = launch.start().await;
    let read = async || app.get(&custom("namespaces/n/pods/p/m")).await.failure();
    assert!(read().await.ends_with("Prometheus did not answer in time"));
    let sent = app.prometheus.traffic().queries();
    for _ in 0..20 {
        assert!(read().await.ends_with("Prometheus did not answer in time"));
    }
    assert!(app.prometheus.traffic().queries() - sent < 20);
}
