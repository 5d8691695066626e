//! A backend that answers as it is told, and remembers what it was asked.

use std::{
    io::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse as _, Response},
};
use flate2::{Compression, write::GzEncoder};
use futures::StreamExt as _;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::serve;

/// A request that was received.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// What is behind the question mark.
    pub(crate) query: String,
    /// Of the URL and of the body.
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn parameter(&self, name: &str) -> &str {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    pub(crate) fn is_query(&self) -> bool {
        self.path.ends_with("/api/v1/query")
    }

    /// Whether it only asks whether anything is answered.
    pub(crate) fn is_probe(&self) -> bool {
        self.is_query() && self.parameter("query") == "loadline_matches_nothing"
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

/// How to answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Data(Value),
    Raw(u16, &'static str, String),
    /// A redirect to this URL or path.
    Redirect(u16, String),
    /// With this status, and this `Retry-After` if it is not empty.
    Later(u16, &'static str),
    /// A body that is short only as long as it is packed: so many bytes.
    Bomb(usize),
    /// So many bytes of a body that does not end before.
    Endless(usize),
    /// So many bytes of a body that breaks off then.
    Cut(usize),
    /// A byte now and then, without end.
    Trickle,
    /// Not at all.
    Hang,
    /// With the data, once the gate is open.
    Gated(watch::Receiver<bool>, Value),
}

type Script = Box<dyn Fn(&Asked) -> Answer + Send + Sync>;

struct Shared {
    script: Mutex<Script>,
    asked: Mutex<Vec<Asked>>,
    /// How many seconds its clock is ahead of ours.
    ahead: AtomicI64,
}

/// The backend.
#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) url: String,
    shared: Arc<Shared>,
    _task: Arc<AbortOnDropHandle<()>>,
}

impl Backend {
    pub(crate) async fn start(script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let script: Script = Box::new(script);
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            asked: Mutex::default(),
            ahead: AtomicI64::new(0),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let (url, task) = serve(router).await;
        Self { url, shared, _task: Arc::new(task) }
    }

    /// Answers by another script from now on.
    pub(crate) fn play(&self, script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) {
        *self.shared.script.lock().expect("not poisoned") = Box::new(script);
    }

    /// Its clock is so many seconds ahead of ours from now on.
    pub(crate) fn set_clock(&self, ahead: i64) {
        self.shared.ahead.store(ahead, Ordering::SeqCst);
    }

    /// What was asked since the last call.
    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.shared.asked.lock().expect("not poisoned"))
    }

    /// How many of the requests since the last [`Backend::take`] are of a kind.
    pub(crate) fn count(&self, is: impl Fn(&Asked) -> bool) -> usize {
        self.shared.asked.lock().expect("not poisoned").iter().filter(|asked| is(asked)).count()
    }

    /// The router alone, to serve it in another way.
    pub(crate) fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(Arc::clone(&self.shared))
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead(&shared));
    let date = now.strftime("%a, %d %b %Y %T GMT").to_string();
    ([("date", date)], respond(shared, request).await).into_response()
}

fn ahead(shared: &Shared) -> i64 {
    shared.ahead.load(Ordering::SeqCst)
}

async fn respond(shared: Arc<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a small body");
    let body = String::from_utf8(body.to_vec()).expect("a form");
    let query = head.uri.query().unwrap_or_default();
    let form = Url::parse(&format!("http://form/?{query}&{body}")).expect("a form");
    let asked = Asked {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: query.to_owned(),
        parameters: form.query_pairs().into_owned().collect(),
        headers: head.headers,
        body,
    };
    let answer = (shared.script.lock().expect("not poisoned"))(&asked);
    shared.asked.lock().expect("not poisoned").push(asked);
    match answer {
        Answer::Data(data) => success(&data),
        Answer::Raw(status, content_type, body) => {
            let status = StatusCode::from_u16(status).expect("a status");
            (status, [("content-type", content_type)], body).into_response()
        }
        Answer::Redirect(status, location) => {
            let status = StatusCode::from_u16(status).expect("a status");
            (status, [("location", location)]).into_response()
        }
        Answer::Later(status, after) => {
            let status = StatusCode::from_u16(status).expect("a status");
            let after = (!after.is_empty()).then_some([("retry-after", after)]);
            (status, after, "come back later").into_response()
        }
        Answer::Bomb(bytes) => {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(&vec![b' '; bytes]).expect("memory");
            ([("content-encoding", "gzip")], packed.finish().expect("memory")).into_response()
        }
        Answer::Endless(bytes) => {
            let chunk = bytes::Bytes::from(vec![b' '; 1 << 20]);
            let chunks = (0..bytes >> 20).map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
            Body::from_stream(futures::stream::iter(chunks)).into_response()
        }
        Answer::Cut(bytes) => {
            let part = Ok(bytes::Bytes::from(vec![b' '; bytes]));
            let broken = Err(std::io::Error::other("it breaks"));
            Body::from_stream(futures::stream::iter([part, broken])).into_response()
        }
        Answer::Trickle => {
            let bytes = futures::stream::repeat(()).then(|()| async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok::<_, std::io::Error>(bytes::Bytes::from_static(b" "))
            });
            Body::from_stream(bytes).into_response()
        }
        Answer::Hang => std::future::pending().await,
        Answer::Gated(mut gate, data) => {
            gate.wait_for(|open| *open).await.expect("the gate is kept");
            success(&data)
        }
    }
}

fn success(data: &Value) -> Response {
    axum::Json(json!({"status": "success", "data": data})).into_response()
}

/// Discovery finds these metric names wherever it looks; queries are answered by `query`.
pub(crate) fn knows(
    names: &'static [&'static str],
    query: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    move |asked| {
        if asked.is_query() {
            return query(asked);
        }
        if asked.parameter("match[]").contains("loadline_matches_nothing") {
            return Answer::Data(json!([]));
        }
        Answer::Data(json!(names))
    }
}

/// A vector of one sample a pod, at a time that does not change.
pub(crate) fn pods(values: &[(&str, &str)]) -> Value {
    let rows: Vec<_> = values
        .iter()
        .map(|(pod, value)| json!({"metric": {"pod": pod}, "value": [1_790_000_000.5, value]}))
        .collect();
    json!({"resultType": "vector", "result": rows})
}
