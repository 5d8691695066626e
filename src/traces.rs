//! Traces: spans of what is done here, given to an OpenTelemetry collector, and what a request passes on to the queries that
//! it causes.
//!
//! For whom something is done ([`Cause`]) is known to all that runs for it, in whatever depth, without being an argument: it is
//! the task's, and a new task gets it by [`carry`]. Without a collector no span is made, and a cause only passes on what a
//! request has brought along.

mod collector;
mod export;
mod headers;
mod settings;

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

pub use export::Exporter;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{Span as _, Status, TraceContextExt as _, Tracer as _};
pub use opentelemetry::{
    KeyValue,
    trace::{SpanContext, SpanKind, TraceId},
};
use opentelemetry_sdk::trace::{self as sdk, SdkTracer};
pub use settings::{Settings, SettingsError};
use tracing::{Instrument as _, instrument::Instrumented};

tokio::task_local! {
    static CAUSE: Cause;
}

/// The longest identifier of a request in kube-apiserver's audit log that is passed on, in bytes. It is a UUID, unless a
/// client has chosen it; a long one would make others' queries fail that share a query with this client.
const MAX_AUDIT_ID_BYTES: usize = 128;

/// The longest text of an attribute, in bytes: spans wait in memory, and anybody can send long paths.
const MAX_TEXT_BYTES: usize = 4 << 10;

/// Where kube-apiserver says by which name its audit log knows a request.
pub const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// Begins spans; or, without a collector, none.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    tracer: Option<SdkTracer>,
}

/// For whom something is done: a request, by its names in the audit log and in a trace, or a task in the background.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    audit_id: Option<HeaderValue>,
    /// The span that is the parent of whatever begins now, ours or a client's.
    context: Option<SpanContext>,
    tracer: Option<SdkTracer>,
    /// What has been done for it, as long as nobody knows whether it is to have a span.
    early: Option<Arc<Mutex<Vec<EarlySpan>>>>,
}

/// Work that was done before it was known whether it becomes a span.
#[derive(Debug)]
struct EarlySpan {
    kind: SpanKind,
    name: Cow<'static, str>,
    began: SystemTime,
    ended: SystemTime,
    failure: Option<(opentelemetry::Value, Cow<'static, str>)>,
}

/// Work whose end is recorded on drop.
#[derive(Debug)]
struct Early {
    span: Option<EarlySpan>,
    to: Arc<Mutex<Vec<EarlySpan>>>,
}

impl Drop for Early {
    fn drop(&mut self) {
        if let Some(span) = self.span.take() {
            let span = EarlySpan { ended: SystemTime::now(), ..span };
            self.to.lock().unwrap_or_else(PoisonError::into_inner).push(span);
        }
    }
}

/// Something that takes time, from [`Cause::span`] until it is dropped.
#[derive(Debug)]
pub struct Span {
    /// Apart, because every request would carry the room for it.
    made: Option<Box<sdk::Span>>,
    /// In its place as long as nobody knows whether there is to be one.
    early: Option<Box<Early>>,
    cause: Cause,
}

impl Traces {
    /// Spans that go to a collector, and the task that brings them there.
    pub fn new(settings: Settings) -> Result<(Self, Exporter), SettingsError> {
        let (tracer, exporter) = export::connect(settings)?;
        Ok((Self { tracer: Some(tracer) }, exporter))
    }

    /// The cause of whatever a request with these headers asks for.
    pub fn request(&self, headers: &HeaderMap) -> Cause {
        Cause { tracer: self.tracer.clone(), ..Cause::of(headers) }
    }

    /// Begins something that nobody has asked for, in a trace of its own.
    pub fn background(&self, name: &'static str) -> Span {
        let cause = Cause { tracer: self.tracer.clone(), ..Cause::default() };
        cause.span(SpanKind::Internal, name)
    }
}

impl Cause {
    /// What a request brings along in its headers, to be passed on as it is.
    pub fn of(headers: &HeaderMap) -> Self {
        let audit_id = headers.get(&AUDIT_ID).filter(|id| {
            (1..=MAX_AUDIT_ID_BYTES).contains(&id.len())
                && id.as_bytes().iter().all(u8::is_ascii_graphic)
        });
        let context = headers::read(headers);
        Self { audit_id: audit_id.cloned(), context, ..Self::default() }
    }

    /// That of the current task.
    pub fn current() -> Self {
        CAUSE.try_with(Self::clone).unwrap_or_default()
    }

    /// Does something for it.
    pub fn during<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        CAUSE.scope(self, work)
    }

    /// The request's name in kube-apiserver's audit log.
    pub fn audit_id(&self) -> Option<&str> {
        self.audit_id.as_ref().and_then(|id| id.to_str().ok())
    }

    /// The trace that it belongs to.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.context.as_ref().map(SpanContext::trace_id)
    }

    /// The span that it is, here or of a client.
    pub fn context(&self) -> Option<&SpanContext> {
        self.context.as_ref()
    }

    /// Spans of what is done for it from now on are kept only if [`Cause::span_since`] decides so: requests of strangers have none.
    #[must_use]
    pub fn undecided(self) -> Self {
        let early = self.tracer.is_some().then(Arc::default);
        Self { early, ..self }
    }

    /// Begins a span. The name is one of few: what differs is for attributes.
    pub fn span(self, kind: SpanKind, name: impl Into<Cow<'static, str>>) -> Span {
        let (began, name) = (SystemTime::now(), name.into());
        let Some(early) = &self.early else {
            return self.begin(kind, name, began);
        };
        let span = EarlySpan { kind, name, began, ended: began, failure: None };
        let early = Early { span: Some(span), to: Arc::clone(early) };
        Span { made: None, early: Some(Box::new(early)), cause: self }
    }

    /// Starts a span in the past, with the work that was done for it meanwhile.
    pub fn span_since(
        mut self,
        began: SystemTime,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
    ) -> Span {
        let early = self.early.take().unwrap_or_default();
        let span = self.begin(kind, name.into(), began);
        let spans = std::mem::take(&mut *early.lock().unwrap_or_else(PoisonError::into_inner));
        for EarlySpan { kind, name, began, ended, failure } in spans {
            let mut part = span.cause().begin(kind, name, began);
            if let Some((kind, meaning)) = failure {
                part.fail(kind, meaning);
            }
            if let Some(part) = &mut part.made {
                part.end_with_timestamp(ended);
            }
        }
        span
    }

    fn begin(self, kind: SpanKind, name: Cow<'static, str>, began: SystemTime) -> Span {
        let Some(tracer) = &self.tracer else {
            return Span::from(self);
        };
        let parent = match &self.context {
            Some(context) => {
                opentelemetry::Context::new().with_remote_span_context(context.clone())
            }
            None => opentelemetry::Context::new(),
        };
        let builder = tracer.span_builder(name).with_kind(kind).with_start_time(began);
        let span = tracer.build_with_context(builder, &parent);
        let context = Some(span.span_context().clone());
        Span { made: Some(Box::new(span)), early: None, cause: Self { context, ..self } }
    }

    /// Whether what is done for it makes spans.
    pub fn is_traced(&self) -> bool {
        self.tracer.is_some()
    }

    /// What is done for it makes no spans.
    #[must_use]
    pub fn untraced(self) -> Self {
        Self { tracer: None, early: None, ..self }
    }
}

/// No span: what is done for it belongs to the cause.
impl From<Cause> for Span {
    fn from(cause: Cause) -> Self {
        Self { made: None, early: None, cause }
    }
}

impl Span {
    /// A part of what the current task does.
    pub fn part(kind: SpanKind, name: &'static str) -> Self {
        Cause::current().span(kind, name)
    }

    /// No span: what is done for it belongs to what the current task does.
    pub fn none() -> Self {
        Self::from(Cause::current())
    }

    /// The cause of what is done within the span.
    pub fn cause(&self) -> Cause {
        self.cause.clone()
    }

    /// Does something within the span.
    pub fn during<F: Future>(&self, work: F) -> impl Future<Output = F::Output> {
        self.cause().during(work)
    }

    /// Adds attributes, if anybody will see them.
    pub fn record<I: IntoIterator<Item = KeyValue>>(&mut self, attributes: impl FnOnce() -> I) {
        if let Some(span) = self.made.as_mut().filter(|span| span.is_recording()) {
            span.set_attributes(attributes());
        }
    }

    /// Notes a failure: a word for it, one of few, and what it means.
    pub fn fail(
        &mut self,
        kind: impl Into<opentelemetry::Value>,
        meaning: impl Into<Cow<'static, str>>,
    ) {
        if let Some(span) = self.early.as_mut().and_then(|early| early.span.as_mut()) {
            span.failure = Some((kind.into(), meaning.into()));
        } else if let Some(span) = self.made.as_mut().filter(|span| span.is_recording()) {
            span.set_attribute(KeyValue::new("error.type", kind));
            span.set_status(Status::error(meaning));
        }
    }

    /// Says that another span, which may be of another trace, has to do with this one.
    pub fn link(&mut self, other: &SpanContext) {
        if let Some(span) = &mut self.made {
            span.add_link(other.clone(), Vec::new());
        }
    }

    /// The span of the log for what is done within this one, where there is a trace to be named.
    pub fn log_span(&self) -> tracing::Span {
        match self.cause.trace_id() {
            Some(id) => tracing::info_span!("trace", trace_id = %id),
            None => tracing::Span::none(),
        }
    }
}

/// An attribute whose text may be long. Its beginning is enough then.
pub fn text(key: &'static str, value: &str) -> KeyValue {
    // A character may stand across the limit.
    let mut ends = (0..=value.len().min(MAX_TEXT_BYTES)).rev();
    let beginning = ends.find_map(|end| value.get(..end)).unwrap_or_default();
    KeyValue::new(key, beginning.to_owned())
}

/// Does something in a task of its own for the same cause as the current task, and under the same name in the log.
pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let carried: Instrumented<F> = work.in_current_span();
    Cause::current().during(carried)
}

/// Says for whom a request is sent, by those of the headers that it does not have yet.
pub fn add_headers(request: &mut HeaderMap) {
    let add = |cause: &Cause| {
        if let Some(id) = &cause.audit_id {
            request.entry(AUDIT_ID).or_insert_with(|| id.clone());
        }
        if let Some(context) = &cause.context {
            headers::write(context, request);
        }
    };
    // Without a cause there is nothing to say.
    CAUSE.try_with(add).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use std::sync::Once;

    use super::*;

    /// The TLS provider of this process, as the binary installs it.
    pub(super) fn install_tls_provider() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // Other tests of this process may have been faster.
            rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
        });
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        lines.iter().map(line).collect()
    }

    #[tokio::test]
    async fn a_cause_goes_with_the_work_into_other_tasks_that_carry_it() {
        let cause = Traces::default().request(&headers(&[("audit-id", "a-1")]));
        let audit_id = || Cause::current().audit_id().map(str::to_owned);
        let (here, carried, bare) = cause
            .during(async {
                let carried = tokio::spawn(carry(async move { audit_id() }));
                let bare = tokio::spawn(async move { audit_id() });
                (audit_id(), carried.await.unwrap(), bare.await.unwrap())
            })
            .await;
        assert_eq!((here.as_deref(), carried.as_deref(), bare), (Some("a-1"), Some("a-1"), None));
        assert_eq!(audit_id(), None);
    }

    #[test]
    fn only_what_can_be_an_audit_id_is_passed_on() {
        let of = |id: &str| Cause::of(&headers(&[("audit-id", id)])).audit_id().map(str::to_owned);
        for id in ["x", "1f3c3bd2-6d6e-4f1a-9f8e-5b8d2f1c0a77", &"x".repeat(128)] {
            assert_eq!(of(id).as_deref(), Some(id));
        }
        for id in ["", "two words", &"x".repeat(129)] {
            assert_eq!(of(id), None, "{id}");
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let cut = |value: &str| text("key", value).value.as_str().len();
        assert_eq!(cut("short"), 5);
        assert_eq!(cut(&"x".repeat(5_000)), MAX_TEXT_BYTES);
        assert_eq!(cut(&"€".repeat(5_000)), MAX_TEXT_BYTES - 1);
    }
}
