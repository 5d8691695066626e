use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, header};
use tower::ServiceExt as _;

use super::*;
use crate::demo::workload::Sample;

const T0: i64 = 1_800_000_000_000;

fn store() -> Arc<Store> {
    let store = Store::default();
    for second in 0..=30_i32 {
        let scrape: Vec<Sample> = ["a-0", "a-1"]
            .iter()
            .map(|pod| Sample {
                name: "lsp_requests_total",
                labels: vec![("namespace", "ide".to_owned()), ("pod", (*pod).to_owned())],
                value: f64::from(second) * 4.0,
            })
            .collect();
        store.ingest(T0 + i64::from(second) * 1_000, &scrape);
    }
    Arc::new(store)
}

async fn ask(method: Method, target: &str, form: &str) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form.to_owned()))
        .unwrap();
    let response = router(store()).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let json = serde_json::from_slice(&body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
    (status, json)
}

async fn get_ok(target: &str) -> Value {
    let (status, body) = ask(Method::GET, target, "").await;
    assert_eq!((status, &body["status"]), (200, &json!("success")), "{body}");
    body["data"].clone()
}

#[tokio::test]
async fn a_vector_by_get_and_by_post() {
    let expected = json!({"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": {"pod": "a-0"}, "value": [1_800_000_030.5, "4"]},
        {"metric": {"pod": "a-1"}, "value": [1_800_000_030.5, "4"]},
    ]}});
    let encoded = "query=sum(rate(lsp_requests_total%7Bpod!%3D%22%22%7D%5B10s%5D))+by+(pod)&time=1800000030.5";
    let by_get = ask(Method::GET, &format!("/api/v1/query?{encoded}"), "").await;
    assert_eq!(by_get, (200, expected.clone()));
    let by_post = ask(Method::POST, "/api/v1/query", encoded).await;
    assert_eq!(by_post, (200, expected));
}

#[tokio::test]
async fn the_other_types_and_times() {
    let scalar = get_ok("/api/v1/query?query=1%2F0&time=2027-01-15T08:00:30.25Z").await;
    assert_eq!(scalar, json!({"resultType": "scalar", "result": [1_800_000_030.25, "+Inf"]}));
    let empty = get_ok("/api/v1/query?query=nothing").await;
    assert_eq!(empty, json!({"resultType": "vector", "result": []}));
}

#[tokio::test]
async fn refusals() {
    for (target, status, kind) in [
        ("/api/v1/query?query=sum(", 400, "bad_data"),
        ("/api/v1/query", 400, "bad_data"),
        ("/api/v1/query?query=x%5B1m%5D", 422, "execution"),
        ("/api/v1/query?query=up&time=soon", 400, "bad_data"),
        ("/api/v1/query?query=up&time=NaN", 400, "bad_data"),
        ("/api/v1/series", 400, "bad_data"),
        ("/api/v1/series?match[]=%7B%7D", 400, "bad_data"),
        ("/api/v1/labels?start=10&end=5", 400, "bad_data"),
        // Two series for one label set on either side of a division.
        (
            "/api/v1/query?query=lsp_requests_total/on(namespace)lsp_requests_total&time=1800000030",
            422,
            "execution",
        ),
    ] {
        let (got, body) = ask(Method::GET, target, "").await;
        assert_eq!(got, status, "{target}: {body}");
        assert_eq!(body["status"], "error", "{target}");
        assert_eq!(body["errorType"], kind, "{target}");
        assert!(body["error"].as_str().is_some_and(|text| !text.is_empty()));
    }
}

#[tokio::test]
async fn metadata() {
    let names =
        get_ok("/api/v1/labels?match[]=lsp_requests_total&start=1800000000&end=1800000030").await;
    assert_eq!(names, json!(["__name__", "namespace", "pod"]));
    let metrics = get_ok("/api/v1/label/__name__/values?match[]=%7Bpod!%3D%22%22%7D").await;
    assert_eq!(metrics, json!(["lsp_requests_total"]));
    let pods = get_ok("/api/v1/label/pod/values?match[]=lsp_requests_total").await;
    assert_eq!(pods, json!(["a-0", "a-1"]));
    let none = get_ok("/api/v1/label/pod/values?start=1900000000").await;
    assert_eq!(none, json!([]));
    let series =
        get_ok("/api/v1/series?match[]=lsp_requests_total%7Bpod=%22a-1%22%7D&match[]=nothing")
            .await;
    assert_eq!(
        series,
        json!([{"__name__": "lsp_requests_total", "namespace": "ide", "pod": "a-1"}])
    );
}

#[tokio::test]
async fn probes() {
    assert_eq!(ask(Method::GET, "/-/ready", "").await.0, 200);
    assert_eq!(ask(Method::GET, "/-/healthy", "").await.0, 200);
    assert_eq!(ask(Method::GET, "/api/v1/alerts", "").await.0, 404);
}
