//! The lists of metrics: encoded and compressed once for a catalog and a form, and shared by all who read them.
//!
//! They grow with the catalog, and every client that discovers the API reads them. Of a large one only the compressed form is
//! kept, which is about a twentieth; who does not take it has it unpacked piece by piece while it is sent.

use std::{
    hash::{Hash, Hasher},
    io::{self, BufWriter, IntoInnerError, Read as _, Write},
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use futures::stream;
use moka::{future::Cache, policy::EvictionPolicy};
use serde::Serialize;
use tokio_util::task::TaskTracker;

use super::{
    accept::{Form, JSON, YAML},
    error::ApiError,
    form::Written,
    stack::LARGE,
};
use crate::{
    core::{catalog::Catalog, delegation::listing::Listing, team_rules::Names},
    single_flight::{FlightError, SingleFlight},
    wire::{custom::Version, discovery as documents, status::Reason},
};

/// Lists that nobody has asked for this time are dropped.
const IDLE: Duration = Duration::from_secs(10 * 60);

/// What is unpacked at a time for a client that does not take compressed answers.
const PIECE: usize = 64 << 10;

/// Which metrics are listed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Listed {
    Custom(Version),
    External,
}

/// What is listed. Each part is another one when its metrics change.
#[derive(Clone)]
pub(super) struct Listings {
    pub(super) catalog: Arc<Catalog>,
    pub(super) delegated: Arc<Listing>,
    pub(super) teams: Arc<Names>,
}

impl Listings {
    fn metrics(&self) -> documents::Metrics<'_> {
        let Self { catalog, delegated, teams } = self;
        documents::Metrics { catalog, delegated, teams }
    }
}

/// The lists that have been asked for.
pub struct Lists(SingleFlight<Key, Arc<Encoded>>);

struct Key {
    /// Held so that no other catalog can have its address. It keeps nothing of it alive.
    catalog: Weak<Catalog>,
    /// The same of what delegates list.
    delegated: Weak<Listing>,
    /// The same of the metrics of teams.
    teams: Weak<Names>,
    listed: Listed,
    form: Form,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.catalog.ptr_eq(&other.catalog)
            && self.delegated.ptr_eq(&other.delegated)
            && self.teams.ptr_eq(&other.teams)
            && (self.listed, self.form) == (other.listed, other.form)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.catalog.as_ptr(), self.delegated.as_ptr(), self.teams.as_ptr()).hash(state);
        (self.listed, self.form).hash(state);
    }
}

/// A list in one form.
#[derive(Debug, Eq, PartialEq)]
enum Encoded {
    Plain(Bytes),
    Compressed {
        gzip: Bytes,
        /// How long it is when it is unpacked.
        length: usize,
    },
}

impl Lists {
    /// Without any list yet. They take so many bytes at the most, and are encoded by tasks of `tasks`.
    pub fn new(max_bytes: u64, tasks: TaskTracker) -> Self {
        let kept = Cache::builder()
            .name("lists")
            .max_capacity(max_bytes)
            .weigher(|_: &Key, list: &Arc<Encoded>| {
                let (Encoded::Plain(bytes) | Encoded::Compressed { gzip: bytes, .. }) = &**list;
                u32::try_from(size_of::<Key>() + bytes.len()).unwrap_or(u32::MAX)
            })
            .time_to_idle(IDLE)
            // The lists of a new catalog take the place of those of the one before.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self(SingleFlight::new(kept, tasks))
    }

    /// The answer to a request for a list, compressed if the client takes that and it is worth it.
    pub(super) async fn answer(
        &self,
        metrics: Listings,
        listed: Listed,
        form: Form,
        takes_gzip: bool,
    ) -> Response {
        // There is no table of resources.
        let form = if form == Form::Table { Form::Json } else { form };
        match self.encoded(metrics, listed, form, encode).await {
            Ok(list) => response(&list, form, takes_gzip),
            Err(cause) => {
                let error = ApiError::new(Reason::InternalError, "the metrics could not be listed");
                error.with_cause(&cause).into_response()
            }
        }
    }

    async fn encoded(
        &self,
        metrics: Listings,
        listed: Listed,
        form: Form,
        encode: impl FnOnce(documents::Metrics<'_>, Listed, Form) -> io::Result<Encoded>
        + Send
        + 'static,
    ) -> Result<Arc<Encoded>, FlightError<io::Error>> {
        let key = Key {
            catalog: Arc::downgrade(&metrics.catalog),
            delegated: Arc::downgrade(&metrics.delegated),
            teams: Arc::downgrade(&metrics.teams),
            listed,
            form,
        };
        let encoding = async move {
            let encode = move || encode(metrics.metrics(), listed, form);
            let encoding = tokio::task::spawn_blocking(encode);
            encoding.await.map_err(io::Error::other)?.map(Arc::new)
        };
        self.0.get(key, encoding).await
    }
}

fn encode(metrics: documents::Metrics<'_>, listed: Listed, form: Form) -> io::Result<Encoded> {
    let mut sink = BufWriter::with_capacity(PIECE, Sink::Plain(Vec::new()));
    match listed {
        Listed::Custom(version) => {
            write(&documents::custom_resources(version.name(), metrics), form, &mut sink)?;
        }
        Listed::External => write(&documents::external_resources(metrics), form, &mut sink)?,
    }
    sink.into_inner().map_err(IntoInnerError::into_error)?.finish()
}

/// Writes a document as [`super::form`] writes other answers.
fn write(document: &impl Serialize, form: Form, sink: &mut impl Write) -> io::Result<()> {
    match form {
        Form::Json | Form::Table => serde_json::to_writer(sink, document)?,
        Form::Pretty => {
            serde_json::to_writer_pretty(&mut *sink, document)?;
            sink.write_all(b"\n")?;
        }
        Form::Yaml => serde_saphyr::to_io_writer(sink, document).map_err(io::Error::other)?,
    }
    Ok(())
}

/// Takes a list while it is written, and compresses it once it is large.
enum Sink {
    Plain(Vec<u8>),
    Compressed { encoder: GzEncoder<Vec<u8>>, length: usize },
}

impl Sink {
    fn finish(self) -> io::Result<Encoded> {
        Ok(match self {
            Self::Plain(bytes) => Encoded::Plain(bytes.into()),
            Self::Compressed { encoder, length } => {
                let mut gzip = encoder.finish()?;
                gzip.shrink_to_fit();
                Encoded::Compressed { gzip: gzip.into(), length }
            }
        })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(plain) if plain.len() + bytes.len() < LARGE => plain.extend(bytes),
            Self::Plain(plain) => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(plain)?;
                encoder.write_all(bytes)?;
                *self = Self::Compressed { encoder, length: plain.len() + bytes.len() };
            }
            Self::Compressed { encoder, length } => {
                encoder.write_all(bytes)?;
                *length += bytes.len();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn response(list: &Encoded, form: Form, takes_gzip: bool) -> Response {
    let body = match list {
        Encoded::Plain(bytes) => Body::from(bytes.clone()),
        Encoded::Compressed { gzip, .. } if takes_gzip => Body::from(gzip.clone()),
        Encoded::Compressed { gzip, .. } => unpacked(gzip.clone()),
    };
    let mut response = Response::new(body);
    response.extensions_mut().insert(Written);
    let headers = response.headers_mut();
    let media = if form == Form::Yaml { YAML } else { JSON };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    if let Encoded::Compressed { length, .. } = list {
        headers.insert(header::VARY, header::ACCEPT_ENCODING.into());
        if takes_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        } else {
            headers.insert(header::CONTENT_LENGTH, (*length).into());
        }
    }
    response
}

fn unpacked(gzip: Bytes) -> Body {
    let decoder = GzDecoder::new(io::Cursor::new(gzip));
    Body::from_stream(stream::try_unfold(decoder, async |mut decoder| {
        let mut piece = Vec::with_capacity(PIECE);
        decoder.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
        io::Result::Ok((!piece.is_empty()).then_some((Bytes::from(piece), decoder)))
    }))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use axum::body::{HttpBody as _, to_bytes};
    use futures::future::join_all;
    use serde_json::Value;

    use super::*;
    use crate::core::{
        catalog::{DiscoveredRule, Found, external::NAME},
        delegation::listing::{ListedMetric, ListedMetrics},
        kinds::Kinds,
        rules::load,
    };

    const CUSTOM: Listed = Listed::Custom(Version::V1beta2);

    /// So many metrics of pods, and as many external ones.
    fn catalog(metrics: usize) -> Arc<Catalog> {
        let rules = load(
            "rules:
- {seriesQuery: a, resources: {overrides: {pod: {resource: pod}}}, metricsQuery: a}
externalRules:
- {seriesQuery: b, resources: {namespaced: false}, metricsQuery: b}
",
        )
        .unwrap();
        let kinds = Kinds::builtin();
        let rules = rules.of_metrics().zip(["pod", NAME]);
        let discovered = rules.map(|(rule, label)| {
            let mut found = Found::default();
            for index in 0..metrics {
                found.insert(label, &format!("metric_{index:05}"));
            }
            DiscoveredRule {
                mapping: Arc::new(rule.base().mapping.resolve(&kinds)),
                rule,
                found: Some(Arc::new(found)),
            }
        });
        let discovered: Vec<_> = discovered.collect();
        Arc::new(Catalog::build(Arc::new(kinds), &discovered, &BTreeSet::new()))
    }

    fn of_rules(catalog: Arc<Catalog>) -> Listings {
        Listings { catalog, delegated: Arc::default(), teams: Arc::default() }
    }

    async fn body(response: Response) -> Bytes {
        to_bytes(response.into_body(), usize::MAX).await.unwrap()
    }

    #[tokio::test]
    async fn a_list_is_encoded_once_for_a_catalog_however_many_read_it() {
        let lists = Lists::new(1 << 20, TaskTracker::new());
        let encodings = Arc::new(AtomicUsize::new(0));
        let others = of_rules(Arc::default());
        let read = async |catalog: &Arc<Catalog>, listed, form| {
            let count = Arc::clone(&encodings);
            let counting = move |metrics: documents::Metrics<'_>, listed, form| {
                count.fetch_add(1, Ordering::Relaxed);
                encode(metrics, listed, form)
            };
            let metrics = Listings { catalog: Arc::clone(catalog), ..others.clone() };
            lists.encoded(metrics, listed, form, counting).await.unwrap()
        };
        let first = catalog(3_000);
        let all = join_all((0..20).map(|_| read(&first, CUSTOM, Form::Json))).await;
        assert!(matches!(*all[0], Encoded::Compressed { .. }));
        assert!(all.iter().all(|list| Arc::ptr_eq(list, &all[0])));
        assert_eq!(encodings.load(Ordering::Relaxed), 1);

        let forms = [(Listed::External, Form::Json), (CUSTOM, Form::Yaml), (CUSTOM, Form::Json)];
        for (listed, form) in forms {
            read(&first, listed, form).await;
        }
        assert_eq!(encodings.load(Ordering::Relaxed), 3);
        read(&catalog(3_000), CUSTOM, Form::Json).await;
        assert_eq!(encodings.load(Ordering::Relaxed), 4, "another catalog with the same metrics");
    }

    #[tokio::test]
    async fn all_forms_say_the_same_whether_packed_or_not() {
        let lists = Lists::new(1 << 20, TaskTracker::new());
        for (count, is_large) in [(0, false), (3, false), (3_000, true)] {
            let metrics = of_rules(catalog(count));
            for listed in [CUSTOM, Listed::External] {
                let json = lists.answer(metrics.clone(), listed, Form::Json, false).await;
                let length = json.headers().get(header::CONTENT_LENGTH).cloned();
                let json = body(json).await;
                assert_eq!(json.len() > LARGE, is_large);
                assert_eq!(length.is_some(), is_large);
                assert!(length.is_none_or(|length| length == json.len().to_string()));
                let value: Value = serde_json::from_slice(&json).unwrap();
                assert_eq!(value["resources"].as_array().unwrap().len(), count);
                assert_eq!(value.to_string().as_bytes(), json);
                let forms = [
                    (Form::Json, value.to_string()),
                    (Form::Table, value.to_string()),
                    (Form::Pretty, format!("{value:#}\n")),
                    (Form::Yaml, serde_saphyr::to_string(&value).unwrap()),
                ];
                for (form, wanted) in forms {
                    let plain = lists.answer(metrics.clone(), listed, form, false).await;
                    assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
                    assert_eq!(body(plain).await, wanted, "{listed:?} {form:?}");
                    let packed = lists.answer(metrics.clone(), listed, form, true).await;
                    let is_packed = packed.headers().contains_key(header::CONTENT_ENCODING);
                    assert_eq!(is_packed, is_large);
                    assert!(packed.body().size_hint().exact().is_some());
                    let mut packed = Vec::from(body(packed).await);
                    if is_packed {
                        let mut unpacked = Vec::new();
                        GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).unwrap();
                        packed = unpacked;
                    }
                    assert_eq!(packed, wanted.as_bytes(), "{listed:?} {form:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn what_delegates_list_is_listed_unless_it_is_ours() {
        let listed = |name: &str| ListedMetric { name: name.into(), is_namespaced: true };
        let metrics = ListedMetrics {
            custom: ["pods/metric_00000", "pod/metric_00001", "jobs.batch/other"]
                .map(listed)
                .into(),
            external: ["metric_00000", "s0-prometheus"].map(listed).into(),
        };
        let delegated = Arc::new(Listing::merge([(&Arc::from("keda"), &metrics)]));
        let (lists, catalog) = (Lists::new(1 << 20, TaskTracker::new()), catalog(2));
        let names = async |listed, delegated: Arc<Listing>| -> Vec<String> {
            let metrics = Listings { delegated, ..of_rules(Arc::clone(&catalog)) };
            let list = lists.answer(metrics, listed, Form::Json, false).await;
            let list: Value = serde_json::from_slice(&body(list).await).unwrap();
            let names = list["resources"].as_array().unwrap().iter();
            names.map(|resource| resource["name"].as_str().unwrap().to_owned()).collect()
        };
        let all = names(CUSTOM, Arc::clone(&delegated)).await;
        assert_eq!(all, ["pods/metric_00000", "pods/metric_00001", "jobs.batch/other"]);
        let all = names(Listed::External, delegated).await;
        assert_eq!(all, ["metric_00000", "metric_00001", "s0-prometheus"]);
        assert_eq!(names(CUSTOM, Arc::default()).await.len(), 2);
    }
}
