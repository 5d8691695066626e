//! Prometheus' HTTP API answers, decoded with borrowed strings.
//!
//! The format is that of <https://prometheus.io/docs/prometheus/latest/querying/api/>, read with tolerance for what its
//! relatives say: error types that Prometheus does not have, native histograms among floats, times that no clock has,
//! warnings, partial answers.

mod matrix;

use std::{borrow::Cow, collections::BTreeSet, fmt};

use matrix::Values;
pub use matrix::matrix;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::message::Message;
use crate::core::{
    catalog::Found,
    excerpt::{NAME, SAID, excerpt},
    installation::product::BuildInfo,
    memory::Texts,
    samples::{self, MAX_NAMES, Points, Vector},
};

/// The most warnings of an answer that are kept.
const MOST_WARNINGS: usize = 10;

/// What an instant query gave.
#[expect(clippy::large_enum_variant, reason = "nearly all answers are vectors")]
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// An instant vector.
    Vector(Vector),
    /// A scalar: evaluation time in milliseconds since the epoch, and value.
    Scalar(i64, f64),
    /// A result of another type, by the name that the API has for it.
    Other(&'static str),
}

/// An answer that could not be used. What it says is cut and escaped, for the log.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The backend says that the request failed.
    #[error("{kind}: {message}")]
    Api {
        /// The backend's `errorType`.
        kind: String,
        /// The backend's `error`.
        message: Message,
    },
    /// Not the JSON that was expected.
    #[error("not a Prometheus API answer: {0}")]
    Json(String),
    /// The series have more than [`MAX_NAMES`] different label names.
    #[error("more than {MAX_NAMES} different label names in one answer")]
    TooManyNames,
    /// `status` is `success`, but there is no `data`.
    #[error("not a Prometheus API answer: success without data")]
    NoData,
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        // The text repeats what was not expected.
        Self::Json(excerpt(&error.to_string(), SAID))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    #[serde(default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(default)]
    error_type: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    warnings: Option<Warnings>,
    #[serde(default)]
    infos: Option<Warnings>,
    #[serde(default)]
    is_partial: bool,
}

/// The first warnings or infos of an answer, cut. There could be millions.
#[derive(Default)]
struct Warnings {
    first: Vec<String>,
    /// Whether one of all says that something is missing: Thanos and remote reads say in warnings what they could not reach;
    /// what the engine itself warns of is about the query.
    are_of_missing: bool,
    /// Whether one of all says that native histograms were left out.
    are_of_histograms: bool,
}

impl<'de> Deserialize<'de> for Warnings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Warnings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("warnings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
                let mut warnings = Warnings::default();
                while let Some(Text(warning)) = all.next_element()? {
                    let is_of_engine = warning.starts_with("PromQL ");
                    warnings.are_of_missing |= !is_of_engine;
                    warnings.are_of_histograms |= is_of_engine && leaves_histograms_out(&warning);
                    if warnings.first.len() < MOST_WARNINGS {
                        warnings.first.push(excerpt(&warning, SAID));
                    }
                }
                Ok(warnings)
            }
        }

        deserializer.deserialize_seq(All)
    }
}

/// Whether a warning or info of the engine says that native histograms are missing from the result: aggregations and operators of
/// floats ignore them, and nothing comes out of a mix. Others are about values that are there, such as those of
/// `histogram_quantile`. The words are those of Prometheus 3 and of late versions of 2.
fn leaves_histograms_out(warning: &str) -> bool {
    warning.contains("histogram")
        && [
            "ignored histogram",
            "a mix of",
            "incompatible sample types",
            "incompatible custom buckets",
        ]
        .iter()
        .any(|words| warning.contains(words))
}

/// What a backend says of its answer.
struct Said {
    warnings: Vec<String>,
    is_partial: bool,
    lacks_histograms: bool,
}

/// Keeps `null` apart from nothing.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

impl<'a> Envelope<'a> {
    fn open(body: &'a [u8]) -> Result<(&'a str, Said), DecodeError> {
        let envelope: Envelope<'a> = serde_json::from_slice(body)?;
        if envelope.status != "success" {
            return Err(DecodeError::Api {
                kind: excerpt(&envelope.error_type.unwrap_or_default(), NAME),
                message: Message::new(&envelope.error.unwrap_or_default()),
            });
        }
        let Warnings { first: mut warnings, are_of_missing, are_of_histograms } =
            envelope.warnings.unwrap_or_default();
        let lacks_histograms =
            are_of_histograms || envelope.infos.is_some_and(|infos| infos.are_of_histograms);
        let is_partial = envelope.is_partial || are_of_missing;
        if envelope.is_partial {
            warnings.push("the answer is partial".to_owned());
        }
        let said = Said { warnings, is_partial, lacks_histograms };
        Ok((envelope.data.ok_or(DecodeError::NoData)?.get(), said))
    }
}

/// The `data` of a query.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    result_type: Cow<'a, str>,
    #[serde(borrow)]
    result: &'a RawValue,
}

/// `/api/v1/query`.
pub fn query(body: &[u8]) -> Result<Answer, DecodeError> {
    let (data, Said { warnings, is_partial, lacks_histograms }) = Envelope::open(body)?;
    let data: Data<'_> = serde_json::from_str(data)?;
    match data.result_type.as_ref() {
        "vector" => {
            let rows = Rows::default().read(data.result)?;
            let vector = rows.all.complete(warnings, is_partial);
            Ok(Answer::Vector(Vector { lacks_histograms, ..vector }))
        }
        "scalar" => {
            let Point(at_ms, value) = serde_json::from_str(data.result.get())?;
            let at_ms = at_ms.ok_or_else(|| DecodeError::Json("a time out of range".to_owned()))?;
            Ok(Answer::Scalar(at_ms, value))
        }
        "matrix" => Ok(Answer::Other("matrix")),
        "string" => Ok(Answer::Other("string")),
        // A name that the API does not have is not repeated to anybody.
        _ => Ok(Answer::Other("result of another type")),
    }
}

/// What one of the label and series endpoints says there is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metadata<T> {
    /// What it says.
    pub data: T,
    /// Whether there may be more, because the backend did not reach all of its stores.
    pub is_partial: bool,
}

/// Decodes what a backend says of itself.
pub fn build_info(body: &[u8]) -> Result<BuildInfo, DecodeError> {
    let (data, _said) = Envelope::open(body)?;
    Ok(serde_json::from_str(data)?)
}

/// `/api/v1/labels` and `/api/v1/label/{name}/values`.
pub fn strings(body: &[u8]) -> Result<Metadata<Texts>, DecodeError> {
    let (data, Said { is_partial, .. }) = Envelope::open(body)?;
    // VictoriaMetrics and old Prometheus say null for nothing.
    let Strings(data) = serde_json::from_str::<Option<_>>(data)?.unwrap_or_default();
    Ok(Metadata { data, is_partial })
}

/// A list of strings.
#[derive(Default)]
struct Strings(Texts);

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Strings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
                let mut texts = Texts::default();
                while let Some(Text(text)) = all.next_element()? {
                    texts.push(&text);
                }
                texts.shrink();
                Ok(Strings(texts))
            }
        }

        deserializer.deserialize_seq(All)
    }
}

/// `/api/v1/series`, of which only the names and the labels that `is_wanted` takes are kept.
pub fn series(
    body: &[u8],
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Metadata<Found>, DecodeError> {
    let (data, Said { is_partial, .. }) = Envelope::open(body)?;
    let mut found = Found::default();
    let mut rows = serde_json::Deserializer::from_str(data);
    SeriesRows { found: &mut found, is_wanted: &is_wanted }.deserialize(&mut rows)?;
    Ok(Metadata { data: found, is_partial })
}

/// The error that a body reports, if it is one of the API's.
pub fn error(body: &[u8]) -> Option<(String, Message)> {
    match Envelope::open(body) {
        Err(DecodeError::Api { kind, message }) => Some((kind, message)),
        _ => None,
    }
}

/// A string that borrows from the body unless it has escapes. (A plain `Cow` would always be owned.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// `[seconds, "value"]` as milliseconds, if these are in range, and a float.
struct Point(Option<i64>, f64);

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (seconds, Text(value)) = Deserialize::deserialize(deserializer)?;
        let value = value.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(milliseconds(seconds), value))
    }
}

/// The last second of the year 9999: RFC 3339, in which answers say times, knows no later one.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// Milliseconds since the epoch; nothing where that is before the epoch or after [`LAST_SECOND`].
fn milliseconds(seconds: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "it is in range")]
    let milliseconds = (seconds * 1000.0).round() as i64;
    (0.0..=LAST_SECOND).contains(&seconds).then_some(milliseconds)
}

/// The rows of a vector or a matrix.
#[derive(Default)]
struct Rows {
    all: samples::Rows,
    /// The points of a matrix; nothing while a vector is read.
    points: Option<Points>,
    have_too_many_names: bool,
}

impl Rows {
    fn read(mut self, result: &RawValue) -> Result<Self, DecodeError> {
        let read = self.deserialize(&mut serde_json::Deserializer::from_str(result.get()));
        if self.have_too_many_names {
            return Err(DecodeError::TooManyNames);
        }
        read?;
        Ok(self)
    }
}

impl<'de> DeserializeSeed<'de> for &mut Rows {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Rows {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an instant vector or a range vector")
    }

    /// Go writes a list as null that it has never put anything into.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while rows.next_element_seed(Row(self))?.is_some() {}
        Ok(())
    }
}

/// One row: a sample or its series, or the labels of one that cannot be used.
struct Row<'r>(&'r mut Rows);

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sample with `metric`, and `value` or `values`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut point = None;
        while let Some(Text(field)) = fields.next_key()? {
            match (field.as_ref(), &mut self.0.points) {
                ("metric", _) => fields.next_value_seed(Labels(self.0))?,
                ("value", None) => point = Some(fields.next_value::<Point>()?),
                ("values", Some(points)) => fields.next_value_seed(Values(points))?,
                _ => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        let Rows { all, points, .. } = self.0;
        let has_points = points.as_mut().is_some_and(Points::end);
        match point {
            Some(Point(Some(at_ms), value)) => all.sample(at_ms, value),
            Some(Point(None, _)) => all.out_of_time(),
            // The rows of a matrix have only labels.
            None if has_points => all.sample(0, 0.0),
            None => all.histogram(),
        }
        Ok(())
    }
}

/// The labels of a row.
struct Labels<'r>(&'r mut Rows);

impl<'de> DeserializeSeed<'de> for Labels<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Labels<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = entries.next_key()? {
            let Some(name) = self.0.all.name(&name) else {
                self.0.have_too_many_names = true;
                return Err(A::Error::custom("too many label names"));
            };
            entries.next_value_seed(LabelValue { rows: &mut *self.0, name })?;
        }
        Ok(())
    }
}

/// The value of a label, which is copied once, to its place.
struct LabelValue<'r> {
    rows: &'r mut Rows,
    name: u16,
}

impl<'de> DeserializeSeed<'de> for LabelValue<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for LabelValue<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value of a label")
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.rows.all.label(self.name, value);
        Ok(())
    }
}

struct SeriesRows<'f, F> {
    found: &'f mut Found,
    is_wanted: &'f F,
}

impl<'de, F: Fn(&str) -> bool> DeserializeSeed<'de> for SeriesRows<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, F: Fn(&str) -> bool> Visitor<'de> for SeriesRows<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of series")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        // The same few names and labels come again in every series.
        let mut known: BTreeSet<(String, String)> = BTreeSet::new();
        while let Some(labels) = rows.next_element::<BorrowedLabels<'de>>()? {
            let Some((_, series)) = labels.0.iter().find(|(name, _)| name == "__name__") else {
                continue;
            };
            for (label, value) in &labels.0 {
                if value.is_empty() || !(self.is_wanted)(label) {
                    continue;
                }
                if known.insert((label.to_string(), series.to_string())) {
                    self.found.insert(label, series);
                }
            }
        }
        Ok(())
    }
}

struct BorrowedLabels<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de> Deserialize<'de> for BorrowedLabels<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;

        impl<'de> Visitor<'de> for Borrowed {
            type Value = BorrowedLabels<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut labels = Vec::with_capacity(8);
                while let Some((Text(name), Text(value))) = entries.next_entry()? {
                    labels.push((name, value));
                }
                Ok(BorrowedLabels(labels))
            }
        }

        deserializer.deserialize_map(Borrowed)
    }
}

#[cfg(test)]
mod tests;
