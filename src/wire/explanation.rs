//! The explanation of a metric, as the deployed server sends it to `loadline explain`.
//!
//! It is read at `explanations/METRIC` below a version of custom.metrics.k8s.io, external.metrics.k8s.io and metrics.k8s.io, where
//! the metric is `cpu` or `memory`: a resource of its own for who may read it, in groups that kube-apiserver sends to us anyway.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::path::segment;
use crate::core::explain::{
    Answered, Api, Cause, Inquiry, Severity, Step, Subject,
    facts::Which,
    hpa::{Found, PastDay},
};

/// The resource.
pub const RESOURCE: &str = "explanations";

/// The kind of the answer.
const KIND: &str = "MetricExplanation";

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    kind: Cow<'static, str>,
    api_version: String,
    steps: Vec<ExplainedStep>,
    /// Nothing where there are none, and `reason` says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    values: Option<Vec<ExplainedValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    query: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    past_day: Option<PastDay>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pods: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct ExplainedStep {
    #[serde(flatten)]
    step: Step,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    severity: Option<Severity>,
}

#[derive(Debug, Deserialize, Serialize)]
struct ExplainedValue {
    /// The object, or the labels of an external value.
    name: String,
    /// Thousandths.
    milli: i64,
}

/// An answer that is none.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is no JSON of the right form, or says what this version does not know.
    #[error("the explanation cannot be read: {0}")]
    Form(#[from] serde_json::Error),
    /// It is something else.
    #[error("the answer is no {KIND}")]
    Other,
}

/// Encodes an answer, for a version of a group.
pub fn encode(api_version: &str, answered: Answered) -> Vec<u8> {
    let Answered { steps, found } = answered;
    let Found { values, query, history, pods, .. } = found;
    let step = |step: Step| {
        let (cause, severity) = step.cause.unzip();
        ExplainedStep { step, cause, severity }
    };
    let (values, reason) = match values {
        Ok(values) => (Some(values), None),
        Err(reason) => (None, Some(reason)),
    };
    let value = |(name, milli)| ExplainedValue { name, milli };
    let document = Document {
        kind: KIND.into(),
        api_version: api_version.to_owned(),
        steps: steps.into_iter().map(step).collect(),
        values: values.map(|values| values.into_iter().map(value).collect()),
        reason,
        query,
        past_day: history,
        pods,
    };
    // Texts and finite numbers, whose keys are texts: nothing of it can fail.
    serde_json::to_vec(&document).unwrap_or_default()
}

/// Reads an answer.
pub fn decode(text: &str) -> Result<Answered, DecodeError> {
    let document: Document = serde_json::from_str(text)?;
    if document.kind != KIND {
        return Err(DecodeError::Other);
    }
    let step = |explained: ExplainedStep| {
        let cause = explained.cause.zip(explained.severity);
        Step { cause, ..explained.step }
    };
    let value = |value: ExplainedValue| (value.name, value.milli);
    let values = document.values.map(|values| values.into_iter().map(value).collect());
    let values = values.ok_or_else(|| document.reason.unwrap_or_else(|| "no value".to_owned()));
    let (query, history) = (document.query, document.past_day);
    let found = Found { pods: document.pods, ..Found::new(values, query, history) };
    Ok(Answered { steps: document.steps.into_iter().map(step).collect(), found })
}

/// Path and query that ask, below `prefix`: `/apis/GROUP/VERSION`.
pub fn path(prefix: &str, inquiry: &Inquiry) -> String {
    let Inquiry { metric, subject, namespace, selector, is_at_zero } = inquiry;
    let metric = segment(metric);
    let place = namespace.as_ref().map_or(String::new(), |it| format!("namespaces/{it}/"));
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("api", word(inquiry.api()));
    let which = match subject {
        Subject::External => None,
        Subject::Objects { resource, which } => {
            query.append_pair("resource", resource);
            Some(which)
        }
        Subject::Usage { which, container } => {
            if let Some(container) = container {
                query.append_pair("container", container);
            }
            Some(which)
        }
    };
    match which {
        Some(Which::Named(name)) => {
            query.append_pair("name", name);
        }
        Some(Which::Selected(selector)) => {
            query.append_pair("labelSelector", &selector.to_string());
        }
        None => {}
    }
    if !selector.is_empty() {
        query.append_pair("metricLabelSelector", &selector.to_string());
    }
    if *is_at_zero {
        query.append_pair("atZero", "true");
    }
    format!("{prefix}/{place}{RESOURCE}/{metric}?{}", query.finish())
}

/// The word for an API in a query.
fn word(api: Api) -> &'static str {
    match api {
        Api::Custom => "custom",
        Api::External => "external",
        Api::Resource => "resource",
    }
}

/// The API that a word of a query means.
pub fn api(text: &str) -> Option<Api> {
    [Api::Custom, Api::External, Api::Resource].into_iter().find(|api| word(*api) == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{explain::name, selector::Selector};

    #[test]
    fn what_is_encoded_comes_back() {
        let steps = vec![
            Step::good(name::RULE, "seen"),
            Step::doubtful(name::VALUES, Cause::SeveralSamples, "seen", "advice"),
        ];
        let history = Some(PastDay { highest: 2.5, lowest: Some(0.5), steps: 60.0 });
        for values in [Ok(vec![("web-0".to_owned(), 1500)]), Err("no value".to_owned())] {
            let found = Found {
                pods: vec!["web-0".to_owned()],
                ..Found::new(values, "up".to_owned(), history)
            };
            let text = encode("g/v1", Answered { steps: steps.clone(), found: found.clone() });
            let decoded = decode(std::str::from_utf8(&text).unwrap()).unwrap();
            assert_eq!((decoded.steps, decoded.found), (steps.clone(), found));
        }
        decode("{\"kind\": \"Status\"}").unwrap_err();
        decode("404 page not found").unwrap_err();
    }

    #[test]
    fn inquiries_are_paths() {
        let inquiry = Inquiry {
            metric: "a/b:c_d".to_owned(),
            subject: Subject::Objects {
                resource: "pods".to_owned(),
                which: Which::Selected(Selector::parse("app=web").unwrap()),
            },
            namespace: Some("n".to_owned()),
            selector: Selector::default(),
            is_at_zero: true,
        };
        assert_eq!(
            path("/apis/g/v1", &inquiry),
            "/apis/g/v1/namespaces/n/explanations/a%2Fb:c_d?api=custom&resource=pods&labelSelector=app%3Dweb&atZero=true"
        );
    }
}
