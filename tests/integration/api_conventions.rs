//! What is expected of an API server besides its API.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::{
    app::{App, Launch, custom},
    backend::{Answer, Backend, knows, pods},
    cluster::Kubernetes,
    relay::Relay,
    until,
};

const RULE: &str = "rules:\n- {seriesQuery: m, metricsQuery: '<<.Series>>', resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}}}}\n";

const GROUP: &str = "/apis/custom.metrics.k8s.io";

async fn backend() -> Backend {
    Backend::start(knows(&["m"], |_| Answer::Data(pods(&[("p", "1")])))).await
}

async fn get(app: &App, path: &str, headers: &[(&str, &str)]) -> crate::support::app::Reply {
    app.request(Method::GET, path, headers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn open_api() {
    let backend = backend().await;
    let app = Launch::new(RULE, &backend.url).start().await;
    let index = app.get("/openapi/v3").await;
    assert_eq!(index.json(), app.get("/openapi/v3/").await.json());
    let mut tags = vec![index.headers["etag"].clone()];
    for version in ["v1beta1", "v1beta2"] {
        let name = format!("apis/custom.metrics.k8s.io/{version}");
        let url = index.json()["paths"][&name]["serverRelativeURL"].as_str().unwrap().to_owned();
        let document = app.get(&url).await;
        assert_eq!(document.headers["content-type"], "application/json");
        let tag = document.headers["etag"].to_str().unwrap();
        let hash = tag.trim_matches('"');
        assert_eq!(url, format!("/openapi/v3/{name}?hash={hash}"), "the hash is the document's");
        let document = document.json();
        assert_eq!(document["openapi"], "3.0.0");
        let path = format!("/{name}/namespaces/{{namespace}}/{{resource}}/{{name}}/{{metric}}");
        assert!(document["paths"][&path]["get"].is_object(), "{document}");
        for known in [tag.to_owned(), format!("\"other\", {tag}"), format!("W/{tag}")] {
            let reply = get(&app, &url, &[("if-none-match", &known)]).await;
            assert_eq!((reply.status.as_u16(), reply.body.as_str()), (304, ""), "{known}");
            assert_eq!(reply.headers["etag"], tag);
        }
        let reply = get(&app, &url, &[("if-none-match", "\"other\"")]).await;
        assert_eq!(reply.json(), document);
        tags.push(tag.parse().unwrap());
    }
    let name = "apis/external.metrics.k8s.io/v1beta1";
    let url = index.json()["paths"][name]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = app.get(&url).await;
    assert!(
        document.json()["paths"][&format!("/{name}/namespaces/{{namespace}}/{{metric}}")]["get"]
            .is_object(),
        "{document:?}"
    );
    tags.push(document.headers["etag"].clone());
    let v2 = app.get("/openapi/v2").await;
    assert_eq!(v2.json()["swagger"], "2.0");
    tags.push(v2.headers["etag"].clone());
    let count = tags.len();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), count, "every document has a tag of its own");
    let known = [("if-none-match", v2.headers["etag"].to_str().unwrap())];
    assert_eq!(get(&app, "/openapi/v2", &known).await.status, 304);
    // kube-apiserver's aggregator prefers protobuf, and takes JSON.
    for accept in [
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf, application/json",
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf,application/json;q=0.5",
    ] {
        let reply = get(&app, "/openapi/v2", &[("accept", accept)]).await;
        assert_eq!(reply.headers["content-type"], "application/json", "{accept}");
    }
    for path in [
        "/openapi",
        "/openapi/v1",
        "/openapi/v3/apis/custom.metrics.k8s.io/v1",
        "/openapi/v3/apis/external.metrics.k8s.io/v1beta2",
    ] {
        let reply = app.get(path).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["reason"]), (404, &json!("NotFound")));
        reply.failure();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health() {
    let backend = backend().await;
    let cluster = Kubernetes::start(&[], 10).await;
    cluster.delegation().configure(&[]);
    let mut launch = Launch::new(RULE, &backend.url).cluster(&cluster);
    launch.guarded = true;
    let app = launch.start().await;
    until("the server is ready", async || (app.get("/readyz").await.status == 200).then_some(()))
        .await;
    let text = async |path: &str| {
        let reply = app.get(path).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8", "{path}");
        reply.body
    };
    for endpoint in ["healthz", "livez", "readyz"] {
        assert_eq!(text(&format!("/{endpoint}")).await, "ok");
        assert_eq!(text(&format!("/{endpoint}/ping")).await, "ok");
        for query in ["verbose", "verbose=true", "a=b&verbose"] {
            let body = text(&format!("/{endpoint}?{query}")).await;
            assert!(body.starts_with("[+]ping ok\n"), "{body}");
            assert!(body.ends_with(&format!("{endpoint} check passed\n")), "{body}");
        }
        assert_eq!(app.get(&format!("/{endpoint}/nothing")).await.status, 404);
        let head = app.request(Method::HEAD, &format!("/{endpoint}"), &[]).await;
        assert_eq!((head.status.as_u16(), head.body.as_str()), (200, ""), "{endpoint}");
    }
    assert_eq!(
        text("/readyz?verbose").await,
        "[+]ping ok\n[+]authentication ok\n[+]discovery ok\n[+]shutdown ok\n[+]prometheus ok\n[+]rules ok\nreadyz check passed\n"
    );
    for check in ["authentication", "discovery", "shutdown", "prometheus"] {
        assert_eq!(text(&format!("/readyz/{check}")).await, "ok");
    }
    for name in ["live", "ready", "startup"] {
        let reply = app.get(&format!("/health/{name}")).await;
        assert_eq!(reply.headers["content-type"], "application/json");
        let body = reply.json();
        assert_eq!((reply.status.as_u16(), &body["status"]), (200, &json!("ok")), "{name}");
        assert_eq!(body["checks"][0], json!({"name": "ping", "status": "ok"}));
    }
    assert_eq!(app.get("/health/nothing").await.status, 404);
}

/// Answers to every kind of request carry the same headers, and those that fail a `Status`.
#[tokio::test(flavor = "multi_thread")]
async fn headers() {
    let backend = backend().await;
    let app = Launch::new(RULE, &backend.url).start().await;
    let read = custom("namespaces/n/pods/*/m");
    let unknown = custom("namespaces/n/pods/*/unknown");
    for (method, path, accept, token, wanted) in [
        ("GET", "/apis", "*/*", "", 200),
        ("GET", read.as_str(), "*/*", "", 200),
        ("HEAD", read.as_str(), "*/*", "", 200),
        ("GET", "/openapi/v2", "*/*", "", 200),
        ("GET", "/version", "*/*", "", 200),
        ("GET", "/livez", "*/*", "", 200),
        ("GET", "/metrics", "*/*", "", 200),
        ("GET", "/apis", "*/*", app.token.as_str(), 200),
        ("GET", "/apis", "*/*", "wrong", 401),
        ("GET", unknown.as_str(), "*/*", "", 404),
        ("GET", "/nothing", "*/*", "", 404),
        ("GET", "/openapi/v2/x", "*/*", "", 404),
        ("GET", "/healthz/x", "*/*", "", 404),
        ("POST", read.as_str(), "*/*", "", 405),
        ("OPTIONS", "/apis", "*/*", "", 405),
        ("BREW", "/metrics", "*/*", "", 405),
        ("GET", "/apis", "text/html", "", 406),
        ("GET", GROUP, "application/vnd.kubernetes.protobuf", "", 406),
        ("GET", read.as_str(), "text/html", "", 406),
        ("GET", "/apis/custom.metrics.k8s.io/v1beta2/x", "*/*", "", 400),
    ] {
        let authorization = format!("Bearer {token}");
        let headers = [("audit-id", "a-1"), ("accept", accept), ("authorization", &authorization)];
        let method: Method = method.parse().unwrap();
        let reply = app.request(method.clone(), path, &headers).await;
        assert_eq!(reply.status, wanted, "{method} {path} {accept}");
        let header =
            |name: &str| reply.headers.get(name).map_or("", |value| value.to_str().unwrap());
        assert_eq!(header("audit-id"), "a-1", "{method} {path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{method} {path}");
        assert_eq!(header("cache-control"), "no-store", "{method} {path}");
        assert_eq!(header("retry-after"), "", "{method} {path}");
        if wanted >= 400 {
            reply.failure();
        }
        if wanted == 405 {
            assert_eq!(header("allow"), "GET,HEAD", "{method} {path}");
        }
    }
    assert!(!app.get("/apis").await.headers.contains_key("audit-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn forms() {
    let backend = backend().await;
    let app = Launch::new(RULE, &backend.url).start().await;
    let read = custom("namespaces/n/pods/*/m");
    let unknown = custom("namespaces/n/pods/*/unknown");
    let version = format!("{GROUP}/v1beta2");
    for path in ["/apis", GROUP, &version, &read, &unknown, "/version"] {
        let plain = app.get(path).await;
        let pretty = app.get(&format!("{path}?pretty=true")).await;
        assert!(!plain.body.contains('\n'), "{path}");
        assert!(pretty.body.starts_with("{\n  \"") && pretty.body.ends_with("}\n"), "{path}");
        assert_eq!(plain.json(), pretty.json(), "{path}");
        let curl = get(&app, path, &[("user-agent", "curl/8.5.0")]).await;
        assert_eq!(curl.body, pretty.body, "{path}");
        let curl = get(&app, &format!("{path}?pretty=0"), &[("user-agent", "curl/8.5.0")]).await;
        assert_eq!(curl.body, plain.body, "{path}");

        let yaml = get(&app, path, &[("accept", "application/yaml")]).await;
        assert_eq!(yaml.headers["content-type"], "application/yaml", "{path}");
        assert_eq!(yaml.status, plain.status, "{path}");
        let read: Value = serde_saphyr::from_str(&yaml.body).unwrap();
        assert_eq!(read, plain.json(), "{path}");

        for headers in [
            &[("accept", "application/json")][..],
            &[("accept", "application/yaml")],
            &[("user-agent", "curl/8.5.0")],
        ] {
            let head = app.request(Method::HEAD, path, headers).await;
            assert_eq!((head.status, head.body.as_str()), (plain.status, ""), "{path} {headers:?}");
        }
    }
    let reply = get(&app, &read, &[("accept", "application/vnd.kubernetes.protobuf")]).await;
    assert_eq!(reply.status, 406);
    assert_eq!(
        reply.failure(),
        "only the following media types are accepted: application/json, application/yaml"
    );
    let controller = [("accept", "application/vnd.kubernetes.protobuf,application/json")];
    assert_eq!(get(&app, &read, &controller).await.values().len(), 1);
}

/// As by kube-apiserver: from 128 KiB on. Go's client asks for it each time, and an autoscaler's answer is some kilobytes.
#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_compressed() {
    let names: Vec<_> = (0..1_200).map(|index| format!("pod-{index:04}")).collect();
    let values: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let values = pods(&values);
    let script = knows(&["m"], move |_| Answer::Data(values.clone()));
    let backend = Backend::start(script).await;
    let app = Launch::new(RULE, &backend.url).start().await;
    let all = custom("namespaces/n/pods/*/m");
    let one = custom("namespaces/n/pods/pod-0000/m");
    let raw = Client::builder().tls_certs_only([app.authority.clone()]).no_proxy().no_gzip();
    let raw = raw.build().unwrap();
    let get = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = raw.get(app.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = request.send().await.unwrap();
        (reply.headers().clone(), reply.bytes().await.unwrap())
    };
    let (_, plain) = get(&all, &[]).await;
    assert!(plain.len() > 128 << 10);
    let gzip = ("accept-encoding", "gzip");
    // Also what was written anew.
    for accept in ["application/json", "application/yaml"] {
        let (headers, body) = get(&all, &[gzip, ("accept", accept)]).await;
        assert_eq!(headers["content-encoding"], "gzip", "{accept}");
        assert_eq!(headers["vary"], "accept-encoding", "{accept}");
        assert!(body.starts_with(&[0x1f, 0x8b]) && body.len() < plain.len() / 10, "{accept}");
    }
    assert_eq!(app.get(&all).await.body.as_bytes(), plain, "unpacked");
    for (path, headers) in [(&one, &[gzip][..]), (&all, &[]), (&all, &[("accept-encoding", "br")])]
    {
        let (answered, body) = get(path, headers).await;
        assert!(!answered.contains_key("content-encoding"), "{path} {headers:?}");
        assert!(body.starts_with(b"{\"kind\""), "{path} {headers:?}");
    }
    app.stop().await;
}

/// `/metrics` is for those who may, and nobody can make it grow.
#[tokio::test(flavor = "multi_thread")]
async fn metrics() {
    let backend = backend().await;
    let cluster = Kubernetes::start(&[("pods", "n", "p", &[])], 10).await;
    let delegation = cluster.delegation();
    delegation.configure(&[]);
    delegation.token("scraper", json!({"username": "scraper"}));
    delegation.access(|spec| {
        let is_scrape = spec["nonResourceAttributes"] == json!({"path": "/metrics", "verb": "get"});
        json!({"allowed": spec["user"] == "scraper" && is_scrape})
    });
    let mut launch = Launch::new(RULE, &backend.url).cluster(&cluster);
    launch.guarded = true;
    let app = launch.start().await;
    let refusal = app.get("/metrics").await;
    assert_eq!(refusal.status, 403);
    refusal.failure();
    let scrape = async || {
        let reply = get(&app, "/metrics", &[("authorization", "Bearer scraper")]).await;
        assert_eq!(reply.status, 200);
        let media = reply.headers["content-type"].to_str().unwrap();
        assert!(media.starts_with("application/openmetrics-text"), "{media}");
        reply.body
    };
    delegation.access(|_| json!({"allowed": true}));
    let scraper = [("authorization", "Bearer scraper")];
    let ask = async |round: usize| {
        for (method, path) in [
            ("GET", format!("/nothing-{round}")),
            ("GET", format!("/apis/group-{round}.example.com/v1/namespaces/n/things")),
            ("GET", custom(&format!("namespaces/n-{round}/pods/p/unknown"))),
            ("GET", custom(&format!("nodes/n-{round}/unknown"))),
            ("GET", format!("{GROUP}/v{round}/pods")),
            ("GET", format!("{GROUP}/v1beta2/%ff{round}")),
        ] {
            let method: Method = method.parse().unwrap();
            app.request(method, &path, &scraper).await;
        }
        let method: Method = format!("BREW{round}").parse().unwrap();
        app.request(method.clone(), &custom("namespaces/n/pods/p/m"), &scraper).await;
        app.request(method, "/version", &scraper).await;
        app.get("/version").await;
        let token = format!("Bearer token-{round}");
        get(&app, "/apis", &[("authorization", &token)]).await;
    };
    ask(0).await;
    scrape().await;
    let series = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    let sorted = |text: &str| {
        let mut series = series(text);
        series.sort();
        series
    };
    let before = sorted(&scrape().await);
    for round in 1..30 {
        ask(round).await;
    }
    let after = scrape().await;
    assert_eq!(sorted(&after), before);
    let counted = r#"apiserver_request_total{group="",verb="other",code="405"} 30"#;
    assert!(after.lines().any(|line| line == counted), "{after}");
    for text in ["BREW", "brew", "nothing-", "group-", "token-", "scraper"] {
        assert!(!after.contains(text), "{text}: {after}");
    }
}

/// A backend that comes later than loadline.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_comes_later() {
    let backend = backend().await;
    let target = backend.url.trim_start_matches("http://").parse().unwrap();
    let relay = Relay::start(target, false).await;
    let mut launch = Launch::new(RULE, &format!("http://{}", relay.address));
    launch.relist_interval = Duration::from_secs(1);
    launch.max_age = Duration::from_secs(1);
    let app = launch.start().await;
    let reply = app.get("/readyz?verbose").await;
    assert!(reply.body.contains("]prometheus "), "{}", reply.body);
    assert!(!reply.body.contains("[+]prometheus"), "{}", reply.body);
    assert_eq!(app.get(&format!("{GROUP}/v1beta2")).await.json()["resources"], json!([]));
    relay.open();
    until("discovery has succeeded", async || {
        let reply = app.get("/readyz?verbose").await;
        (reply.status == 200 && reply.body.contains("[+]prometheus ok")).then_some(())
    })
    .await;
    let resources = app.get(&format!("{GROUP}/v1beta2")).await.json()["resources"].take();
    assert_eq!(resources.as_array().unwrap().len(), 2);
}
