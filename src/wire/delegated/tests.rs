use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    core::{kinds::Kinds, reading::Reading},
    wire::path,
};

fn custom_read(rest: &str, version: Version) -> CustomRead {
    let path = path::parse(rest).unwrap();
    let kinds = Kinds::builtin();
    let kind = kinds.resolve(&path.resource.group, &path.resource.resource).map(Arc::clone);
    let (objects, metric) = (Selector::parse("app=web").unwrap(), Selector::default());
    CustomRead { path, objects, metric, kind, version }
}

fn external_read(metric: &str) -> ExternalRead {
    let path = ExternalPath { namespace: "n".to_owned(), metric: metric.to_owned() };
    ExternalRead { path, selector: Selector::parse("scaledobject.keda.sh/name=web").unwrap() }
}

/// What a server answers to a read of pods, with a change.
fn list(version: &str, change: impl Fn(&mut Value)) -> Vec<u8> {
    let mut item = json!({
        "describedObject": {"kind": "Pod", "namespace": "n", "name": "web-0", "apiVersion": "/v1", "uid": "x"},
        "timestamp": "2025-11-20T15:17:58Z", "value": "9999m", "token": "not of the API",
    });
    if version == "v1beta1" {
        item["metricName"] = json!("m");
        item["window"] = json!(60);
    } else {
        item["metric"] = json!({"name": "m", "selector": {"matchLabels": {"a": "b"}}});
        item["windowSeconds"] = json!(60);
    }
    let mut list = json!({
        "kind": "MetricValueList", "apiVersion": format!("custom.metrics.k8s.io/{version}"),
        "metadata": {"selfLink": "/"}, "items": [item],
    });
    change(&mut list);
    list.to_string().into_bytes()
}

/// An external value with so many labels, of so many bytes each.
fn labelled(count: usize, bytes: usize) -> Value {
    let value = "v".repeat(bytes.saturating_sub(4));
    let labels = (0..count).map(|label| (format!("{label:04}"), json!(value))).collect();
    json!({
        "metricName": "m", "metricLabels": Value::Object(labels),
        "timestamp": "2025-11-20T15:17:58Z", "value": "7",
    })
}

#[test]
fn labels_are_bounded() {
    let answer = |items: &[Value]| {
        let list = json!({
            "kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "metadata": {},
            "items": items,
        });
        external_read("m").answer(list.to_string().as_bytes())
    };
    let many = MOST_LABELS_IN_ALL / MOST_LABELS;
    for (item, count, is_passed_on) in [
        (labelled(MOST_LABELS, 5), 1, true),
        (labelled(MOST_LABELS + 1, 5), 1, false),
        (labelled(1, LONGEST_LABEL), 1, true),
        (labelled(1, LONGEST_LABEL + 1), 1, false),
        (labelled(MOST_LABELS, 5), many, true),
        (labelled(MOST_LABELS, 5), many + 1, false),
        (labelled(0, 0), MOST_VALUES, true),
    ] {
        let answered = answer(&vec![item; count]);
        assert_eq!(answered.is_ok(), is_passed_on, "{count}");
        assert!(is_passed_on || answered == Err(Unfit::Labels), "{count}");
    }
    assert_eq!(answer(&vec![labelled(0, 0); MOST_VALUES + 1]), Err(Unfit::TooMany));
}

#[test]
fn an_answer_is_passed_on_in_the_version_that_was_asked_for() {
    for (server, name) in [(Version::V1beta1, "v1beta1"), (Version::V1beta2, "v1beta2")] {
        for version in Version::ALL {
            let read = custom_read("namespaces/n/pods/*/m", version);
            let answer = read.answer(server, &list(name, |_| {})).unwrap();
            let kinds = Kinds::builtin();
            let described = custom::Described {
                kind: kinds.resolve("", "pods").unwrap(),
                namespace: Some("n"),
                metric: "m",
                selector: None,
                window_seconds: Some(60),
            };
            let reading = Reading { name: "web-0".into(), milli: 9999, at_ms: 1_763_651_878_000 };
            let ours = custom::encode(version, described, &[reading]);
            assert_eq!(String::from_utf8(answer).unwrap(), String::from_utf8(ours).unwrap());
        }
    }
}

type Change = Box<dyn Fn(&mut Value)>;

#[test]
fn an_answer_of_something_else_is_refused() {
    let read = custom_read("namespaces/n/pods/web-0/m", Version::V1beta2);
    let answer =
        |change: &dyn Fn(&mut Value)| read.answer(Version::V1beta2, &list("v1beta2", change));
    assert!(answer(&|_| {}).is_ok());
    let empty = answer(&|list| list["items"] = json!([]));
    assert!(empty.is_ok());
    assert_eq!(answer(&|list| list["items"] = Value::Null), empty);
    let item = |pointer: &'static str, value: Value| {
        move |list: &mut Value| *list["items"][0].pointer_mut(pointer).unwrap() = value.clone()
    };
    let cases: [(Change, &str); 14] = [
        (Box::new(|list| list["kind"] = json!("PodList")), "MetricValueList"),
        (Box::new(|list| list["apiVersion"] = json!("custom.metrics.k8s.io/v1beta1")), "v1beta2"),
        (Box::new(|list| list["items"] = json!({})), "line"),
        (Box::new(item("/metric/name", json!("other"))), "metric `other`"),
        (Box::new(item("/metric", Value::Null)), "metric ``"),
        (
            Box::new(item("/describedObject/namespace", json!("kube-system"))),
            "namespace `kube-system`",
        ),
        (Box::new(item("/describedObject/namespace", Value::Null)), "namespace ``"),
        (Box::new(item("/describedObject/name", json!("web-1"))), "object `web-1`"),
        (Box::new(item("/describedObject/kind", json!("Node"))), "kind `Node of /v1`"),
        (Box::new(item("/describedObject/apiVersion", json!("apps/v1"))), "kind `Pod of apps/v1`"),
        (Box::new(item("/value", json!("NaN"))), "`NaN`"),
        (Box::new(item("/value", json!(format!("{}1", "0".repeat(80))))), "not a quantity"),
        (Box::new(item("/timestamp", json!("yesterday"))), "time"),
        (Box::new(item("/value", json!(5))), "line"),
    ];
    for (change, wanted) in cases {
        let error = answer(&*change).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error} is not about {wanted}");
    }
    let several = custom_read("namespaces/n/pods/*/m", Version::V1beta2);
    let many = list("v1beta2", |list| {
        let item = list["items"][0].clone();
        list["items"] = Value::Array(vec![item; MOST_VALUES + 1]);
    });
    assert_eq!(several.answer(Version::V1beta2, &many), Err(Unfit::TooMany));
    // Of a kind that nobody here knows all values are of one kind.
    let unknown = CustomRead { kind: None, ..several };
    let mixed = list("v1beta2", |list| {
        let mut other = list["items"][0].clone();
        other["describedObject"]["kind"] = json!("Secret");
        list["items"].as_array_mut().unwrap().push(other);
    });
    let error = unknown.answer(Version::V1beta2, &mixed).unwrap_err().to_string();
    assert!(error.contains("kind `Secret`"), "{error}");
}

#[test]
fn a_namespace_may_be_the_object() {
    let read = custom_read("namespaces/n/metrics/m", Version::V1beta2);
    assert!(read.target(Version::V1beta1).unwrap().contains("/v1beta1/namespaces/n/metrics/m?"));
    for namespace in [json!("n"), Value::Null, json!("")] {
        let body = list("v1beta2", |list| {
            let object = &mut list["items"][0]["describedObject"];
            object["kind"] = json!("Namespace");
            object["name"] = json!("n");
            object["namespace"] = namespace.clone();
        });
        assert!(read.answer(Version::V1beta2, &body).is_ok(), "{namespace}");
    }
}

#[test]
fn an_external_answer_is_of_the_metric() {
    let read = external_read("s0-prometheus");
    let body = |name: &str, labels: Value| {
        json!({
            "kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "metadata": {},
            "items": [{"metricName": name, "metricLabels": labels, "timestamp": "2025-11-20T15:17:58Z", "value": "5"}],
        })
        .to_string()
        .into_bytes()
    };
    let answer = read.answer(&body("s0-prometheus", Value::Null)).unwrap();
    assert_eq!(
        String::from_utf8(answer).unwrap(),
        r#"{"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1","metadata":{},"items":[{"metricName":"s0-prometheus","metricLabels":{},"timestamp":"2025-11-20T15:17:58Z","value":"5"}]}"#
    );
    assert!(read.answer(&body("s0-prometheus", json!({"a": "b"}))).is_ok());
    assert!(matches!(read.answer(&body("s1-prometheus", Value::Null)), Err(Unfit::Other { .. })));
    assert!(matches!(read.answer(b"<html>"), Err(Unfit::Json { .. })));
    assert!(matches!(
        read.answer(&list("v1beta2", |_| {})),
        Err(Unfit::Json { .. } | Unfit::Kind { .. })
    ));
}

#[test]
fn what_is_no_segment_of_a_path_is_not_sent() {
    for metric in ["..", ".", "a/b", "../other/m", "a\\b"] {
        assert_eq!(external_read(metric).target(), None);
        let mut read = custom_read("namespaces/n/pods/*/m", Version::V1beta2);
        read.path.metric = metric.to_owned();
        assert_eq!(read.target(Version::V1beta2), None);
    }
    let mut read = custom_read("namespaces/n/pods/*/m", Version::V1beta2);
    read.path.name = Name::One("..".to_owned());
    assert_eq!(read.target(Version::V1beta2), None);
    assert_eq!(
        external_read("a@b c").target().unwrap(),
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/n/a%40b%20c?labelSelector=scaledobject.keda.sh%2Fname%3Dweb"
    );
}

#[test]
fn a_refusal_is_a_status_or_nothing() {
    let status =
        json!({"kind": "Status", "reason": "NotFound", "message": "no\nsuch metric", "code": 404});
    let wanted = Declined {
        code: 404,
        reason: "NotFound".to_owned(),
        message: "no\\nsuch metric".to_owned(),
    };
    assert_eq!(declined(404, status.to_string().as_bytes(), ""), wanted);
    for body in [
        "",
        "<html>secret</html>",
        r#"{"message":"secret"}"#,
        r#"{"kind":"Status","reason":"a b"}"#,
    ] {
        let Declined { reason, message, .. } = declined(503, body.as_bytes(), "");
        assert_eq!((reason.as_str(), message.as_str()), ("", ""), "{body}");
    }
}

#[test]
fn a_refusal_does_not_say_our_secret_or_a_part_of_it() {
    let secret = "s".repeat(40);
    let refusal = |reason: &str, message: &str| {
        let status = json!({"kind": "Status", "reason": reason, "message": message});
        let Declined { reason, message, .. } =
            declined(403, status.to_string().as_bytes(), &secret);
        (reason, message)
    };
    // It begins where the text still has room, and ends behind that.
    for room in 0..secret.len() {
        let message = format!("{}{secret}", ".".repeat(SAID - room));
        assert_eq!(refusal("Forbidden", &message), ("Forbidden".to_owned(), String::new()));
    }
    assert_eq!(refusal(&secret, "no"), (String::new(), "no".to_owned()));
}

proptest! {
    /// Whatever a client writes, the delegate is asked about what was authorized, by every reading of the URL.
    #[test]
    fn a_request_that_is_sent_is_the_one_that_was_parsed(rest in "[a-z./*%2fFeE]{1,40}|\\PC{0,40}") {
        let prefix = "/apis/custom.metrics.k8s.io/v1beta2/";
        if let Ok(path) = path::parse(&rest) {
            let none = Selector::default();
            let read = CustomRead {
                path, objects: none.clone(), metric: none, kind: None, version: Version::V1beta2,
            };
            if let Some(target) = read.target(Version::V1beta2) {
                let mut url = url::Url::parse("https://delegate:443").unwrap();
                url.set_path(&target);
                prop_assert_eq!(url.path(), &target);
                prop_assert_eq!(url.query(), None);
                let sent = path::parse(target.strip_prefix(prefix).unwrap());
                let mut parsed = read.path;
                if parsed.namespace.is_none() && parsed.resource.to_string() == "namespace" {
                    parsed.resource.resource.push('s');
                }
                prop_assert_eq!(sent, Ok(parsed));
            }
        }
    }

    #[test]
    fn no_response_panics(body in "\\PC{0,200}") {
        let _refused = custom_read("namespaces/n/pods/*/m", Version::V1beta1).answer(Version::V1beta1, body.as_bytes());
        let _refused = external_read("m").answer(body.as_bytes());
        declined(500, body.as_bytes(), "");
    }
}
