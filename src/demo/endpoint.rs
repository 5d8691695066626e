//! The part of Prometheus' HTTP API that loadline asks, in front of the [`Store`].
//!
//! `GET` and `POST` (form) on `/api/v1/query`, `/api/v1/labels` and `/api/v1/series`, `GET` on
//! `/api/v1/label/{name}/values`, and the two probes under `/-/`. Envelopes, error types and status codes are Prometheus':
//! 400 `bad_data` for what cannot be read, 422 `execution` for what has no answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::store::{Answer, Labels, Store, StoreError};

/// The routes.
pub fn router(store: Arc<Store>) -> Router {
    Router::new()
        .route("/api/v1/query", get(query).post(query))
        .route("/api/v1/labels", get(label_names).post(label_names))
        .route("/api/v1/label/{name}/values", get(label_values))
        .route("/api/v1/series", get(series).post(series))
        .route("/-/ready", get(async || "The demo's store is ready.\n"))
        .route("/-/healthy", get(async || "The demo's store is healthy.\n"))
        .with_state(store)
}

/// A refused request.
#[derive(Debug)]
enum Refusal {
    BadData(String),
    Execution(String),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Parse(_) => Self::BadData(error.to_string()),
            StoreError::Execution(_) => Self::Execution(error.to_string()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, kind, message) = match self {
            Self::BadData(message) => (StatusCode::BAD_REQUEST, "bad_data", message),
            Self::Execution(message) => (StatusCode::UNPROCESSABLE_ENTITY, "execution", message),
        };
        let body = json!({"status": "error", "errorType": kind, "error": message});
        (status, Json(body)).into_response()
    }
}

type Outcome = Result<Json<Value>, Refusal>;

fn success(data: &Value) -> Json<Value> {
    Json(json!({"status": "success", "data": data}))
}

async fn query(State(store): State<Arc<Store>>, RawQuery(url): RawQuery, form: String) -> Outcome {
    let parameters = Parameters::new(url.as_deref(), &form)?;
    let promql = parameters.one("query").unwrap_or_default();
    let at = parameters.time("time")?.unwrap_or_else(now);
    let (kind, result) = match store.query(promql, at)? {
        Answer::Scalar(value) => ("scalar", json!([seconds(at), number(value)])),
        Answer::Vector(samples) => (
            "vector",
            samples
                .iter()
                .map(|(metric, value)| {
                    json!({"metric": metric, "value": [seconds(at), number(*value)]})
                })
                .collect(),
        ),
    };
    Ok(success(&json!({"resultType": kind, "result": result})))
}

async fn label_names(
    State(store): State<Arc<Store>>,
    RawQuery(url): RawQuery,
    form: String,
) -> Outcome {
    let series = matched(&store, &Parameters::new(url.as_deref(), &form)?)?;
    let names: BTreeSet<&String> = series.iter().flat_map(Labels::keys).collect();
    Ok(success(&json!(names)))
}

async fn label_values(
    State(store): State<Arc<Store>>,
    Path(name): Path<String>,
    RawQuery(url): RawQuery,
) -> Outcome {
    let series = matched(&store, &Parameters::new(url.as_deref(), "")?)?;
    let values: BTreeSet<&String> = series.iter().filter_map(|s| s.get(&name)).collect();
    Ok(success(&json!(values)))
}

async fn series(State(store): State<Arc<Store>>, RawQuery(url): RawQuery, form: String) -> Outcome {
    let parameters = Parameters::new(url.as_deref(), &form)?;
    if parameters.one("match[]").is_none() {
        return Err(Refusal::BadData("no match[] parameter provided".to_owned()));
    }
    Ok(success(&json!(matched(&store, &parameters)?)))
}

fn matched(store: &Store, parameters: &Parameters) -> Result<BTreeSet<Labels>, Refusal> {
    let range = match (parameters.time("start")?, parameters.time("end")?) {
        (None, None) => None,
        (start, end) => Some((start.unwrap_or(0), end.unwrap_or(i64::MAX))),
    };
    if range.is_some_and(|(start, end)| end < start) {
        return Err(Refusal::BadData(
            "end timestamp must not be before start timestamp".to_owned(),
        ));
    }
    Ok(store.series(&parameters.all("match[]"), range)?)
}

/// The parameters of the URL and of the form together.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn new(url: Option<&str>, form: &str) -> Result<Self, Refusal> {
        // Only a decoder for `application/x-www-form-urlencoded`; nothing is sent to this address.
        let mut decoder = reqwest::Url::parse("http://localhost/")
            .map_err(|error| Refusal::BadData(error.to_string()))?;
        let mut pairs = Vec::new();
        for encoded in [url.unwrap_or_default(), form] {
            decoder.set_query(Some(encoded));
            pairs.extend(decoder.query_pairs().into_owned());
        }
        Ok(Self(pairs))
    }

    fn one(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str())
    }

    fn all(&self, name: &str) -> Vec<String> {
        let pairs = self.0.iter().filter(|(key, _)| key == name);
        pairs.map(|(_, value)| value.clone()).collect()
    }

    /// A time in milliseconds, given as seconds or by RFC 3339.
    fn time(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.one(name) else {
            return Ok(None);
        };
        let from_seconds = text.parse::<f64>().ok().and_then(milliseconds);
        let parsed = from_seconds.or_else(|| {
            let timestamp: jiff::Timestamp = text.parse().ok()?;
            Some(timestamp.as_millisecond())
        });
        parsed.map(Some).ok_or_else(|| {
            Refusal::BadData(format!(
                "invalid parameter {name:?}: cannot parse {text:?} to a valid timestamp"
            ))
        })
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Milliseconds of a time in seconds, if it is one of the next or last thirty thousand years.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the bound keeps it far inside i64, and a fraction of a millisecond is not meant"
)]
fn milliseconds(seconds: f64) -> Option<i64> {
    (seconds.abs() < 1e12).then(|| (seconds * 1_000.0).round() as i64)
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit the 52 bits")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1_000.0
}

/// A value as Prometheus writes it: no exponent, as many digits as it takes.
fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests;
