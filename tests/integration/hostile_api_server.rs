//! An API server that answers without end, or with what cannot be read: what loadline takes of it is bounded, and nothing secret
//! gets into the log.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    response::{IntoResponse as _, Response},
};
use futures::stream;
use kube::{Client, Config};
use loadline::{
    core::{
        kinds::{Kind, Kinds},
        selector::Selector,
    },
    kubernetes::{self, collection::Collection, retries::Broken, watch::Watch},
};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::support::{install_tls_provider, process::Process, serve, until};

/// How many bytes an endless answer has sent.
type Sent = Arc<AtomicUsize>;

/// More than any answer may have, so that an answer that is read on fails the test and not the machine.
const ENDLESS: usize = 256 << 20;

fn endless(sent: &Sent) -> Response {
    const PIECE: usize = 64 << 10;
    let pieces = stream::unfold(Arc::clone(sent), async |sent| {
        let before = sent.fetch_add(PIECE, Ordering::SeqCst);
        (before < ENDLESS).then(|| (Ok::<_, std::io::Error>(vec![b'x'; PIECE]), sent))
    });
    ([("content-type", "application/json")], Body::from_stream(pieces)).into_response()
}

async fn client(
    answer: impl Fn(Request) -> Response + Clone + Send + Sync + 'static,
) -> (Client, AbortOnDropHandle<()>) {
    install_tls_provider();
    let (url, task) =
        serve(Router::new().fallback(async move |request: Request| answer(request))).await;
    let config = Config::new(url.parse().unwrap());
    (kubernetes::client(config).unwrap(), task)
}

fn pods() -> Arc<Kind> {
    Arc::clone(Kinds::builtin().resolve("", "pods").unwrap())
}

async fn list(client: &Client) -> Result<Vec<String>, kubernetes::Error> {
    let everything = Selector::default();
    kubernetes::list::metadata(client, &pods(), None, &everything, None, |pod| pod.name).await
}

fn page(version: u64, token: &str) -> Response {
    let items = [json!({"metadata": {"name": format!("pod-{version}"), "namespace": "n"}})];
    let metadata = json!({"resourceVersion": "1", "continue": token});
    axum::Json(json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}))
        .into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_does_not_end_is_an_error() {
    let asked = Sent::default();
    let pages = Arc::clone(&asked);
    let (client, _server) = client(move |_| {
        pages.fetch_add(1, Ordering::SeqCst);
        page(1, "again")
    })
    .await;
    list(&client).await.unwrap_err();
    assert_eq!(asked.load(Ordering::SeqCst), 2, "the page after the first leads nowhere new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_does_not_end_is_not_read_on() {
    let sent = Sent::default();
    let counted = Arc::clone(&sent);
    let (client, _server) = client(move |_| endless(&counted)).await;
    list(&client).await.unwrap_err();
    assert!(sent.load(Ordering::SeqCst) < ENDLESS, "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_does_not_end_is_not_read_on() {
    let sent = Sent::default();
    let counted = Arc::clone(&sent);
    let (client, _server) = client(move |request| {
        let is_watch = request.uri().query().unwrap_or_default().contains("watch=true");
        if is_watch { endless(&counted) } else { page(1, "") }
    })
    .await;
    let broken = Watch::new(Collection::metadata(client, &pods(), None)).follow(|_| {}).await;
    assert!(matches!(broken, Broken::Failed { .. }), "{broken}");
    assert!(sent.load(Ordering::SeqCst) < ENDLESS, "{sent:?}");
}

fn refused(code: u16) -> Value {
    let reason = if code == 410 { "Expired" } else { "InternalError" };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "code": code})
}

fn status(code: u16) -> Response {
    (http::StatusCode::from_u16(code).unwrap(), axum::Json(refused(code))).into_response()
}

/// What is answered, how, and what it means.
type Bad = (&'static str, fn() -> Response, Wanted);

/// Lists and watches that are no good.
const BAD: &[Bad] = &[
    ("gone", || status(410), Wanted::Expired),
    (
        "gone, as an event",
        || event(&json!({"type": "ERROR", "object": refused(410)})),
        Wanted::Expired,
    ),
    (
        "an event of an error",
        || event(&json!({"type": "ERROR", "object": refused(500)})),
        Wanted::Failed,
    ),
    ("busy", || status(429), Wanted::Failed),
    ("broken", || status(500), Wanted::Failed),
    ("away", || status(503), Wanted::Failed),
    ("another code", || status(418), Wanted::Failed),
    (
        "a redirect",
        || (http::StatusCode::FOUND, [("location", "/")]).into_response(),
        Wanted::Failed,
    ),
    ("not allowed", || status(403), Wanted::Refused),
    ("nobody", || status(401), Wanted::Refused),
    ("no such resource", || status(404), Wanted::Missing),
    ("garbage", || b"\xff\xfe{not json\n".to_vec().into_response(), Wanted::Failed),
    ("a page", || ([("content-type", "text/html")], "<html>\n").into_response(), Wanted::Failed),
    ("nothing", || ().into_response(), Wanted::Failed),
    (
        "half an event",
        || r#"{"type":"ADDED","object":{"metadata":{"na"#.into_response(),
        Wanted::Failed,
    ),
    ("other JSON", || event(&json!([1, {}])), Wanted::Failed),
    ("no object", || event(&json!({"type": "ADDED"})), Wanted::Failed),
    (
        "an unknown event",
        || event(&json!({"type": "SURPRISE", "object": {"metadata": {}}})),
        Wanted::Failed,
    ),
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wanted {
    Expired,
    Refused,
    Missing,
    Failed,
}

impl From<&Broken> for Wanted {
    fn from(broken: &Broken) -> Self {
        match broken {
            Broken::Refused { .. } => Self::Refused,
            Broken::Missing => Self::Missing,
            Broken::Expired => Self::Expired,
            Broken::Failed { .. } => Self::Failed,
        }
    }
}

fn event(event: &Value) -> Response {
    format!("{event}\n").into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_answer_breaks_a_watch_which_pauses_then() {
    for (what, answer, wanted) in BAD {
        for is_bad in ["watch", "list"] {
            // Of a list an empty answer is none, and a line is no event.
            let asked = Sent::default();
            let counted = Arc::clone(&asked);
            let (client, _server) = client(move |request| {
                counted.fetch_add(1, Ordering::SeqCst);
                let is_watch = request.uri().query().unwrap_or_default().contains("watch=true");
                if is_watch == (is_bad == "watch") { answer() } else { page(1, "") }
            })
            .await;
            let mut watch = Watch::new(Collection::metadata(client, &pods(), None));
            let broken = watch.follow(|_| {}).await;
            let wanted = match (is_bad, what) {
                ("list", what) if what.contains("event") => Wanted::Failed,
                _ => *wanted,
            };
            assert_eq!(Wanted::from(&broken), wanted, "{is_bad} {what}: {broken}");
            assert!(asked.load(Ordering::SeqCst) <= 2, "{is_bad} {what}: {asked:?}");
            let pause = watch.pause(&broken, Duration::from_secs(300));
            assert!(pause >= Duration::from_millis(400), "{is_bad} {what}: {pause:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_do_not_end_are_not_read_on() {
    let sent = Sent::default();
    let counted = Arc::clone(&sent);
    let (client, _server) = client(move |_| endless(&counted)).await;
    kubernetes::kinds(&client).await.unwrap_err();
    assert!(sent.load(Ordering::SeqCst) < ENDLESS, "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_is_refused_for_a_while_says_for_how_long() {
    let (client, _server) = client(move |request| {
        if request.uri().query().unwrap_or_default().contains("watch=true") {
            (http::StatusCode::TOO_MANY_REQUESTS, [("retry-after", "17")], "slow down")
                .into_response()
        } else {
            page(1, "")
        }
    })
    .await;
    let broken = Watch::new(Collection::metadata(client, &pods(), None)).follow(|_| {}).await;
    let Broken::Failed { retry_after, .. } = broken else { panic!("{broken}") };
    assert_eq!(retry_after, Some(Duration::from_secs(17)));
}

/// At any level, and however the log is asked for: an API server that sends a review back so that it cannot be read makes
/// libraries print it.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_not_in_the_log_whatever_becomes_of_its_review() {
    const TOKEN: &str = "the-token-of-a-caller";
    install_tls_provider();
    let reviews = Sent::default();
    let counted = Arc::clone(&reviews);
    let router = Router::new().fallback(async move |request: Request| {
        if !request.uri().path().ends_with("/tokenreviews") {
            return http::StatusCode::NOT_FOUND.into_response();
        }
        let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains(TOKEN), "{body}");
        match counted.fetch_add(1, Ordering::SeqCst) {
            // Cut, of another type, with an error status, and a page of a proxy.
            0 => (http::StatusCode::CREATED, body.trim_end_matches('}').to_owned()).into_response(),
            1 => (http::StatusCode::CREATED, format!("[{body}]")).into_response(),
            2 => (http::StatusCode::INTERNAL_SERVER_ERROR, body).into_response(),
            _ => (http::StatusCode::BAD_GATEWAY, format!("<pre>{body}</pre>")).into_response(),
        }
    });
    let (url, _server) = serve(router).await;
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "c", "user": {"token": "our-own-token"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    });
    std::fs::write(&kubeconfig, text.to_string()).unwrap();
    let rules = folder.path().join("rules.yaml");
    std::fs::write(&rules, "rules: []\n").unwrap();
    let mut command = crate::support::process::loadline(&[
        "serve",
        "--secure-port=0",
        "--bind-address=127.0.0.1",
        "--v=10",
        "--prometheus-url=http://127.0.0.1:9",
        &format!("--config={}", rules.display()),
        &format!("--lister-kubeconfig={}", kubeconfig.display()),
    ]);
    command.env("RUST_LOG", "trace");
    let mut process = Process::start(command, "cargo builds it");
    let port = process.port().await;
    let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
    for round in 0..4 {
        // Another path each time; a review that failed is not remembered.
        let url =
            format!("https://127.0.0.1:{port}/apis/custom.metrics.k8s.io/v1beta1?round={round}");
        let answer = http.get(url).bearer_auth(TOKEN).send().await.unwrap();
        assert!(!answer.status().is_success(), "{answer:?}");
    }
    until("four reviews", async || (reviews.load(Ordering::SeqCst) >= 4).then_some(())).await;
    let log = process.stderr();
    assert!(log.contains("TRACE"), "everything is logged: {log}");
    for secret in [TOKEN, "our-own-token"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}
