use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::demo::Backend;

/// What stands in for loadline: answers the LSP servers' metric from a list, and knows no other.
#[derive(Clone)]
struct Answers {
    left: Arc<Mutex<VecDeque<Answer>>>,
    /// Cancelled when somebody asks for more.
    exhausted: CancellationToken,
}

type Answer = (StatusCode, serde_json::Value);

async fn next(
    State(answers): State<Answers>,
    Path((_, metric)): Path<(String, String)>,
) -> Response {
    let mut left = answers.left.lock().unwrap();
    if metric == Workload::LspServer.metric() {
        if let Some((status, body)) = left.pop_front() {
            return (status, axum::Json(body)).into_response();
        }
        answers.exhausted.cancel();
    }
    let status = json!({"kind": "Status", "message": "the metric is\nunknown"});
    (StatusCode::NOT_FOUND, axum::Json(status)).into_response()
}

/// Runs until the answers are used up or the duration is over; returns the output, the summary and the LSP servers' pods.
async fn run_against(
    answers: impl IntoIterator<Item = Answer>,
    duration: Option<Duration>,
) -> (String, [WorkloadSummary; 2], usize) {
    // The provider may have been installed by another test.
    _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let exhausted = CancellationToken::new();
    let router = Router::new()
        .route(
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/cloud-ide/pods/{pods}/{metric}",
            get(next),
        )
        .with_state(Answers {
            left: Arc::new(Mutex::new(answers.into_iter().collect())),
            exhausted: exhausted.clone(),
        });
    let stop = CancellationToken::new();
    let server = tokio::spawn(
        axum::serve(listener, router)
            .with_graceful_shutdown(stop.clone().cancelled_owned())
            .into_future(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = Backend::start(listener, stop.clone()).unwrap();
    let options = Options {
        connection: Connection { url, kubeconfig: "/tmp/kubeconfig".into() },
        store_url: backend.url(),
        interval: Duration::from_millis(20),
        duration,
    };
    let client = reqwest::Client::builder().build().unwrap();
    let mut out = Vec::new();
    let ide = backend.ide();
    let summaries = run(&options, &client, &ide, &exhausted, &mut out).await.unwrap();
    let pods = ide.pods(Workload::LspServer).len();
    drop(client);
    stop.cancel();
    backend.stopped().await.unwrap();
    server.await.unwrap().unwrap();
    (String::from_utf8(out).unwrap(), summaries, pods)
}

fn list(values: &[(&str, &str)]) -> Answer {
    let items: Vec<_> = values
        .iter()
        .map(|(pod, value)| {
            json!({
                "describedObject": {"kind": "Pod", "namespace": "cloud-ide", "name": pod, "apiVersion": "/v1"},
                "metric": {"name": "lsp_requests_per_second", "selector": null},
                "timestamp": "2026-11-20T15:17:58Z",
                "value": value,
            })
        })
        .collect();
    let body = json!({"kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "metadata": {}, "items": items});
    (StatusCode::OK, body)
}

#[tokio::test]
async fn reads_decides_scales_and_prints() {
    let (text, summaries, pods) = run_against(
        [
            // The third pod is gone: its value does not count.
            list(&[("lsp-server-0", "90"), ("lsp-server-1", "110500m"), ("lsp-server-7", "1k")]),
            (StatusCode::INTERNAL_SERVER_ERROR, json!({"message": "not discovered yet"})),
            list(&[]),
        ],
        None,
    )
    .await;
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(" s  lsp-server")).collect();
    assert!(lines[0].ends_with("100.3     50.0     2        5  scale up"), "{text}");
    assert!(lines[1].ends_with("held: 500 Internal Server Error: not discovered yet"), "{text}");
    assert!(lines[2].ends_with("held: no pod has a value"), "{text}");
    assert!(text.contains("held: 404 Not Found: the metric is unknown"), "{text}");
    assert_eq!(pods, 5);
    assert_eq!(summaries[0].answered, 1);
    assert_eq!((summaries[0].ups, summaries[0].downs), (1, 0));
    assert_eq!(summaries[1].answered, 0);
    assert!(summaries[1].failed >= 3);
    assert!(text.ends_with("times\n"), "{text}");
}

#[tokio::test]
async fn a_duration_ends_it_with_a_summary() {
    let (text, summaries, pods) = run_against([], Some(Duration::ZERO)).await;
    assert!(text.contains("kubectl "), "{text}");
    assert!(text.contains("0 s of cloud IDE:"), "{text}");
    assert_eq!(summaries.map(|summary| summary.answered), [0, 0]);
    assert_eq!(pods, 2);
}
