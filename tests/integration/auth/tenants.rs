//! Who may read the metrics of one namespace and no other: no way of asking gives more.

use super::*;
use crate::support::raw;

/// Each API, so written that the backend decides alone what of the other namespace it tells: no query has matchers.
const RULES: &str = "
rules:
- {seriesQuery: m, metricsQuery: '<<.Series>>', resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}, node: {resource: node}}}}
externalRules:
- {seriesQuery: q, metricsQuery: '<<.Series>>', resources: {overrides: {ns: {resource: namespace}}}}
resourceRules:
  cpu: &usage
    containerQuery: usage
    nodeQuery: usage
    resources: {overrides: {pod: {resource: pod}, ns: {resource: namespace}, node: {resource: node}}}
    containerLabel: container
  memory: *usage
";

/// In nothing that a tenant of `own` may see.
const SECRETS: [&str; 2] = ["hidden", "424242"];

fn samples() -> Answer {
    let row = |namespace: &str, pod: &str, value: &str| {
        let labels = json!({"ns": namespace, "pod": pod, "node": "n1", "container": "c"});
        json!({"metric": labels, "value": [1_790_000_000, value]})
    };
    let rows = [
        row("own", "web-0", "1"),
        row("other", "hidden-0", "424242"),
        row("other", "web-0", "424242"),
    ];
    Answer::Data(json!({"resultType": "vector", "result": rows}))
}

/// Every way that we know of to ask for another namespace.
fn attempts() -> Vec<String> {
    let mut paths = Vec::new();
    let namespaces = [
        "other",
        "*",
        "",
        ".",
        "..",
        "OTHER",
        "othe%72",
        "%6f%74her",
        "own,other",
        "own|other",
        "own;/other",
        "other%00",
        "own%2F..%2Fother",
        "own/../other",
        "own/%2e%2e/other",
        "own\\..\\other",
        "own%3f/../other",
        "own/pods/../../other",
        "own/../../namespaces/other",
        "own%2fpods%2f*%2fm%2f..%2f..%2f..%2f..%2fother",
        "own%0aother",
        "%2A",
        "own\"} or m{ns=\"other",
        "own%22%7D%20or%20m%7Bns=%22other",
    ];
    for version in ["v1beta1", "v1beta2"] {
        let api = format!("/apis/custom.metrics.k8s.io/{version}");
        for namespace in namespaces {
            for rest in ["pods/*/m", "pods/web-0/m", "metrics/m", "pods/*/m?labelSelector=app"] {
                paths.push(format!("{api}/namespaces/{namespace}/{rest}"));
            }
            paths.push(format!("{api}/namespaces/{namespace}/explanations/m?resource=pods"));
            paths.push(format!("{api}/namespaces/{namespace}/explanations/q?api=external"));
            paths.push(format!("{api}/namespace/{namespace}/m"));
            paths.push(format!("{api}/namespaces/{namespace}"));
        }
        for query in [
            "metricLabelSelector=ns%3Dother",
            "metricLabelSelector=ns+in+(own,other)",
            "metricLabelSelector=ns!%3Down",
            "metricLabelSelector=!ns",
            "metricLabelSelector=__name__!%3Dx",
            "metricLabelSelector=x+in+(a,%22%7D+or+m%7B)",
            "metricLabelSelector=x%3D%22%7D",
            "labelSelector=ns%3Dother",
            "labelSelector=app&labelSelector=ns%3Dother",
            "fieldSelector=metadata.namespace%3Dother",
            "namespace=other",
            "watch=true",
        ] {
            for objects in ["pods/*/m", "pods/hidden-0/m", "metrics/m"] {
                paths.push(format!("{api}/namespaces/own/{objects}?{query}"));
            }
        }
        for rest in [
            "namespaces/own/explanations/m?resource=pods&labelSelector=app&metricLabelSelector=ns%3Dother",
            "namespaces/own/explanations/m?resource=namespaces&name=other",
            "namespaces/own/explanations/m?resource=nodes&name=n1",
            "namespaces/own/explanations/unknown?resource=pods",
            "explanations/m?resource=pods",
            "explanations/q?api=external",
            "namespaces/own/namespaces/other/m",
            "namespaces/own/nodes/n1/m",
            "namespaces/own/pods/*/m/../../../../other/pods/*/m",
            "namespaces/own/pods/other%2Fhidden-0/m",
            "namespaces/own/pods/..%2F..%2Fother%2Fpods%2F*/m",
            "namespaces/*/pods/*/m",
            "pods/*/m",
            "nodes/*/m",
            "/namespaces/other/pods/*/m",
        ] {
            paths.push(format!("{api}/{rest}"));
        }
        paths.push(format!("/{api}/namespaces/other/pods/*/m"));
        paths.push(format!("{}/namespaces/other/pods/*/m", api.to_uppercase()));
        paths.push(format!("{}/namespaces/other/pods/*/m", api.replace('/', "%2F")));
    }
    for namespace in namespaces {
        for query in
            ["", "?labelSelector=ns%3Dother", "?labelSelector=ns!%3Down", "?labelSelector=!ns"]
        {
            paths.push(external(&format!("namespaces/{namespace}/q{query}")));
        }
    }
    for query in [
        "?labelSelector=ns%3Dother",
        "?labelSelector=ns+in+(own,other)",
        "?labelSelector=!ns",
        "?namespace=other",
    ] {
        paths.push(external(&format!("namespaces/own/q{query}")));
    }
    for version in ["v1beta1", "v1"] {
        let api = format!("/apis/metrics.k8s.io/{version}");
        for namespace in namespaces {
            paths.push(format!("{api}/namespaces/{namespace}/pods"));
            paths.push(format!("{api}/namespaces/{namespace}/pods/hidden-0"));
        }
        for rest in [
            "pods",
            "nodes",
            "nodes/n1",
            "pods?fieldSelector=metadata.namespace%3Down",
            "namespaces/own/pods?fieldSelector=metadata.namespace%3Dother",
            "namespaces/own/pods?labelSelector=ns%3Dother",
            "namespaces/own/pods/../../other/pods",
        ] {
            paths.push(format!("{api}/{rest}"));
        }
    }
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_namespace_is_told() {
    let stage = Stage::new().await;
    let web = [("app", "web")];
    for (namespace, name) in [("own", "web-0"), ("other", "web-0"), ("other", "hidden-0")] {
        let running = json!({"status": {"phase": "Running"}});
        stage.cluster.apply(Stored::new("pods", namespace, name, &web).with(running));
    }
    stage.cluster.apply(Stored::new("nodes", "", "n1", &[]));
    stage.backend.play(knows(&["m", "q"], |_| samples()));
    let delegation = stage.cluster.delegation();
    delegation.access(|spec| json!({"allowed": spec["resourceAttributes"]["namespace"] == "own"}));
    let mut launch = Launch::new(RULES, &stage.backend.url).cluster(&stage.cluster);
    launch.guarded = true;
    let app = ready(launch).await;
    let own = [
        custom("namespaces/own/pods/*/m"),
        external("namespaces/own/q"),
        "/apis/metrics.k8s.io/v1beta1/namespaces/own/pods".to_owned(),
    ];
    for path in &own {
        let reply = get(&app, "good", path).await;
        assert!(reply.status == 200 && reply.body.contains("\"items\":[{"), "{path}: {reply:?}");
    }
    let spoofed =
        "X-Remote-User: admin\r\nX-Remote-Group: system:masters\r\nImpersonate-User: admin\r\n";
    for more in ["", spoofed] {
        for path in own.iter().chain(&attempts()) {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nConnection: close\r\n{more}\r\n"
            );
            let answers = raw::exchange(&app, request.as_bytes()).await;
            assert_eq!(answers.statuses().len(), 1, "{path}: {answers:?}");
            assert!(answers.statuses()[0] < 500, "{path}: {answers:?}");
            let is_told = SECRETS.iter().any(|secret| answers.text.contains(secret));
            assert!(!is_told || path.contains("hidden"), "{path}: {answers:?}");
            assert!(!answers.text.contains("424242"), "{path}: {answers:?}");
        }
    }
    let users = stage.reviewed().into_iter().map(|review| review["user"].clone());
    assert!(users.into_iter().all(|user| user == "holder" || user == "system:anonymous"));
}

/// kube-apiserver sends the requests of everybody on one connection, and a client may have several tokens, too.
#[tokio::test(flavor = "multi_thread")]
async fn those_who_share_a_connection_are_told_apart() {
    let stage = Stage::new().await;
    let delegation = stage.cluster.delegation();
    delegation.token("poor", json!({"username": "poor"}));
    delegation.access(|spec| {
        let is_allowed = spec["user"] == "holder" || spec["user"] == "ann";
        json!({"allowed": is_allowed})
    });
    for launch in [stage.launch(), stage.forgetful()] {
        let app = ready(launch).await;
        let relay = Relay::start(app.address, true).await;
        let url = format!("https://{}{}", relay.address, read());
        let proxy = stage.proxy();
        let both = [client(&app, None), client(&app, Some(&proxy))];
        for (index, client) in both.iter().enumerate() {
            let status = async |headers: &[(&str, &str)]| {
                App::send(client, Method::GET, &url, headers).await.status.as_u16()
            };
            assert_eq!(status(&[("authorization", "Bearer good")]).await, 200);
            let shown = [
                (("authorization", "Bearer good"), 200),
                (("authorization", "Bearer poor"), 403),
                (("authorization", "Bearer bad"), 401),
                (("x-remote-user", "ann"), if index == 0 { 403 } else { 200 }),
                (("x-remote-user", "poor"), 403),
            ];
            let asked = (0..200).map(|number| shown[number % shown.len()]);
            let statuses =
                join_all(asked.clone().map(async |(header, _)| status(&[header]).await)).await;
            let wanted: Vec<_> = asked.map(|(_, wanted)| wanted).collect();
            assert_eq!(statuses, wanted);
            assert_eq!(relay.accepted(), index + 1, "all came by one connection");
        }
    }
}
