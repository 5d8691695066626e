//! May they: what is asked of the cluster, and how long the answer is remembered.

use super::*;

/// What access is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn attributes() {
    let stage = Stage::new().await;
    let app = ready(stage.launch()).await;
    stage.cluster.delegation().access(|_| denied("because"));
    let resource = |verb: &str, namespace: &str, resource: &str, name: &str, subresource: &str| {
        let mut attributes =
            json!({"group": "custom.metrics.k8s.io", "version": "v1beta2", "verb": verb});
        for (key, value) in [
            ("namespace", namespace),
            ("resource", resource),
            ("name", name),
            ("subresource", subresource),
        ] {
            if !value.is_empty() {
                attributes[key] = json!(value);
            }
        }
        json!({"resourceAttributes": attributes})
    };
    let of_external = |verb: &str, namespace: &str| {
        json!({"resourceAttributes": {
            "group": "external.metrics.k8s.io", "version": "v1beta1", "verb": verb,
            "namespace": namespace, "resource": "q",
        }})
    };
    let path =
        |verb: &str, path: &str| json!({"nonResourceAttributes": {"path": path, "verb": verb}});
    let cases = [
        ("GET", custom("namespaces/n/pods/*/m"), resource("get", "n", "pods", "*", "m")),
        ("GET", custom("namespaces/n/pods/p/m"), resource("get", "n", "pods", "p", "m")),
        ("HEAD", custom("namespaces/h/pods/p/m"), resource("get", "h", "pods", "p", "m")),
        (
            "GET",
            custom("namespaces/n/deployments.apps/d/m"),
            resource("get", "n", "deployments.apps", "d", "m"),
        ),
        ("GET", custom("namespaces/n/pod/p/m"), resource("get", "n", "pod", "p", "m")),
        ("GET", custom("nodes/n1/m"), resource("get", "", "nodes", "n1", "m")),
        ("GET", custom("namespaces/n/metrics/m"), resource("get", "n", "metrics", "m", "")),
        (
            "GET",
            custom("namespaces/n/pods/*/m?watch=true"),
            resource("watch", "n", "pods", "*", "m"),
        ),
        (
            "GET",
            custom("namespaces/n/pods/%2A/http%3Arate"),
            resource("get", "n", "pods", "*", "http:rate"),
        ),
        ("POST", custom("namespaces/n/pods/p/m"), resource("create", "n", "pods", "p", "m")),
        ("DELETE", custom("namespaces/n/pods/p/m"), resource("delete", "n", "pods", "p", "m")),
        ("GET", external("namespaces/n/q"), of_external("list", "n")),
        ("HEAD", external("namespaces/h/%71/?labelSelector=a"), of_external("list", "h")),
        ("GET", external("namespaces/n/q?watch=1"), of_external("watch", "n")),
        ("POST", external("namespaces/n/q"), of_external("create", "n")),
        ("GET", external(""), path("get", "/apis/external.metrics.k8s.io/v1beta1/")),
        ("GET", "/apis".to_owned(), path("get", "/apis")),
        ("GET", "/metrics".to_owned(), path("get", "/metrics")),
        ("HEAD", "/openapi/v3".to_owned(), path("head", "/openapi/v3")),
        ("GET", "/readyz/ping".to_owned(), path("get", "/readyz/ping")),
        (
            "GET",
            "/apis/custom.metrics.k8s.io/v1beta2".to_owned(),
            path("get", "/apis/custom.metrics.k8s.io/v1beta2"),
        ),
    ];
    for (method, path, mut wanted) in cases {
        let method: Method = method.parse().unwrap();
        let reply = app.request(method.clone(), &path, &[("authorization", "Bearer good")]).await;
        wanted["user"] = json!("holder");
        wanted["groups"] = json!(["g", "system:authenticated"]);
        assert_eq!(stage.reviewed(), [wanted], "{method} {path}");
        assert_eq!(reply.status, 403, "{method} {path}");
        if method != Method::HEAD {
            assert_eq!(reply.json()["reason"], "Forbidden");
            assert!(reply.failure().ends_with(": because"), "{reply:?}");
        }
    }
    let reply = get(&app, "good", &custom("namespaces/n/pods/*/m")).await;
    assert_eq!(
        reply.failure(),
        r#"pods.custom.metrics.k8s.io "*" is forbidden: User "holder" cannot get resource "pods/m" in API group "custom.metrics.k8s.io" in the namespace "n": because"#
    );
    let reply = get(&app, "good", &external("namespaces/n/q")).await;
    assert_eq!(
        reply.failure(),
        r#"q.external.metrics.k8s.io is forbidden: User "holder" cannot list resource "q" in API group "external.metrics.k8s.io" in the namespace "n": because"#
    );
    let reply = app.get("/metrics").await;
    assert_eq!(
        reply.failure(),
        r#"forbidden: User "system:anonymous" cannot get path "/metrics": because"#
    );
}

/// What is judged is what is read: no way of writing a path makes them differ.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_judged_as_it_is_read() {
    let stage = Stage::new().await;
    let app = ready(stage.launch()).await;
    stage
        .cluster
        .delegation()
        .access(|spec| json!({"allowed": spec["resourceAttributes"]["namespace"] != "n"}));
    for path in [
        custom("namespaces/n/pods/*/m"),
        custom("namespaces/n/pods/*/m/"),
        custom("/namespaces/n/pods/*/m"),
        custom("//namespaces/n/pods/*/m"),
        custom("namespaces/%6e/pods/*/m"),
        custom("%6eamespaces/n/pods/*/m"),
        custom("namespaces//n/pods/*/m"),
        custom("namespaces%2Fn/pods/*/m"),
        custom("x/../namespaces/n/pods/*/m"),
        custom("namespaces/n/pods/*/m").replace("/apis", "//apis"),
        custom("namespaces/n/pods/*/m").replace("/apis", "/%61pis"),
        custom("namespaces/n/pods/*/m").replace("custom", "%63ustom"),
        custom("namespaces/n/metrics/m"),
        custom("/namespaces/n/metrics/m"),
    ] {
        let reply = app.get(&path).await;
        assert!(reply.status.is_client_error(), "{path}: {reply:?}");
        reply.failure();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_are_remembered() {
    let stage = Stage::new().await;
    let delegation = stage.cluster.delegation();
    let app = ready(stage.launch()).await;
    delegation.token("other", json!({"username": "other"}));
    delegation.access(|spec| json!({"allowed": spec["user"] == "holder"}));
    let path = read();
    let status = async |token: &str, path: &str| get(&app, token, path).await.status.as_u16();
    let replies = join_all((0..20).map(|_| status("good", &path))).await;
    assert_eq!(replies, [200; 20]);
    let counts = || (delegation.take_token_reviews().len(), delegation.take_access_reviews().len());
    assert_eq!(counts(), (1, 1), "twenty at once are one question");
    assert_eq!((status("other", &path).await, status("other", &path).await), (403, 403));
    assert_eq!(counts(), (1, 1), "a refusal is remembered");
    assert_eq!((status("bad", &path).await, status("bad", &path).await), (401, 401));
    assert_eq!(counts(), (1, 0), "so is an unknown token");
    status("good", &custom("namespaces/n/pods/p/m")).await;
    status("good", &custom("namespaces/n/pods/p/m?labelSelector=a")).await;
    assert_eq!(counts(), (0, 1), "queries are not judged");
    for path in ["/healthz", "/livez", "/readyz", "/health/live", "/health/ready"] {
        assert_eq!(status("bad", path).await, 200, "{path}");
    }
    assert_eq!(counts(), (0, 0), "open paths are for everybody");

    delegation.token("root", json!({"username": "root", "groups": ["system:masters"]}));
    delegation.access(|_| denied(""));
    assert_eq!((status("root", &path).await, status("root", "/metrics").await), (200, 200));
    assert_eq!(counts(), (1, 0), "masters may do everything");
    delegation.access(|_| json!({"allowed": true, "denied": true}));
    assert_eq!(status("good", "/version").await, 403, "a denial outweighs");
}

/// Each of the three times is its own.
#[tokio::test(flavor = "multi_thread")]
async fn reviews_are_forgotten() {
    let stage = Stage::new().await;
    let delegation = stage.cluster.delegation();
    let path = read();

    let mut launch = stage.launch();
    launch.token_ttl = SHORT;
    let app = ready(launch).await;
    assert_eq!(get(&app, "good", &path).await.status, 200);
    until("the token is reviewed again", async || {
        assert_eq!(get(&app, "good", &path).await.status, 200);
        (!delegation.take_token_reviews().is_empty()).then_some(())
    })
    .await;
    assert_eq!(stage.reviewed().len(), 1, "access was not");

    for is_allowed in [true, false] {
        let mut launch = stage.launch();
        let ttl = if is_allowed {
            &mut launch.access_ttls.authorized
        } else {
            &mut launch.access_ttls.unauthorized
        };
        *ttl = SHORT;
        let app = ready(launch).await;
        let may = move |allowed: bool| delegation.access(move |_| json!({"allowed": allowed}));
        let status = async || get(&app, "good", &path).await.status.as_u16();
        let (before, after) = if is_allowed { (200, 403) } else { (403, 200) };
        may(is_allowed);
        assert_eq!(status().await, before);
        may(!is_allowed);
        until("access is reviewed again", async || {
            let status = status().await;
            assert!([before, after].contains(&status), "{status}");
            (status == after).then_some(())
        })
        .await;
        may(is_allowed);
        assert_eq!(status().await, after, "the other answer is kept for long");
    }
}
